//! Every object is one that the oldest Kubernetes knows, field by field. `kubernetes-1.30.json` holds the schemas of the
//! kinds that are made, from `api/openapi-spec/v3` of k8s.io/kubernetes v1.30.14, without descriptions.

use std::fs;

use serde_json::{Map, Value};

use super::{
    helm::{cases, path, rendered},
    objects::objects,
};

/// Kinds of others, which Kubernetes itself does not know.
const OF_OTHERS: [&str; 3] = [
    "cert-manager.io",
    "monitoring.coreos.com",
    "autoscaling.k8s.io",
];

struct Schemas(Map<String, Value>);

impl Schemas {
    fn read() -> Self {
        let text = fs::read_to_string(path("tests/chart/kubernetes-1.30.json")).unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    /// What is wrong with an object.
    fn problems(&self, object: &Value) -> Vec<String> {
        let api = object["apiVersion"].as_str().unwrap();
        let (group, version) = api.split_once('/').unwrap_or(("", api));
        let is_it = |schema: &&Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.into_iter().flatten().any(|kind| {
                kind["group"] == group
                    && kind["version"] == version
                    && kind["kind"] == object["kind"]
            })
        };
        let Some(schema) = self.0.values().find(is_it) else {
            return vec![format!("there is no {} {}", api, object["kind"])];
        };
        let mut problems = Vec::new();
        self.look(schema, object, "", &mut problems);
        problems
    }

    fn look(&self, schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
        if let Some(name) = schema["$ref"].as_str() {
            return self.look(&self.0[name], value, at, problems);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            if !choices.iter().any(|choice| is_of(choice, value)) {
                problems.push(format!("{at}: {value}"));
            }
            return;
        }
        if !is_of(schema, value) {
            problems.push(format!("{at}: {value} is no {}", schema["type"]));
            return;
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            if value.get(required.as_str().unwrap()).is_none() {
                problems.push(format!("{at}: {required} is missing"));
            }
        }
        for (name, field) in value.as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            let known = schema["properties"].get(name);
            match known.or(schema.get("additionalProperties")) {
                Some(known) => self.look(known, field, &at, problems),
                // An object of which nothing is said.
                None if schema.get("properties").is_none() => {}
                None => problems.push(format!("{at}: there is no such field")),
            }
        }
        for item in value.as_array().into_iter().flatten() {
            self.look(&schema["items"], item, at, problems);
        }
    }
}

/// Whether a value has the type of a schema.
fn is_of(schema: &Value, value: &Value) -> bool {
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    }
}

#[test]
fn every_object_is_one_that_the_oldest_kubernetes_knows() {
    let schemas = Schemas::read();
    for case in cases() {
        for (id, object) in objects(&rendered(&case)) {
            let api = object["apiVersion"].as_str().unwrap();
            if OF_OTHERS.iter().any(|group| api.starts_with(group)) {
                continue;
            }
            let problems = schemas.problems(&object);
            assert!(problems.is_empty(), "{case}: {id:?}: {problems:?}");
        }
    }
}

#[test]
fn what_it_does_not_know_would_be_seen() {
    let schemas = Schemas::read();
    let deployment: Value = serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": 1, "labls": {} },
        "spec": { "selector": {}, "template": { "spec": { "containers": [{ "image": "a" }] } } },
    });
    let problems = schemas.problems(&deployment);
    assert_eq!(problems.len(), 3, "{problems:?}");
    let newer = serde_json::json!({ "apiVersion": "apps/v2", "kind": "Deployment" });
    assert_eq!(schemas.problems(&newer).len(), 1);
}
