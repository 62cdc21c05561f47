//! The objects in what Helm or kustomize printed.

use std::collections::BTreeMap;

use serde_json::Value;

/// Kind, namespace and name.
pub type Id = (String, String, String);

/// Each object, and its text without what the two Helms do not agree upon: empty lines, and comments around it.
pub fn texts(rendered: &str) -> BTreeMap<Id, String> {
    let mut found = BTreeMap::new();
    for document in format!("\n{rendered}").split("\n---\n") {
        let lines = document.lines();
        let lines = lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let lines: Vec<_> = lines.filter(|line| *line != "---").collect();
        if lines.is_empty() {
            continue;
        }
        let text = lines.join("\n") + "\n";
        let object: Value =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
        let other = found.insert(id(&object), text);
        assert!(other.is_none(), "{:?} is there twice", id(&object));
    }
    assert!(!found.is_empty(), "{rendered}");
    found
}

/// Each object.
pub fn objects(rendered: &str) -> BTreeMap<Id, Value> {
    let texts = texts(rendered).into_iter();
    texts
        .map(|(id, text)| (id, serde_saphyr::from_str(&text).unwrap()))
        .collect()
}

fn id(object: &Value) -> Id {
    let metadata = &object["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (
        text(&object["kind"]),
        text(&metadata["namespace"]),
        text(&metadata["name"]),
    )
}

/// The only object of a kind with that name.
pub fn one<'a>(objects: &'a BTreeMap<Id, Value>, kind: &str, name: &str) -> &'a Value {
    let found = objects
        .iter()
        .filter(|((of, _, called), _)| of == kind && called == name);
    let found: Vec<_> = found.map(|(_, object)| object).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

/// The container of a Deployment.
pub fn container(deployment: &Value) -> &Value {
    let containers = &deployment["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().unwrap().len(), 1);
    &containers[0]
}

/// The texts in a list.
pub fn list(value: &Value) -> Vec<&str> {
    let texts = value.as_array().into_iter().flatten();
    texts.map(|text| text.as_str().unwrap()).collect()
}
