//! The rights for some namespaces alone, and those to see which namespaces have a label.

use std::collections::BTreeSet;

use restamp::cluster::key;
use serde_json::{Value, json};

use super::{
    BASE, SELF_MANAGED, SYSTEM, WATCHER, WEBHOOK, listed, one, one_of,
    rights::{right, rights},
};
use crate::repository::files;

const NAMESPACED: &str = "manifests/namespaced";
const FOLLOWED: &str = "manifests/namespaced/followed";
const SELECTOR: &str = "manifests/namespace-selector";

fn accounts(binding: &Value) -> Vec<String> {
    let subjects = binding["subjects"].as_array().unwrap().iter();
    let names = subjects.map(|subject| {
        assert_eq!(subject["kind"], "ServiceAccount");
        assert_eq!(subject["namespace"], SYSTEM);
        subject["name"].as_str().unwrap().to_owned()
    });
    names.collect()
}

#[test]
fn every_file_is_listed() {
    for (folder, below) in [
        (FOLLOWED, vec![]),
        (SELECTOR, vec![]),
        (NAMESPACED, vec![BASE, SELF_MANAGED]),
    ] {
        let mut expected: BTreeSet<_> = files(folder, ".yaml").into_iter().collect();
        expected.retain(|file| {
            let inside = file.strip_prefix(folder).unwrap().trim_start_matches('/');
            !inside.contains('/') && inside != "kustomization.yaml"
        });
        expected.extend(below.into_iter().map(str::to_owned));
        assert_eq!(listed(folder), expected);
    }
}

#[test]
fn in_a_namespace_that_is_followed_the_rights_are_those_of_the_cluster() {
    for account in [WATCHER, WEBHOOK] {
        let role = one_of(FOLLOWED, "Role", account);
        assert_eq!(rights(&role), rights(&one("ClusterRole", account)));
        let binding = one_of(FOLLOWED, "RoleBinding", account);
        let expected = one("ClusterRoleBinding", account);
        assert_eq!(binding["roleRef"]["name"], account);
        assert_eq!(binding["roleRef"]["kind"], "Role");
        assert_eq!(binding["subjects"], expected["subjects"]);
        for object in [role, binding] {
            assert_eq!(object["metadata"], json!({ "name": account }));
        }
    }
}

#[test]
fn at_home_there_is_a_right_to_the_key() {
    let home = one_of(NAMESPACED, "Role", key::SECRET);
    let get = right("", "secrets", "get", Some(key::SECRET));
    assert_eq!(rights(&home), BTreeSet::from([get]));
    let binding = one_of(NAMESPACED, "RoleBinding", key::SECRET);
    assert_eq!(binding["roleRef"]["name"], key::SECRET);
    assert_eq!(accounts(&binding), [WATCHER, WEBHOOK]);
    for object in [home, binding] {
        assert_eq!(object["metadata"]["namespace"], SYSTEM);
    }
}

#[test]
fn which_namespaces_have_a_label_may_be_seen_and_nothing_else() {
    let name = "restamp-watcher-namespaces";
    let see = ["list", "watch"].map(|verb| right("", "namespaces", verb, None));
    let role = one_of(SELECTOR, "ClusterRole", name);
    assert_eq!(rights(&role), BTreeSet::from(see));
    let binding = one_of(SELECTOR, "ClusterRoleBinding", name);
    assert_eq!(binding["roleRef"]["name"], name);
    assert_eq!(accounts(&binding), [WATCHER]);
}
