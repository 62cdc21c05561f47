//! The JSON merge patch that carries a decision to the API server.

use serde_json::{Map, Value, json};

use super::annotations::{OBSERVED, STAMP};

/// What to write to a workload: `observed`, and a stamp when the template is to roll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotations {
    /// For the pod template; nothing leaves the template alone.
    pub stamp: Option<String>,
    /// For the workload's metadata.
    pub observed: String,
}

/// A merge patch that sets our annotations and nothing else, and that the API server refuses with a
/// conflict when the object is no longer at `resource_version`.
pub fn merge_patch(template_path: &[&str], resource_version: &str, write: &Annotations) -> Value {
    let mut patch = Map::new();
    if let Some(stamp) = &write.stamp {
        let template = json!({ "metadata": { "annotations": { STAMP: stamp } } });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touches_only_our_annotations() {
        let write = Annotations {
            stamp: Some("s".to_owned()),
            observed: "o".to_owned(),
        };
        let patch = merge_patch(&["spec", "jobTemplate", "spec", "template"], "7", &write);
        assert_eq!(
            patch,
            json!({
                "metadata": { "resourceVersion": "7", "annotations": { OBSERVED: "o" } },
                "spec": { "jobTemplate": { "spec": { "template": {
                    "metadata": { "annotations": { STAMP: "s" } }
                }}}},
            })
        );
    }

    #[test]
    fn leaves_the_template_alone_without_a_stamp() {
        let write = Annotations {
            stamp: None,
            observed: "o".to_owned(),
        };
        let patch = merge_patch(&["spec", "template"], "7", &write);
        assert_eq!(patch.get("spec"), None);
    }
}
