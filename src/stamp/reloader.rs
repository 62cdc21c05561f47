//! What stakater/Reloader writes to pod templates with its strategy `env-vars`: a variable named after the source
//! that changed, with a plain SHA-1 of all that it holds (its `internal/pkg/util` and `internal/pkg/crypto`).

use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use serde::Deserialize;

use super::{
    annotations::LAST_RELOADED_FROM,
    digest::{Encoding, Value},
    pod::PodTemplate,
    source::{SourceKind, SourceName},
};

/// What the names of all of Reloader's variables begin with.
pub const VARIABLE_PREFIX: &str = "STAKATER_";

/// Reloader's digest of a source: SHA-1, written as 40 hexadecimal digits. It has no key: who can read it can try out
/// what the source may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContentHash([u8; 20]);

impl ContentHash {
    /// The hash of a source that holds `content`. As with Reloader, different contents can have the same hash.
    pub fn of(kind: SourceKind, content: &[Value<'_>]) -> Self {
        let item = |(key, encoding, bytes): &Value<'_>| {
            let mut item = format!("{key}=").into_bytes();
            match (kind, encoding) {
                (SourceKind::ConfigMap, Encoding::Binary) => {
                    item.extend(STANDARD.encode(bytes).into_bytes());
                }
                _ => item.extend(*bytes),
            }
            item
        };
        let mut items: Vec<_> = content.iter().map(item).collect();
        // The whole items, not the keys: `a-b=` comes before `a=`.
        items.sort();
        Self::of_bytes(&items.join(&b';'))
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let mut hash = [0; 20];
        let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes);
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(hash)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentHash")
    }
}

/// The name of the variable for a source. As with Reloader, two sources can have the same.
pub fn variable(source: &SourceName) -> String {
    let mut name = String::new();
    for byte in source.name.bytes().map(|byte| byte.to_ascii_uppercase()) {
        if byte.is_ascii_uppercase() || byte.is_ascii_digit() {
            name.push(char::from(byte));
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    format!("{VARIABLE_PREFIX}{name}_{}", source.kind.type_string())
}

/// What a pod template tells of the sources that Reloader restarted it for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// The hashes, by variable.
    variables: BTreeMap<String, String>,
    last: Option<(SourceName, String)>,
}

impl Traces {
    /// Reads them from a template.
    pub fn of(template: &PodTemplate) -> Self {
        #[derive(Deserialize)]
        struct Last {
            r#type: String,
            name: String,
            hash: String,
        }
        let last = template.annotations().get(LAST_RELOADED_FROM);
        let last: Option<Last> = last.and_then(|text| serde_json::from_str(text).ok());
        let last = last.and_then(|last| {
            let kind = SourceKind::ALL.into_iter();
            let kind = kind
                .into_iter()
                .find(|kind| kind.type_string() == last.r#type)?;
            Some((SourceName::new(kind, last.name), last.hash))
        });
        let containers = template.containers();
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            variables: containers.variables().map(owned).collect(),
            last,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty() && self.last.is_none()
    }

    /// Whether they tell something of the source.
    pub fn tell_of(&self, source: &SourceName) -> bool {
        self.hashes(source).next().is_some()
    }

    /// Whether they tell of another content than this one, which Reloader then did not restart for.
    pub fn show_other(&self, source: &SourceName, live: ContentHash) -> bool {
        let live = live.to_string();
        self.tell_of(source) && self.hashes(source).all(|hash| hash != live)
    }

    fn hashes(&self, source: &SourceName) -> impl Iterator<Item = &str> {
        let by_variable = self.variables.get(&variable(source));
        let last = self.last.as_ref().filter(|(last, _)| last == source);
        by_variable
            .into_iter()
            .chain(last.map(|(_, hash)| hash))
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
