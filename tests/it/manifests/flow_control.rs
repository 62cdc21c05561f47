//! The requests of the webhook have a share of the API server of their own.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    SYSTEM, WEBHOOK, one,
    rights::{Right, rights},
    texts,
};

#[test]
fn whatever_the_webhook_may_ask_has_its_own_priority() {
    let schema = &one("FlowSchema", WEBHOOK)["spec"];
    let level = schema["priorityLevelConfiguration"]["name"].as_str();
    one("PriorityLevelConfiguration", level.unwrap());
    let rules = schema["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 1);
    let account = json!({ "name": WEBHOOK, "namespace": SYSTEM });
    let subjects = json!([{ "kind": "ServiceAccount", "serviceAccount": account }]);
    assert_eq!(rules[0]["subjects"], subjects);
    let covered = covered(&rules[0]);
    for (group, resource, verb, _) in rights(&one("ClusterRole", WEBHOOK)) {
        assert!(
            covered.contains(&(group, resource.clone(), verb.clone(), None)),
            "{verb} {resource}"
        );
    }
}

fn covered(rule: &Value) -> BTreeSet<Right> {
    for rule in rule["resourceRules"].as_array().unwrap() {
        assert_eq!(texts(&rule["namespaces"]), ["*"]);
    }
    rights(&json!({ "rules": rule["resourceRules"] }))
}

/// Those of Kubernetes itself go before; that of every ServiceAccount comes after.
#[test]
fn its_schema_is_found_before_that_of_all_accounts() {
    let precedence = &one("FlowSchema", WEBHOOK)["spec"]["matchingPrecedence"];
    assert!((901..9000).contains(&precedence.as_u64().unwrap()));
}
