//! What the API server sends to the webhook, and where.

use std::collections::BTreeSet;

use regex::Regex;
use restamp::{
    cluster::kind::KINDS,
    stamp::annotations::{OBSERVED, POLICY_KEYS, STAMP},
    webhook::PATH,
};
use serde_json::{Value, json};

use super::{
    BASE, SYSTEM, WEBHOOK, objects, one,
    pods::{container, port},
    set, texts,
};
use crate::repository::help;

fn webhook() -> Value {
    let webhooks = one("MutatingWebhookConfiguration", "restamp")["webhooks"].clone();
    assert_eq!(webhooks.as_array().unwrap().len(), 1);
    webhooks[0].clone()
}

fn condition(name: &str) -> String {
    let webhook = webhook();
    let mut conditions = webhook["matchConditions"].as_array().unwrap().iter();
    let condition = conditions.find(|condition| condition["name"] == name);
    let condition = condition.unwrap_or_else(|| panic!("no condition {name}"));
    condition["expression"].as_str().unwrap().to_owned()
}

/// The texts in an expression that stand in quotes.
fn quoted(expression: &str) -> Vec<String> {
    let quoted = Regex::new("'([^']*)'").unwrap();
    let found = quoted.captures_iter(expression);
    found.map(|found| found[1].to_owned()).collect()
}

#[test]
fn exactly_the_workload_kinds_are_reviewed() {
    let webhook = webhook();
    let mut reviewed = BTreeSet::new();
    for rule in webhook["rules"].as_array().unwrap() {
        assert_eq!(texts(&rule["operations"]), ["CREATE", "UPDATE"]);
        assert_eq!(rule["scope"], "Namespaced");
        for group in texts(&rule["apiGroups"]) {
            for version in texts(&rule["apiVersions"]) {
                let resources = texts(&rule["resources"]).into_iter();
                reviewed.extend(resources.map(|name| (group.clone(), version.clone(), name)));
            }
        }
    }
    let kinds = KINDS
        .iter()
        .map(|kind| [kind.group, kind.version, kind.plural].map(str::to_owned))
        .map(|[group, version, plural]| (group, version, plural));
    assert_eq!(reviewed, kinds.collect());
}

#[test]
fn no_request_is_refused_or_held_up_by_the_webhook() {
    let webhook = webhook();
    assert_eq!(webhook["failurePolicy"], "Ignore");
    assert_eq!(webhook["timeoutSeconds"], 3);
    assert_eq!(webhook["sideEffects"], "None");
    assert_eq!(webhook["reinvocationPolicy"], "IfNeeded");
    assert_eq!(webhook["matchPolicy"], "Equivalent");
    assert_eq!(webhook["admissionReviewVersions"], json!(["v1"]));
}

#[test]
fn only_namespaces_that_ask_for_it_are_reviewed_and_never_our_own() {
    let expected = json!({ "matchExpressions": [
        { "key": "restamp.dev/inject", "operator": "In", "values": ["enabled"] },
        { "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [SYSTEM, "kube-system"] },
    ] });
    assert_eq!(webhook()["namespaceSelector"], expected);
}

#[test]
fn the_conditions_know_every_annotation() {
    let known = POLICY_KEYS.into_iter().chain([STAMP, OBSERVED]);
    let known: BTreeSet<_> = known.map(str::to_owned).collect();
    for name in ["annotated", "changed"] {
        let mut keys = quoted(&condition(name));
        keys.retain(|text| text.contains('/'));
        assert_eq!(keys.len(), known.len(), "{name} names a key twice");
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), known, "{name}");
    }
}

#[test]
fn the_conditions_know_our_own_accounts() {
    let mut accounts = objects(BASE);
    accounts.retain(|object| object["kind"] == "ServiceAccount");
    let accounts = accounts.iter().map(|account| {
        let name = account["metadata"]["name"].as_str().unwrap();
        format!("system:serviceaccount:{SYSTEM}:{name}")
    });
    let named = quoted(&condition("not-our-own"));
    let named = named.into_iter().filter(|text| !text.is_empty());
    assert_eq!(named.collect::<BTreeSet<_>>(), accounts.collect());
}

/// With `failurePolicy: Ignore`, a condition that fails is one that says no.
#[test]
fn no_condition_fails_for_a_field_that_is_not_there() {
    let literal = Regex::new("'[^']*'").unwrap();
    let access = Regex::new(r"(\w+)\.(\??)(\w+)(\(?)").unwrap();
    let webhook = webhook();
    for condition in webhook["matchConditions"].as_array().unwrap() {
        let expression = condition["expression"].as_str().unwrap();
        let bare = literal.replace_all(expression, "");
        for found in access.captures_iter(&bare) {
            let guarded = &found[2] == "?" || &found[4] == "(";
            assert!(guarded || &found[0] == "request.operation", "{}", &found[0]);
        }
    }
}

#[test]
fn reviews_reach_the_port_of_the_pods() {
    let client = webhook()["clientConfig"].clone();
    assert_eq!(client["caBundle"], Value::Null, "it is injected");
    let client = &client["service"];
    assert_eq!(client["path"], PATH);
    assert_eq!(client["namespace"], SYSTEM);
    let service = &one("Service", client["name"].as_str().unwrap())["spec"];
    let ports = service["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 1);
    assert_eq!(ports[0]["port"], client["port"]);
    let target = ports[0]["targetPort"].as_str().unwrap();
    let listens = format!("[default: 0.0.0.0:{}]", port(&container(WEBHOOK), target));
    assert!(help(&["webhook"]).contains(&listens), "{listens}");
    let pods = &one("Deployment", WEBHOOK)["spec"]["selector"]["matchLabels"];
    assert_eq!(&service["selector"], pods);
}

#[test]
fn no_setting_is_unknown_to_this_test() {
    let known = [
        "admissionReviewVersions",
        "clientConfig",
        "failurePolicy",
        "matchConditions",
        "matchPolicy",
        "name",
        "namespaceSelector",
        "reinvocationPolicy",
        "rules",
        "sideEffects",
        "timeoutSeconds",
    ];
    assert!(webhook().as_object().unwrap().keys().eq(&known));
    let conditions = webhook()["matchConditions"].clone();
    let conditions = conditions.as_array().unwrap().iter();
    let names = conditions.map(|condition| condition["name"].clone());
    let expected = json!(["annotated", "not-our-own", "changed"]);
    assert_eq!(set(&names.collect()), set(&expected));
}
