//! What Prometheus says of the rules, and of what the dashboard asks for.

use std::{fs, process::Command};

use serde_json::{Value, json};

use super::{
    helm::{cases, path, printed, rendered},
    objects::objects,
};

/// Has Prometheus's own code check groups of rules.
fn check(groups: &Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    fs::write(&file, json!({ "groups": groups }).to_string()).unwrap();
    let output = Command::new("check-rules").arg(&file).output();
    printed(&output.unwrap_or_else(|error| panic!("run `make chart`: {error}")));
}

#[test]
fn the_rules_are_ones_that_prometheus_takes() {
    let mut checked = 0;
    for case in cases() {
        for ((kind, ..), object) in objects(&rendered(&case)) {
            if kind == "PrometheusRule" {
                check(&object["spec"]["groups"]);
                checked += 1;
            }
        }
    }
    assert!(checked > 1, "{checked}");
}

/// As rules, with what Grafana puts in the place of its variable.
#[test]
fn the_dashboard_asks_for_what_prometheus_understands() {
    let text = fs::read_to_string(path("charts/restamp/files/dashboard.json")).unwrap();
    let text = text.replace("$__rate_interval", "1m");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let rules: Vec<_> = targets
        .enumerate()
        .map(|(number, target)| json!({ "record": format!("panel:{number}"), "expr": target["expr"] }))
        .collect();
    assert!(rules.len() > 10, "{rules:?}");
    check(&json!([{ "name": "dashboard", "rules": rules }]));
}
