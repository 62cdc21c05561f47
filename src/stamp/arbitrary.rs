//! Input that nobody would write on purpose, for the properties of whatever parses.

use proptest::{collection, prelude::*, sample::Index};
use serde_json::Value;

/// Any JSON.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// `valid` with a few of its parts replaced by anything: wrong, and deep enough to be looked at.
pub fn spoiled(valid: Value) -> impl Strategy<Value = Value> {
    let place = collection::vec(any::<Index>(), 0..10);
    collection::vec((place, json()), 0..3).prop_map(move |edits| {
        let mut value = valid.clone();
        for (place, part) in edits {
            replace(&mut value, &place, part);
        }
        value
    })
}

fn replace(value: &mut Value, place: &[Index], part: Value) {
    let mut inner: Vec<_> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => Vec::new(),
    };
    match place.split_first() {
        Some((step, rest)) if !inner.is_empty() => {
            let index = step.index(inner.len());
            replace(inner.swap_remove(index), rest, part);
        }
        _ => *value = part,
    }
}
