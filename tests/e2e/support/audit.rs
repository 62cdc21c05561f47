//! Counting requests by the API server's own audit log.

use std::{fs, path::Path};

use serde::Deserialize;

/// One request, as the API server saw it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// `get`, `patch`, ...
    pub verb: String,
    user: User,
    object_ref: Option<Object>,
    stage: String,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Object {
    resource: String,
    namespace: String,
    name: String,
}

impl Request {
    /// What was asked, such as `patch deployments web`; an Event has a name of its own each time.
    pub fn to_line(&self) -> String {
        let object = self.object_ref.clone().unwrap_or_default();
        let name = if object.resource == "events" {
            ""
        } else {
            &object.name
        };
        format!("{} {} {name}", self.verb, object.resource)
            .trim_end()
            .to_owned()
    }

    /// Not for the Lease, and not what kinds there are.
    fn is_of_objects(&self) -> bool {
        let object = self.object_ref.as_ref();
        object.is_some_and(|object| !["", "leases"].contains(&&*object.resource))
    }
}

/// A place in the log.
pub struct Mark(usize);

/// The end of the log as it is now.
pub fn mark(log: &Path) -> Mark {
    Mark(
        fs::metadata(log)
            .map(|file| file.len())
            .unwrap_or_default()
            .try_into()
            .expect("a small file"),
    )
}

/// What a user asked of the whole cluster since `mark`, watches included; left out is which kinds there are.
pub fn cluster_wide_since(log: &Path, mark: &Mark, user: &str) -> Vec<String> {
    let is_of_cluster = |request: &Request| {
        let object = request.object_ref.as_ref();
        object.is_some_and(|it| !it.resource.is_empty() && it.namespace.is_empty())
    };
    let asked = all_since(log, mark, user).into_iter();
    asked
        .filter(is_of_cluster)
        .map(|request| request.to_line())
        .collect()
}

/// What a user asked since `mark`; left out are watches, the Lease, and which kinds there are.
pub fn requests_since(log: &Path, mark: &Mark, user: &str) -> Vec<Request> {
    let asked = all_since(log, mark, user).into_iter();
    asked
        .filter(|request| request.stage == "ResponseComplete")
        .filter(|request| request.verb != "watch" && request.is_of_objects())
        .collect()
}

fn all_since(log: &Path, mark: &Mark, user: &str) -> Vec<Request> {
    let bytes = fs::read(log).expect("the audit log");
    let lines = bytes
        .get(mark.0..)
        .unwrap_or_default()
        .split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| serde_json::from_slice::<Request>(line).ok())
        .filter(|request| request.user.username == user)
        .collect()
}
