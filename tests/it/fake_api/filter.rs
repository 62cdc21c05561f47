//! What a list or a watch is of.

use std::collections::BTreeMap;

use restamp::stamp::selector::LabelSelector;
use serde_json::Value;

/// The namespace of the path, and the selectors of the query.
pub struct Filter {
    namespace: String,
    labels: LabelSelector,
    /// Namespaces that the field selector leaves out.
    left_out: Vec<String>,
}

impl Filter {
    pub fn new(namespace: &str, labels: Option<&str>, fields: Option<&str>) -> Self {
        let labels = decoded(labels.unwrap_or_default());
        let fields = decoded(fields.unwrap_or_default());
        let left_out = fields.split(',').filter(|term| !term.is_empty());
        let left_out = left_out.map(|term| {
            let name = term.strip_prefix("metadata.namespace!=");
            name.expect("a term that the fake knows").to_owned()
        });
        Self {
            namespace: namespace.to_owned(),
            labels: labels.parse().expect("a label selector"),
            left_out: left_out.collect(),
        }
    }

    pub fn matches(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or_default();
        let labels = metadata["labels"].as_object().into_iter().flatten();
        let labels: BTreeMap<_, _> = labels
            .map(|(key, value)| (key.clone(), value.as_str().expect("text").to_owned()))
            .collect();
        (self.namespace.is_empty() || self.namespace == namespace)
            && !self.left_out.iter().any(|name| name == namespace)
            && self.labels.matches(&labels)
    }
}

/// A value of a query.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().replace('+', " ");
    for part in parts {
        let (code, rest) = part.split_at(2);
        decoded.push(u8::from_str_radix(code, 16).expect("hexadecimal").into());
        decoded.push_str(&rest.replace('+', " "));
    }
    decoded
}
