//! What the ServiceAccounts may do.

use std::collections::BTreeSet;

use restamp::{
    cluster::{
        csi::{GROUP, POD_STATUSES},
        kind::KINDS,
    },
    stamp::source::SourceKind,
    watcher::LEASE,
};
use serde_json::{Value, json};

use super::{BASE, SYSTEM, WATCHER, WEBHOOK, objects, one, texts};

/// A right: group, resource, verb, and the one object that it is for.
pub type Right = (String, String, String, Option<String>);

pub fn right(group: &str, resource: &str, verb: &str, name: Option<&str>) -> Right {
    (
        group.to_owned(),
        resource.to_owned(),
        verb.to_owned(),
        name.map(str::to_owned),
    )
}

pub fn rights(role: &Value) -> BTreeSet<Right> {
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
fn the_watcher_may_do_everywhere_what_it_does_and_nothing_else() {
    let mut used = BTreeSet::from([
        right("", "events", "create", None),
        right("batch", "jobs", "create", None),
        right("batch", "jobs", "delete", None),
    ]);
    for verb in ["list", "watch"] {
        let class = SourceKind::SecretProviderClass.plural();
        used.extend([class, POD_STATUSES].map(|name| right(GROUP, name, verb, None)));
    }
    for verb in ["get", "list", "watch"] {
        used.extend(SourceKind::CORE.map(|kind| right("", kind.plural(), verb, None)));
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
    assert_eq!(rights(&one("ClusterRole", WATCHER)), used);
}

#[test]
fn the_watcher_may_do_at_home_what_it_does_and_nothing_else() {
    let leases = |verb, name| right("coordination.k8s.io", "leases", verb, name);
    let used = BTreeSet::from([
        right("", "secrets", "create", None),
        right("", "secrets", "list", None),
        right("", "secrets", "delete", None),
        leases("create", None),
        leases("get", Some(LEASE)),
        leases("update", Some(LEASE)),
    ]);
    assert_eq!(rights(&one("Role", WATCHER)), used);
}

#[test]
fn the_webhook_may_get_sources_and_nothing_else() {
    let get = SourceKind::CORE.map(|kind| right("", kind.plural(), "get", None));
    assert_eq!(rights(&one("ClusterRole", WEBHOOK)), BTreeSet::from(get));
    let roles = objects(BASE).into_iter();
    let roles = roles.filter(|object| object["kind"] == "Role");
    let names: Vec<_> = roles.map(|role| role["metadata"]["name"].clone()).collect();
    assert_eq!(names, [WATCHER]);
}

#[test]
fn the_rights_are_bound_to_the_account_of_the_pods() {
    let both: &[&str] = &["ClusterRole", "Role"];
    for (account, roles) in [(WATCHER, both), (WEBHOOK, &["ClusterRole"])] {
        one("ServiceAccount", account);
        for kind in roles {
            let binding = one(&format!("{kind}Binding"), account);
            assert_eq!(binding["roleRef"]["kind"], *kind);
            assert_eq!(binding["roleRef"]["name"], account);
            let subject =
                json!([{ "kind": "ServiceAccount", "name": account, "namespace": SYSTEM }]);
            assert_eq!(binding["subjects"], subject);
        }
        let pod = &one("Deployment", account)["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], account);
    }
}
