//! What the manifests and the chart give.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::certificates::site::folder;

/// The roles that the manifests make.
pub const WATCHER_ROLE: &str = "ClusterRole/restamp-watcher";
pub const WATCHER_ROLE_AT_HOME: &str = "Role/restamp-watcher";
pub const WEBHOOK_ROLE: &str = "ClusterRole/restamp-webhook";

/// A right, and which role gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    pub role: &'static str,
    pub verb: &'static str,
    pub group: &'static str,
    pub resource: &'static str,
}

impl Right {
    pub const fn new(
        role: &'static str,
        verb: &'static str,
        (group, resource): (&'static str, &'static str),
    ) -> Self {
        Self {
            role,
            verb,
            group,
            resource,
        }
    }

    /// The resource, as errors and metrics have it.
    pub fn resource(&self) -> String {
        full_name(self.group, self.resource)
    }

    /// `verb resource`.
    pub fn text(&self) -> String {
        format!("{} {}", self.verb, self.resource())
    }
}

fn full_name(group: &str, resource: &str) -> String {
    let name = format!("{resource}.{group}");
    name.trim_end_matches('.').to_owned()
}

/// Every role in the files of a folder.
fn roles(directory: &str) -> Vec<Value> {
    let mut documents = Vec::new();
    read(&folder(directory), &mut documents);
    documents.retain(|it| it["kind"] == "Role" || it["kind"] == "ClusterRole");
    assert!(!documents.is_empty(), "no roles in {directory}");
    documents
}

fn read(path: &Path, documents: &mut Vec<Value>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            read(&entry.expect("an entry").path(), documents);
        }
    } else if path.extension().is_some_and(|it| it == "yaml") {
        let text = fs::read_to_string(path).expect("a file");
        let parsed = serde_saphyr::from_multiple::<Value>(&text);
        documents.extend(parsed.unwrap_or_else(|error| panic!("{path:?}: {error}")));
    }
}

/// The rights that a role gives: verb and resource.
fn rights(role: &Value) -> BTreeSet<String> {
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list").iter();
        list.map(|it| it.as_str().expect("a text").to_owned())
            .collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let resource = full_name(&group, &resource);
                let verbs = texts(&rule["verbs"]).into_iter();
                rights.extend(verbs.map(|verb| format!("{verb} {resource}")));
            }
        }
    }
    rights
}

/// Role, verb and resource of all that the manifests give. What is in no namespace yet gives in one what the ClusterRole
/// of its name gives everywhere.
pub fn by_manifests() -> BTreeSet<(String, String)> {
    let mut given = BTreeSet::new();
    for role in roles("manifests") {
        let kind = match &role["metadata"]["namespace"] {
            Value::Null => "ClusterRole",
            _ => "Role",
        };
        let name = format!(
            "{kind}/{}",
            role["metadata"]["name"].as_str().expect("a name")
        );
        given.extend(rights(&role).into_iter().map(|right| (name.clone(), right)));
    }
    given
}

/// Verb and resource of all that the chart gives, whatever is switched on, and to whom. Of its test, which is another
/// program, there is nothing.
pub fn by_chart() -> BTreeSet<(&'static str, String)> {
    let mut roles = roles("tests/chart/snapshots");
    roles.retain(|role| role["metadata"]["labels"]["app.kubernetes.io/component"] != "check");
    let given = roles.iter().flat_map(|role| {
        let whose = whose(role["metadata"]["name"].as_str().expect("a name"));
        rights(role).into_iter().map(move |right| (whose, right))
    });
    given.collect()
}

/// To whom a role gives its rights, by its name.
pub fn whose(role: &str) -> &'static str {
    let all = ["-watcher", "-webhook", "-key"];
    let whose = all.into_iter().find(|whose| role.contains(whose));
    whose.unwrap_or_else(|| panic!("whose is {role}?"))
}
