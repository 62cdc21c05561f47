//! What the API server lets both processes do, by mode, is what was looked at when it was checked in. With `UPDATE` in the
//! environment, the snapshots are written.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

use serde_json::{Value, json};

use super::{
    helm::{HELMS, helm, kubectl, path, printed, until},
    objects::{list, objects},
    release::Namespace,
};

/// What is switched on, and in which namespaces: in that of the release, in another one that is followed.
const MODES: [(&str, &[&str]); 12] = [
    ("whole-cluster", &[]),
    ("own-namespace", &["reloader.watchGlobally=false"]),
    (
        "named-namespaces",
        &["reloader.watchGlobally=false", "reloader.namespaces=OTHER"],
    ),
    (
        "namespaces-by-label",
        &["reloader.namespaceSelector=env=prod"],
    ),
    ("without-webhook", &["webhook.enabled=false"]),
    (
        "ignoring",
        &[
            "reloader.ignoreConfigMaps=true",
            "reloader.ignoreJobs=true",
            "reloader.ignoreCronJobs=true",
        ],
    ),
    (
        "ignoring-secrets",
        &["reloader.ignoreSecrets=true", "reloader.ignoreJobs=true"],
    ),
    (
        "telling-a-url",
        &["reloader.webhookUrl=https://hook.example"],
    ),
    (
        "more-kinds",
        &["watcher.workloadKinds[0]=apps.kruise.io/v1alpha1/clonesets/CloneSet=spec.template"],
    ),
    ("describing-itself", &["watcher.metaInfo=true"]),
    ("provided-certificates", &["certificates.mode=provided"]),
    ("by-cert-manager", &["certificates.mode=cert-manager"]),
];
/// Of a release whose name begins the names of all objects.
const LONGEST: usize = 50;
const ACCOUNTS: [&str; 2] = ["watcher", "webhook"];

/// A line of kubectl's without its columns, and with the verbs in order.
fn tidy(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let line = words.join(" ");
    let Some((rest, verbs)) = line.rsplit_once('[') else {
        return line;
    };
    let mut verbs: Vec<_> = verbs.trim_end_matches(']').split(' ').collect();
    verbs.sort_unstable();
    format!("{rest}[{}]", verbs.join(" "))
}

/// A mode, installed as far as rights go.
struct Installed {
    release: String,
    home: Namespace,
    other: Namespace,
    objects: Vec<Value>,
}

impl Installed {
    fn new(mode: &str, values: &[&str]) -> Self {
        let [home, other] = ["home", "other"]
            .map(|place| Namespace::new(&format!("can-i-{mode}-{place}"), &json!({})));
        // So that the names of what is in no namespace are its own.
        let release = format!("restamp-{}", home.name);
        assert!(release.len() <= LONGEST, "{release} would be cut");
        let mut args = vec![
            "template",
            &release,
            "charts/restamp",
            "-n",
            &home.name,
            "--skip-tests",
        ];
        let values: Vec<_> = values
            .iter()
            .map(|it| it.replace("OTHER", &other.name))
            .collect();
        args.extend(values.iter().flat_map(|value| ["--set", value]));
        let mut objects: Vec<_> = objects(&printed(&helm(HELMS[0], &args)))
            .into_values()
            .collect();
        objects.retain(|object| {
            let kind = object["kind"].as_str().unwrap();
            kind.contains("Role") || kind == "ServiceAccount"
        });
        let all = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        home.apply(&all, &[]);
        Self {
            release,
            home,
            other,
            objects,
        }
    }

    /// What an account may do in a namespace, but for what every account may.
    fn list(&self, account: &str, place: &Namespace) -> BTreeSet<String> {
        let list = |account: &str| -> BTreeSet<String> {
            let user = format!("--as=system:serviceaccount:{}:{account}", self.home.name);
            let args = ["auth", "can-i", "--list", &user, "-n", &place.name];
            printed(&kubectl(&args)).lines().map(tidy).collect()
        };
        &list(account) - &list("nobody")
    }

