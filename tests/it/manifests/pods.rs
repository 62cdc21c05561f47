//! How the processes run.

use restamp::runtime::{admin, metrics::Registry};
use serde_json::{Value, json};

use super::{SYSTEM, WATCHER, WEBHOOK, one, texts};
use crate::repository::{help, read};

const BOTH: [&str; 2] = [WATCHER, WEBHOOK];

pub fn pod(name: &str) -> Value {
    one("Deployment", name)["spec"]["template"]["spec"].clone()
}

pub fn container(name: &str) -> Value {
    let pod = pod(name);
    let containers = pod["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    containers[0].clone()
}

/// The number of a port of the container.
pub fn port(container: &Value, name: &str) -> u64 {
    let mut ports = container["ports"].as_array().unwrap().iter();
    let port = ports.find(|port| port["name"] == name);
    port.unwrap_or_else(|| panic!("no port {name}"))["containerPort"]
        .as_u64()
        .unwrap()
}

#[test]
fn the_watcher_understands_its_arguments_and_environment() {
    let container = container(WATCHER);
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
}

#[test]
fn the_processes_are_told_where_they_are() {
    let namespace =
        json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } });
    for name in BOTH {
        let container = container(name);
        let given = container["env"].as_array().unwrap().iter();
        let given = given.filter(|variable| variable["name"] == "RESTAMP_NAMESPACE");
        assert_eq!(
            given
                .map(|variable| &variable["valueFrom"])
                .collect::<Vec<_>>(),
            [&namespace]
        );
    }
}

#[tokio::test]
async fn ports_and_probes_lead_to_what_is_served() {
    for name in BOTH {
        let container = container(name);
        let listens = format!("[default: 0.0.0.0:{}]", port(&container, "admin"));
        assert!(help(&["watcher"]).contains(&listens), "{listens}");
        for probe in ["livenessProbe", "readinessProbe"] {
            let probe = &container[probe]["httpGet"];
            assert_eq!(probe["port"], "admin");
            let router = admin::router(Registry::default(), admin::Readiness::default());
            let (status, _) = crate::admin::get(router, probe["path"].as_str().unwrap()).await;
            assert_eq!(status, 200, "{probe}");
        }
        assert_ne!(container["livenessProbe"], container["readinessProbe"]);
    }
}

#[test]
fn the_pods_are_restricted_and_the_namespace_says_so() {
    let namespace = one("Namespace", SYSTEM);
    let level = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(level, "restricted");
    for name in BOTH {
        let pod = &pod(name)["securityContext"];
        assert_eq!(pod["runAsNonRoot"], true);
        assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault");
        let container = &container(name)["securityContext"];
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["capabilities"], json!({ "drop": ["ALL"] }));
    }
}

#[test]
fn the_pods_are_of_the_image_that_is_built_and_of_its_user() {
    let value = |file: &str, key: &str| {
        let text = read(file);
        let mut lines = text.lines();
        let value = lines.find_map(|line| Some(line.strip_prefix(key)?.trim().to_owned()));
        value.unwrap_or_else(|| panic!("{file} has no {key}"))
    };
    for name in BOTH {
        assert_eq!(container(name)["image"], value("Makefile", "IMAGE :="));
        let pod = &pod(name)["securityContext"];
        let user = format!("{}:{}", pod["runAsUser"], pod["runAsGroup"]);
        assert_eq!(user, value("Dockerfile", "USER"));
    }
}

#[test]
fn the_deployments_select_their_own_pods_and_have_a_spare_one() {
    let mut selectors = Vec::new();
    for name in BOTH {
        let spec = one("Deployment", name)["spec"].clone();
        let template = &spec["template"];
        let labels = &template["metadata"]["labels"];
        for (key, value) in spec["selector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(&labels[key], value, "{key}");
        }
        let spread = &template["spec"]["topologySpreadConstraints"][0];
        assert_eq!(spread["labelSelector"], spec["selector"], "{name}");
        // Or the pods that a rollout replaces are counted.
        assert_eq!(spread["matchLabelKeys"][0], "pod-template-hash", "{name}");
        let budget = one("PodDisruptionBudget", name)["spec"].clone();
        assert_eq!(budget["selector"], spec["selector"], "{name}");
        assert_eq!(budget["unhealthyPodEvictionPolicy"], "AlwaysAllow");
        assert!(spec["replicas"].as_u64().unwrap() >= 2, "{name}");
        selectors.push(spec["selector"].clone());
    }
    assert_ne!(selectors[0], selectors[1]);
}
