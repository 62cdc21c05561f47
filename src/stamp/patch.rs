//! The patches that carry a decision to the API server: a merge patch of its own, or a JSON patch in the
//! answer to an admission review.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    annotations::{OBSERVED, STAMP},
    manifest::Manifest,
    pod::ObjectMeta,
    stamp::Stamp,
};

/// The most bytes that the keys and values of an object's annotations may take together
/// (`TotalAnnotationSizeLimitB` of apimachinery). A patch that goes beyond fails the user's request.
pub const MAX_ANNOTATION_BYTES: usize = 256 * 1024;
/// What we leave free of that when we add something new: controllers copy annotations to the objects that
/// they make, such as ReplicaSets, and add their own.
pub const ANNOTATION_RESERVE_BYTES: usize = 8 * 1024;

/// What to write to a workload: `observed`, and a stamp or a time when its pods are to start anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// How its pods start anew; nothing if they do not.
    pub start: Option<NewStart>,
    /// For the workload's metadata.
    pub observed: String,
    /// Whether a Job is to be made from the template, with the stamp: only CronJobs can do that.
    pub run_now: bool,
    /// Pods that were made before this time are older than the write (RFC 3339).
    pub restart_at: String,
}

/// How the pods of a workload start anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewStart {
    /// With this stamp on the template.
    Stamp(Stamp),
    /// With these changes in the template, by paths within it: Reloader's variables.
    Variables(Vec<Operation>),
    /// With the template as it is: an Argo Rollout restarts the pods that are older than its `spec.restartAt`.
    InPlace,
    /// By being made again, with the template as it is: a Job.
    Recreate,
}

/// A merge patch that sets our annotations and nothing else, and that the API server refuses with a
/// conflict when the object is no longer at `resource_version`.
pub fn merge_patch(template_path: &[&str], resource_version: &str, write: &Write) -> Value {
    let mut patch = Map::new();
    if let Some(NewStart::InPlace) = &write.start {
        patch.insert("spec".to_owned(), json!({ "restartAt": write.restart_at }));
    }
    if let Some(NewStart::Stamp(stamp)) = &write.start {
        let template = json!({ "metadata": { "annotations": { STAMP: stamp.to_string() } } });
        let nested = template_path
            .iter()
            .rev()
            .fold(template, |inner, field| json!({ *field: inner }));
        if let Value::Object(fields) = nested {
            patch.extend(fields);
        }
    }
    patch.insert(
        "metadata".to_owned(),
        json!({
            "resourceVersion": resource_version,
            "annotations": { OBSERVED: write.observed },
        }),
    );
    Value::Object(patch)
}

/// The same, as a JSON patch: the variables are members of lists, which a merge patch can only replace. For a workload
/// that has a memory already, and so annotations.
pub fn variables_patch(
    template_path: &[&str],
    resource_version: &str,
    observed: &str,
    variables: &[Operation],
) -> Vec<Operation> {
    let template = pointer(template_path);
    let ours = [
        Operation::Replace {
            path: "/metadata/resourceVersion".to_owned(),
            value: json!(resource_version),
        },
        Operation::Add {
            path: annotation_path("", OBSERVED),
            value: json!(observed),
        },
    ];
    let variables = variables.iter().cloned();
    let variables = variables.map(|operation| operation.within(&template));
    ours.into_iter().chain(variables).collect()
}

/// The JSON pointer of a field.
fn pointer(path: &[&str]) -> String {
    path.iter()
        .fold(String::new(), |path, field| path + "/" + field)
}

/// The JSON pointer of an annotation of the object at `parent`.
fn annotation_path(parent: &str, key: &str) -> String {
    let escaped = key.replace('~', "~0").replace('/', "~1");
    format!("{parent}/metadata/annotations/{escaped}")
}

/// Our two annotations on a workload, whatever they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// On the pod template.
    pub stamp: Option<String>,
    /// On the workload's metadata.
    pub observed: Option<String>,
}

/// One step of a JSON patch (RFC 6902).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Sets a member; its parent has to exist.
    Add {
        /// JSON pointer.
        path: String,
        /// What to set.
        value: Value,
    },
    /// Puts a member in the place of one that exists.
    Replace {
        /// JSON pointer.
        path: String,
        /// What to put there.
        value: Value,
    },
    /// Takes a member away; it has to exist.
    Remove {
        /// JSON pointer.
        path: String,
    },
}

