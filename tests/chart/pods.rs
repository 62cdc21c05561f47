//! What values make of pods, and of what is around them.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use super::{
    helm::{HELMS, cases, path, printed, rendered, template, values},
    objects::{Id, container, list, objects, one},
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
fn variables_without_a_value_are_left_out() {
    let variables = json!({
        "open": { "EMPTY": null, "A": "a" },
        "secret": { "EMPTY": null },
        "existing": { "secret-a": { "EMPTY": null, "B": "b" }, "secret-b": null },
        "field": { "EMPTY": null, "C": "spec.nodeName" },
    });
    let made = with(&json!({ "reloader": { "deployment": { "env": variables } } }));
    let env = &container(one(&made, "Deployment", BOTH[0]))["env"];
    let names = env.as_array().unwrap().iter().map(|it| &it["name"]);
    let names: Vec<_> = names
        .filter(|name| !name.as_str().unwrap().starts_with("RESTAMP"))
        .collect();
    assert_eq!(names, ["A", "B", "C"], "{env}");
}

#[test]
fn of_probes_only_times_and_thresholds_are_taken() {
    let probe = json!({
        "httpGet": { "path": "/live", "port": "http" },
        "timeoutSeconds": 1,
        "failureThreshold": 2,
        "periodSeconds": 3,
        "successThreshold": 1,
        "initialDelaySeconds": 5,
    });
    let probes = json!({ "livenessProbe": probe, "readinessProbe": probe });
    let made = with(&json!({ "reloader": { "deployment": probes } }));
    for name in BOTH {
        let container = container(one(&made, "Deployment", name));
        for (kind, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            let mut expected = probe.clone();
            expected["httpGet"] = json!({ "path": path, "port": "admin" });
            assert_eq!(container[kind], expected, "{name}");
        }
    }
}

/// As YAML writers leave it when they comment out all that is below.
#[test]
fn what_is_left_empty_is_as_if_it_were_not_there() {
    let default = objects(&rendered("default"));
    let reloader: Vec<_> = [
        "serviceMonitor",
        "podMonitor",
        "rbac",
        "serviceAccount",
        "podDisruptionBudget",
        "netpol",
        "verticalPodAutoscaler",
        "custom_annotations",
        "service",
        "deployment",
        "legacy",
    ]
    .map(|key| json!({ "reloader": { key: null } }))
    .into();
    let webhook = [
        "namespaceSelector",
        "deployment",
        "serviceAccount",
        "podDisruptionBudget",
    ]
    .map(|key| json!({ "webhook": { key: null } }));
    let trees = [
        "global",
        "image",
        "reloader",
        "watcher",
        "webhook",
        "certificates",
        "monitoring",
    ]
    .map(|key| json!({ key: null }));
    for values in reloader.into_iter().chain(webhook).chain(trees) {
        assert_eq!(with(&values), default, "{values}");
    }
}

/// Only a list or a map may be taken away.
#[test]
fn a_switch_that_is_left_empty_is_as_its_default_says() {
    let schema = fs::read_to_string(path("charts/restamp/values.schema.json")).unwrap();
    let empty = empty_switches(&serde_json::from_str(&schema).unwrap()).unwrap();
    assert!(empty["reloader"]["rbac"].get("enabled").is_some());
    assert!(empty["certificates"].get("mode").is_some());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty.json");
    fs::write(&file, empty.to_string()).unwrap();
    for case in cases() {
        let args = ["-f", file.to_str().unwrap(), "-f", &values(&case)];
        let made = objects(&printed(&template(HELMS[0], &args)));
        assert_eq!(made, objects(&rendered(&case)), "{case}");
    }
}

/// Every boolean, number and choice of a schema that has a default, left empty; nothing where there is none.
fn empty_switches(schema: &Value) -> Option<Value> {
    let Some(properties) = schema["properties"].as_object() else {
        let types = list(&schema["type"]);
        let is_switch = types.contains(&"boolean") || types.contains(&"integer");
        let is_switch = is_switch || schema.get("enum").is_some();
        return (is_switch && !schema["default"].is_null()).then_some(Value::Null);
    };
    let below = properties.iter();
    let below = below.filter_map(|(name, node)| Some((name.clone(), empty_switches(node)?)));
    Some(Value::Object(below.collect()))
}

/// In a namespace that lets nobody out, it would wait for the API server in vain.
#[test]
fn the_test_s_pod_may_reach_whom_the_processes_reach() {
    for case in ["monitoring", "default"] {
        let objects = objects(&rendered(case));
        let pod = one(&objects, "Pod", "restamp-check");
        let policies = objects
            .iter()
            .filter(|((kind, ..), _)| kind == "NetworkPolicy");
        let mut policies: BTreeMap<_, _> =
            policies.map(|((_, _, name), it)| (&**name, it)).collect();
        let Some(policy) = policies.remove("restamp-check") else {
            assert!(policies.is_empty(), "{case}: only {:?}", policies.keys());
            continue;
        };
        for other in policies.values() {
            assert_eq!(policy["spec"]["egress"], other["spec"]["egress"], "{case}");
        }
        assert_eq!(policies.len(), 2);
        let selected = policy["spec"]["podSelector"]["matchLabels"]
            .as_object()
            .unwrap();
        for (label, value) in selected {
            assert_eq!(pod["metadata"]["labels"][label], *value, "{case}: {label}");
        }
        assert_eq!(selected["app.kubernetes.io/component"], "check");
        let hook = |object: &Value| {
            let weight = &object["metadata"]["annotations"]["helm.sh/hook-weight"];
            weight.as_str().unwrap().parse::<i32>().unwrap()
        };
        assert!(hook(policy) < hook(pod), "it is there before the pod");
    }
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
fn the_service_of_the_watcher_is_rendered_with_templates_in_its_labels() {
    let made = objects(&rendered("labels"));
    let metadata = &one(&made, "Service", BOTH[0])["metadata"];
    assert_eq!(metadata["labels"]["from"], "restamp");
    assert_eq!(metadata["annotations"]["from"], "restamp");
}

#[test]
fn labels_of_users_are_taken_but_for_those_that_select() {
    for ((kind, _, name), object) in objects(&rendered("labels")) {
        let labels = &object["metadata"]["labels"];
        assert_eq!(
            labels["app.kubernetes.io/name"], "restamp",
            "{kind} {name}: {labels}"
        );
        if kind == "Role" || kind == "ServiceMonitor" || kind == "PrometheusRule" {
            assert_eq!(labels["app.kubernetes.io/part-of"], "shop", "{kind} {name}");
        }
    }
}

#[test]
fn where_only_its_own_namespace_is_followed_there_is_no_webhook() {
    let own = objects(&rendered("own-namespace"));
    assert!(own.keys().all(|(.., name)| !name.contains("webhook")));
    assert!(own.keys().any(|(.., name)| name == BOTH[0]));
    let named = json!({ "watchGlobally": false, "namespaces": "restamp-system" });
    assert_eq!(with(&json!({ "reloader": named })), own);
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
