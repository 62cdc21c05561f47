//! What values make of pods, and of what is around them.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use super::{
    helm::{HELMS, cases, printed, rendered, template},
    objects::{Id, list, objects, one},
};

const BOTH: [&str; 2] = ["restamp-watcher", "restamp-webhook"];

fn with(values: &Value) -> BTreeMap<Id, Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.json");
    fs::write(&file, values.to_string()).unwrap();
    objects(&printed(&template(
        HELMS[0],
        &["-f", file.to_str().unwrap()],
    )))
}

#[test]
fn pods_that_are_not_ready_never_block_a_drain() {
    for case in cases() {
        for ((kind, _, name), object) in objects(&rendered(&case)) {
            if kind == "PodDisruptionBudget" {
                let policy = &object["spec"]["unhealthyPodEvictionPolicy"];
                assert_eq!(policy, "AlwaysAllow", "{case} {name}");
            }
        }
    }
}

#[test]
fn names_can_be_looked_up_where_dns_is_on_another_port() {
    let made = objects(&rendered("monitoring"));
    for name in BOTH {
        let ports = &one(&made, "NetworkPolicy", name)["spec"]["egress"][0]["ports"];
        for port in [53, 5353] {
            for protocol in ["UDP", "TCP"] {
                let port = json!({ "port": port, "protocol": protocol });
                assert!(ports.as_array().unwrap().contains(&port), "{name}: {ports}");
            }
        }
    }
}

#[test]
fn the_test_is_small_and_tries_no_namespace_that_it_cannot_make() {
    let of = |made: &BTreeMap<Id, Value>| one(made, "Pod", "restamp-check").clone();
    let by_name =
        json!([{ "key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"] }]);
    for selector in [
        json!({ "matchExpressions": by_name }),
        json!({ "matchExpressions": [], "matchLabels": { "kubernetes.io/metadata.name": "shop" } }),
    ] {
        let made = with(&json!({ "webhook": { "namespaceSelector": selector } }));
        let pod = of(&made);
        let args = list(&pod["spec"]["containers"][0]["args"]);
        assert!(!args.iter().any(|arg| arg.starts_with("--namespace=")));
        assert!(!made.keys().any(|(kind, ..)| kind == "Namespace"));
    }
    let pod = of(&objects(&rendered("default")));
    let resources = &pod["spec"]["containers"][0]["resources"];
    assert!(
        resources["requests"]["memory"].is_string() && resources["limits"]["memory"].is_string()
    );
}
