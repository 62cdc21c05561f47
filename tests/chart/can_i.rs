//! What the API server lets both processes do, by mode, is what was looked at when it was checked in. With `UPDATE` in the
//! environment, the snapshots are written.

use std::{collections::BTreeSet, env, fs};

use serde_json::{Value, json};

use super::{
    helm::{HELMS, helm, kubectl, path, printed},
    objects::objects,
    releases::Namespace,
};

/// What is switched on, and in which namespaces: in that of the release, in another one that is followed.
const MODES: [(&str, &[&str]); 7] = [
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
    ("provided-certificates", &["certificates.mode=provided"]),
];
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
    rules: Value,
}

impl Installed {
    fn new(mode: &str, values: &[&str]) -> Self {
        let [home, other] = ["home", "other"]
            .map(|place| Namespace::new(&format!("can-i-{mode}-{place}"), &json!({})));
        // So that the names of what is in no namespace are its own.
        let release = format!("restamp-{}", home.name);
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
        let rendered = objects(&printed(&helm(HELMS[0], &args)));
        let about_rights = |object: &Value| {
            let kind = object["kind"].as_str().unwrap();
            kind.contains("Role") || kind == "ServiceAccount"
        };
        let items: Vec<_> = rendered.into_values().filter(about_rights).collect();
        let rules = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        home.apply(&rules, &[]);
        Self {
            release,
            home,
            other,
            rules,
        }
    }

    /// What an account may do in a namespace, but for what every account may.
    fn list(&self, account: &str, place: &Namespace) -> String {
        let list = |account: &str| -> BTreeSet<String> {
            let user = format!("--as=system:serviceaccount:{}:{account}", self.home.name);
            let args = ["auth", "can-i", "--list", &user, "-n", &place.name];
            printed(&kubectl(&args)).lines().map(tidy).collect()
        };
        let ours = list(&format!("{}-{account}", self.release));
        let ours: Vec<_> = ours.difference(&list("nobody")).cloned().collect();
        ours.join("\n").replace(&self.release, "restamp")
    }

    fn lists(&self) -> String {
        let mut text = String::new();
        for account in ACCOUNTS {
            for (place, namespace) in [
                ("its own namespace", &self.home),
                ("another one", &self.other),
            ] {
                text += &format!(
                    "# The {account} in {place}\n{}\n",
                    self.list(account, namespace)
                );
            }
        }
        text
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let items = self.rules["items"].as_array().unwrap();
        for item in items
            .iter()
            .filter(|item| item["metadata"]["namespace"].is_null())
        {
            let (kind, name) = (&item["kind"], &item["metadata"]["name"]);
            let (kind, name) = (kind.as_str().unwrap(), name.as_str().unwrap());
            kubectl(&["delete", kind, name, "--wait=false"]);
        }
    }
}

/// The API server learns of roles by watching them: what it says is taken when it says it again and again.
fn settled(installed: &Installed, expected: &str) -> String {
    let mut before = installed.lists();
    super::helm::until("the rights are the same for a while", || {
        for _ in 0..5 {
            if before == expected {
                break;
            }
            let now = installed.lists();
            if now != before {
                before = now;
                return Err("they change".to_owned());
            }
        }
        Ok(before.clone())
    })
}

#[test]
fn what_both_processes_may_do_in_each_mode_is_what_its_snapshot_says() {
    let mut different = Vec::new();
    for (mode, values) in MODES {
        let installed = Installed::new(mode, values);
        let snapshot = path(&format!("tests/chart/rights/{mode}.txt"));
        let expected = fs::read_to_string(&snapshot).unwrap_or_default();
        let said = settled(&installed, &expected);
        if env::var_os("UPDATE").is_some() {
            fs::write(&snapshot, &said).unwrap();
            continue;
        }
        if expected != said {
            different.push(mode);
        }
    }
    assert!(
        different.is_empty(),
        "{different:?}: see what changed by UPDATE=1 make chart, and git diff"
    );
}
