//! The manifests grant what the code uses, start it as it wants to be started, and are complete.

use std::collections::BTreeSet;

use restamp::{
    cluster::workload::KINDS,
    runtime::{admin, metrics::Registry},
    stamp::source::SourceKind,
    watcher::LEASE,
};
use serde_json::{Value, json};

use crate::repository::{files, help, read};

const ACCOUNT: &str = "restamp-watcher";

fn documents(file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn all() -> Vec<Value> {
    let resources = files("manifests/base", ".yaml").into_iter();
    let resources = resources.filter(|file| !file.ends_with("/kustomization.yaml"));
    resources.flat_map(|file| documents(&file)).collect()
}

fn one(kind: &str, name: &str) -> Value {
    let mut found = all();
    found.retain(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    assert_eq!(found.len(), 1, "one {kind} {name}");
    found.remove(0)
}

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten();
    texts
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

/// A right: group, resource, verb, and the one object that it is for.
type Right = (String, String, String, Option<String>);

fn right(group: &str, resource: &str, verb: &str, name: Option<&str>) -> Right {
    (
        group.to_owned(),
        resource.to_owned(),
        verb.to_owned(),
        name.map(str::to_owned),
    )
}

fn rights(role: &Value) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let names = texts(&rule["resourceNames"])
            .into_iter()
            .map(Some)
            .collect::<Vec<_>>();
        let names = if names.is_empty() { vec![None] } else { names };
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.extend(
                        names
                            .iter()
                            .map(|name| right(&group, &resource, &verb, name.as_deref())),
                    );
                }
            }
        }
    }
    rights
}

#[test]
fn the_kustomization_lists_every_file() {
    let kustomization = &documents("manifests/base/kustomization.yaml")[0];
    let listed: BTreeSet<_> = texts(&kustomization["resources"])
        .iter()
        .map(|file| format!("manifests/base/{file}"))
        .chain(["manifests/base/kustomization.yaml".to_owned()])
        .collect();
    assert_eq!(
        listed,
        files("manifests/base", ".yaml").into_iter().collect()
    );
    let namespace = kustomization["namespace"].as_str().unwrap();
    assert!(
        help(&["watcher"]).contains(&format!("[default: {namespace}]")),
        "{namespace}"
    );
    one("Namespace", namespace);
}

#[test]
fn the_watcher_may_do_everywhere_what_it_does_and_nothing_else() {
    let mut used = BTreeSet::from([right("", "events", "create", None)]);
    for verb in ["get", "list", "watch"] {
        used.extend(SourceKind::ALL.map(|kind| right("", kind.plural(), verb, None)));
        used.extend(
            KINDS
                .iter()
                .map(|kind| right(kind.group, kind.plural, verb, None)),
        );
    }
    used.extend(
        KINDS
            .iter()
            .map(|kind| right(kind.group, kind.plural, "patch", None)),
    );
    assert_eq!(rights(&one("ClusterRole", ACCOUNT)), used);
}

#[test]
fn the_watcher_may_do_at_home_what_it_does_and_nothing_else() {
    let leases = |verb, name| right("coordination.k8s.io", "leases", verb, name);
    let used = BTreeSet::from([
        right("", "secrets", "create", None),
        leases("create", None),
        leases("get", Some(LEASE)),
        leases("update", Some(LEASE)),
    ]);
    assert_eq!(rights(&one("Role", ACCOUNT)), used);
}

#[test]
fn the_rights_are_bound_to_the_account_of_the_pods() {
    one("ServiceAccount", ACCOUNT);
    for kind in ["ClusterRole", "Role"] {
        let binding = one(&format!("{kind}Binding"), ACCOUNT);
        assert_eq!(binding["roleRef"]["kind"], kind);
        assert_eq!(binding["roleRef"]["name"], ACCOUNT);
        let account =
            json!([{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": "restamp-system" }]);
        assert_eq!(binding["subjects"], account);
    }
    assert_eq!(pod()["serviceAccountName"], ACCOUNT);
}

fn pod() -> Value {
    one("Deployment", ACCOUNT)["spec"]["template"]["spec"].clone()
}

fn container() -> Value {
    let pod = pod();
    let containers = pod["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    containers[0].clone()
}

#[test]
fn the_program_understands_its_arguments_and_environment() {
    let container = container();
    let arguments = texts(&container["args"]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let help = help(&arguments);
    assert!(help.contains("restamp watcher"), "{help}");
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert!(
            help.contains(&format!("[env: {name}=")),
            "{name} is no flag's variable"
        );
    }
    let namespace = json!({ "fieldRef": { "fieldPath": "metadata.namespace" } });
    let given = container["env"].as_array().unwrap().iter();
    let given = given.filter(|variable| variable["name"] == "RESTAMP_NAMESPACE");
    assert_eq!(
        given
            .map(|variable| &variable["valueFrom"])
            .collect::<Vec<_>>(),
        [&namespace]
    );
}

#[tokio::test]
async fn ports_and_probes_lead_to_what_is_served() {
    let container = container();
    let port = &container["ports"][0];
    let listens = format!("[default: 0.0.0.0:{}]", port["containerPort"]);
    assert!(help(&["watcher"]).contains(&listens), "{listens}");
    for probe in ["livenessProbe", "readinessProbe"] {
        let probe = &container[probe]["httpGet"];
        assert_eq!(probe["port"], port["name"]);
        let router = admin::router(Registry::default(), admin::Readiness::default());
        let (status, _) = crate::admin::get(router, probe["path"].as_str().unwrap()).await;
        assert_eq!(status, 200, "{probe}");
    }
    assert_ne!(container["livenessProbe"], container["readinessProbe"]);
}

#[test]
fn the_pods_are_restricted_and_the_namespace_says_so() {
    let namespace = one("Namespace", "restamp-system");
    let level = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(level, "restricted");
    let pod = &pod()["securityContext"];
    assert_eq!(pod["runAsNonRoot"], true);
    assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault");
    let container = &container()["securityContext"];
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["capabilities"], json!({ "drop": ["ALL"] }));
}

#[test]
fn the_deployment_selects_its_own_pods() {
    let spec = one("Deployment", ACCOUNT)["spec"].clone();
    let labels = &spec["template"]["metadata"]["labels"];
    for (key, value) in spec["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&labels[key], value, "{key}");
    }
    assert!(
        spec["replicas"].as_u64().unwrap() >= 2,
        "one is active, the other warm"
    );
}