    /// What its roles say, in the words of kubectl.
    fn said(&self, account: &str, place: &Namespace) -> BTreeSet<String> {
        let mut verbs: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
        for rule in self.roles(account, place).into_iter().flat_map(rules) {
            for of in about(rule) {
                verbs.entry(of).or_default().extend(list(&rule["verbs"]));
            }
        }
        let line = |(of, verbs): (_, BTreeSet<&str>)| {
            let verbs: Vec<_> = verbs.into_iter().collect();
            format!("{of} [{}]", verbs.join(" "))
        };
        verbs.into_iter().map(line).collect()
    }

    /// The roles that are bound to an account, in a namespace or in all of them.
    fn roles(&self, account: &str, place: &Namespace) -> Vec<&Value> {
        let here = |object: &&Value| {
            let namespace = &object["metadata"]["namespace"];
            namespace.is_null() || *namespace == *place.name
        };
        let ours = self.objects.iter().filter(here);
        let bound = ours.clone().filter(|object| {
            let mut subjects = object["subjects"].as_array().into_iter().flatten();
            subjects.any(|subject| subject["name"] == account)
        });
        let role = |binding: &Value| {
            let (kind, name) = (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]);
            let mut ours = ours.clone();
            ours.find(|role| role["kind"] == *kind && role["metadata"]["name"] == *name)
                .unwrap()
        };
        bound.map(role).collect()
    }

    /// What the API server says, once it knows the roles, of which it learns by watching them.
    fn lists(&self) -> String {
        let mut text = String::new();
        for component in ACCOUNTS {
            let account = format!("{}-{component}", self.release);
            for (place, namespace) in [
                ("its own namespace", &self.home),
                ("another one", &self.other),
            ] {
                let said = self.said(&account, namespace);
                until("the API server knows the roles", || {
                    match self.list(&account, namespace) {
                        list if list == said => Ok(()),
                        list => Err(format!("{list:#?} instead of {said:#?}")),
                    }
                });
                let lines: Vec<_> = said.into_iter().collect();
                let lines = lines.join("\n").replace(&self.release, "restamp");
                text += &format!("# The {component} in {place}\n{lines}\n");
            }
        }
        text
    }
}

fn rules(role: &Value) -> &[Value] {
    role["rules"].as_array().map_or(&[], Vec::as_slice)
}

/// What a rule is about: resources with their groups, and which one of them if only one.
fn about(rule: &Value) -> Vec<String> {
    let names = Some(list(&rule["resourceNames"])).filter(|names| !names.is_empty());
    let mut found = Vec::new();
    for group in list(&rule["apiGroups"]) {
        for resource in list(&rule["resources"]) {
            let resource = format!("{resource}.{group}");
            let resource = resource.trim_end_matches('.');
            let names = names.as_deref().unwrap_or(&[""]).iter();
            found.extend(names.map(|name| format!("{resource} [] [{name}]")));
        }
    }
    found
}

impl Drop for Installed {
    fn drop(&mut self) {
        let cluster_wide = |object: &&Value| object["metadata"]["namespace"].is_null();
        for object in self.objects.iter().filter(cluster_wide) {
            let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
            let (kind, name) = (kind.as_str().unwrap(), name.as_str().unwrap());
            kubectl(&["delete", kind, name, "--wait=false"]);
        }
    }
}

/// Whether what a mode gives is what its snapshot says.
fn is_as_before(mode: &str, values: &[&str]) -> bool {
    let lists = Installed::new(mode, values).lists();
    let snapshot = path(&format!("tests/chart/rights/{mode}.txt"));
    if env::var_os("UPDATE").is_some() {
        fs::write(&snapshot, &lists).unwrap();
    }
    fs::read_to_string(&snapshot).is_ok_and(|expected| expected == lists)
}

#[test]
fn what_both_processes_may_do_in_each_mode_is_what_its_snapshot_says() {
    let mut different = MODES.to_vec();
    different.retain(|(mode, values)| !is_as_before(mode, values));
    assert!(
        different.is_empty(),
        "{different:?}: see what changed by UPDATE=1 make chart, and git diff"
    );
}
