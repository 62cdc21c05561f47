//! The manifests grant what the code uses, start it as it wants to be started, and are complete.

mod admission;
mod certificates;
mod flow_control;
mod namespaced;
mod pods;
mod rights;

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use serde_json::Value;

use crate::repository::{files, help, read};

const SYSTEM: &str = "restamp-system";
const WATCHER: &str = "restamp-watcher";
const WEBHOOK: &str = "restamp-webhook";

const BASE: &str = "manifests/base";
const DEFAULT: &str = "manifests/default";
const SELF_MANAGED: &str = "manifests/self-managed";
const BY_CERT_MANAGER: &str = "manifests/cert-manager";
const CERT_MANAGER: &str = "certs/cert-manager";

/// The kinds that are in no namespace.
const OF_THE_CLUSTER: [&str; 7] = [
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "MutatingWebhookConfiguration",
    "FlowSchema",
    "PriorityClass",
    "PriorityLevelConfiguration",
];

pub fn documents(file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every object in the files of a folder.
fn objects(folder: &str) -> Vec<Value> {
    let resources = files(folder, ".yaml").into_iter();
    let resources = resources.filter(|file| !file.ends_with("/kustomization.yaml"));
    resources.flat_map(|file| documents(&file)).collect()
}

fn one_of(folder: &str, kind: &str, name: &str) -> Value {
    let mut found = objects(folder);
    found.retain(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    assert_eq!(found.len(), 1, "one {kind} {name}");
    found.remove(0)
}

fn one(kind: &str, name: &str) -> Value {
    one_of(BASE, kind, name)
}

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten();
    texts
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

fn set(value: &Value) -> BTreeSet<String> {
    texts(value).into_iter().collect()
}

/// The path that `relative` means in a folder.
fn resolved(folder: &str, relative: &str) -> String {
    let mut path = PathBuf::new();
    for component in Path::new(folder).join(relative).components() {
        match component {
            Component::ParentDir => assert!(path.pop(), "{relative} is outside of the repository"),
            other => path.push(other),
        }
    }
    path.to_str().unwrap().to_owned()
}

/// The files and folders that the kustomization of a folder names.
fn listed(folder: &str) -> BTreeSet<String> {
    let kustomization = &documents(&format!("{folder}/kustomization.yaml"))[0];
    let patches = kustomization["patches"].as_array().into_iter().flatten();
    let patches = patches.map(|patch| patch["path"].as_str().unwrap().to_owned());
    let parts = ["resources", "components"].map(|key| texts(&kustomization[key]));
    let names = parts.into_iter().flatten().chain(patches);
    names.map(|name| resolved(folder, &name)).collect()
}

/// The kubectl of Kubernetes 1.30 takes no more.
#[test]
fn a_patch_is_one_document() {
    let mut patches = 0;
    for kustomization in files("manifests", "kustomization.yaml") {
        let folder = Path::new(&kustomization).parent().unwrap();
        for patch in documents(&kustomization)[0]["patches"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let file = resolved(folder.to_str().unwrap(), patch["path"].as_str().unwrap());
            assert_eq!(documents(&file).len(), 1, "{file}");
            patches += 1;
        }
    }
    assert!(patches > 0);
}

#[test]
fn the_kustomizations_list_every_file() {
    for (folder, below) in [
        (BASE, vec![]),
        (CERT_MANAGER, vec![]),
        (SELF_MANAGED, vec![]),
        (DEFAULT, vec![BASE, SELF_MANAGED]),
        (BY_CERT_MANAGER, vec![BASE, CERT_MANAGER]),
    ] {
        let mut expected: BTreeSet<_> = files(folder, ".yaml").into_iter().collect();
        expected.remove(&format!("{folder}/kustomization.yaml"));
        expected.extend(below.into_iter().map(str::to_owned));
        assert_eq!(listed(folder), expected);
    }
}

#[test]
fn everything_is_in_the_namespace_that_the_program_is_at_home_in() {
    let program = help(&["watcher"]);
    assert!(
        program.contains(&format!("[default: {SYSTEM}]")),
        "{program}"
    );
    one("Namespace", SYSTEM);
    let folders = [BASE, SELF_MANAGED, CERT_MANAGER];
    for object in folders.into_iter().flat_map(objects) {
        let kind = object["kind"].as_str().unwrap();
        let namespace = object["metadata"]["namespace"].as_str();
        let expected = (!OF_THE_CLUSTER.contains(&kind)).then_some(SYSTEM);
        assert_eq!(namespace, expected, "{kind}");
    }
}