impl Operation {
    /// The same, on a member of a larger object.
    fn within(mut self, parent: &str) -> Self {
        let (Operation::Add { path, .. }
        | Operation::Replace { path, .. }
        | Operation::Remove { path }) = &mut self;
        path.insert_str(0, parent);
        self
    }
}

/// How to make our annotations on an object what they should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonPatch {
    /// What to change; nothing else is touched.
    pub operations: Vec<Operation>,
    /// Whether something had to be left out, since the annotations would take too much.
    pub incomplete: bool,
}

/// Makes our annotations on the object `own`, as far as all of its annotations, and all of its
/// template's, then take `limit` bytes at most.
pub fn json_patch(
    template_path: &[&str],
    object: &Manifest<'_>,
    own: &Own,
    limit: usize,
) -> JsonPatch {
    let mut patch = JsonPatch::default();
    let observed = own.observed.as_deref();
    patch.set("", object.metadata(), OBSERVED, observed, limit);
    if let Some(metadata) = object.template_metadata() {
        let template = pointer(template_path);
        patch.set(&template, metadata, STAMP, own.stamp.as_deref(), limit);
    }
    patch
}

impl JsonPatch {
    fn set(
        &mut self,
        parent: &str,
        metadata: Option<&ObjectMeta>,
        key: &str,
        value: Option<&str>,
        limit: usize,
    ) {
        let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
        let current = annotations.and_then(|annotations| annotations.get(key));
        if current.map(String::as_str) == value {
            return;
        }
        let path = annotation_path(parent, key);
        let Some(value) = value else {
            self.operations.push(Operation::Remove { path });
            return;
        };
        if annotations.is_some_and(|all| size_with(all, key, value) > limit) {
            self.incomplete = true;
            return;
        }
        let (path, value) = match (metadata, annotations) {
            (_, Some(_)) => (path, json!(value)),
            (Some(_), None) => (
                format!("{parent}/metadata/annotations"),
                json!({ key: value }),
            ),
            (None, _) => (
                format!("{parent}/metadata"),
                json!({ "annotations": { key: value } }),
            ),
        };
        self.operations.push(Operation::Add { path, value });
    }
}

fn size_with(annotations: &BTreeMap<String, String>, key: &str, value: &str) -> usize {
    let others = annotations.iter().filter(|(name, _)| *name != key);
    let others: usize = others.map(|(name, value)| name.len() + value.len()).sum();
    others + key.len() + value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMPED: &str = "v1.abcdef01.00112233445566778899aabbccddeeff.3";

    #[test]
    fn touches_only_our_annotations() {
        let write = Write {
            start: Some(NewStart::Stamp(STAMPED.parse().unwrap())),
            observed: "o".to_owned(),
            run_now: false,
            restart_at: "2026-01-01T00:00:00Z".to_owned(),
        };
        let patch = merge_patch(&["spec", "jobTemplate", "spec", "template"], "7", &write);
        assert_eq!(
            patch,
            json!({
                "metadata": { "resourceVersion": "7", "annotations": { OBSERVED: "o" } },
                "spec": { "jobTemplate": { "spec": { "template": {
                    "metadata": { "annotations": { STAMP: STAMPED } }
                }}}},
            })
        );
    }

    #[test]
    fn variables_are_written_with_the_memory_and_bound_to_the_version() {
        let variables = [Operation::Remove {
            path: "/spec/containers/0/env/1".to_owned(),
        }];
        let patch = variables_patch(&["spec", "template"], "7", "o", &variables);
        assert_eq!(
            serde_json::to_value(patch).unwrap(),
            json!([
                { "op": "replace", "path": "/metadata/resourceVersion", "value": "7" },
                { "op": "add", "path": "/metadata/annotations/restamp.dev~1observed", "value": "o" },
                { "op": "remove", "path": "/spec/template/spec/containers/0/env/1" },
            ])
        );
    }

    #[test]
    fn leaves_the_template_alone_without_a_stamp() {
        let mut write = Write {
            start: None,
            observed: "o".to_owned(),
            run_now: false,
            restart_at: "2026-01-01T00:00:00Z".to_owned(),
        };
        let patch = merge_patch(&["spec", "template"], "7", &write);
        assert_eq!(patch.get("spec"), None);
        write.start = Some(NewStart::InPlace);
        let patch = merge_patch(&["spec", "template"], "7", &write);
        assert_eq!(
            patch["spec"],
            json!({ "restartAt": "2026-01-01T00:00:00Z" })
        );
    }
}
