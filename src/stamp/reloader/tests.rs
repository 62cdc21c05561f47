use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::stamp::mounts::hashed;

/// Inputs and answers of Reloader 1.4.21.
#[derive(Deserialize)]
struct Vectors {
    configmap: Vec<Holding>,
    secret: Vec<Holding>,
    spcps: Vec<Mounted>,
    env_name: Vec<(String, String)>,
    regex: Vec<(String, String, serde_json::Value)>,
}

#[derive(Deserialize)]
struct Holding {
    #[serde(default)]
    data: BTreeMap<String, String>,
    #[serde(default, rename = "binaryData_b64", alias = "data_b64")]
    encoded: BTreeMap<String, String>,
    sha1: String,
}

/// What the CSI driver wrote down of a pod.
#[derive(Deserialize)]
struct Mounted {
    class: String,
    objects: Vec<(String, String)>,
    sha1: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

impl Holding {
    fn hash(&self, kind: SourceKind) -> String {
        let decode = |text: &String| STANDARD.decode(text).unwrap();
        let decoded: Vec<_> = self
            .encoded
            .iter()
            .map(|(key, text)| (key, decode(text)))
            .collect();
        let texts = self
            .data
            .iter()
            .map(|(key, text)| (key.as_str(), Encoding::Text, text.as_bytes()));
        let binaries = decoded
            .iter()
            .map(|(key, bytes)| (key.as_str(), Encoding::Binary, bytes.as_slice()));
        let values: Vec<_> = texts.chain(binaries).collect();
        ContentHash::of(kind, &values).to_string()
    }
}

#[test]
fn hashes_are_those_of_reloader() {
    let Vectors {
        configmap,
        secret,
        spcps,
        ..
    } = vectors();
    assert!(configmap.len() > 10 && secret.len() > 5);
    for holding in configmap {
        assert_eq!(holding.hash(SourceKind::ConfigMap), holding.sha1);
    }
    for holding in secret {
        assert_eq!(holding.hash(SourceKind::Secret), holding.sha1);
    }
    for mounted in spcps {
        let kind = SourceKind::SecretProviderClass;
        let id = SourceName::new(kind, mounted.class).within("shop");
        let objects = mounted.objects.into_iter().collect();
        let hash = ContentHash::of(kind, &hashed(&id, &objects));
        assert_eq!(hash.to_string(), mounted.sha1);
    }
}

#[test]
fn variables_are_called_as_with_reloader() {
    for (name, expected) in vectors().env_name {
        let source = SourceName::new(SourceKind::ConfigMap, name);
        assert_eq!(variable(&source), expected);
    }
    let of = |name| variable(&SourceName::new(SourceKind::Secret, name));
    assert_eq!(of("my-secret"), "STAKATER_MY_SECRET_SECRET");
    assert_eq!(of("ünïcode"), "STAKATER_N_CODE_SECRET");
}

#[test]
fn names_are_matched_as_with_reloader() {
    use crate::stamp::pattern::Pattern;

    for (element, name, expected) in vectors().regex {
        let matches = Pattern::parse(&element).map(|pattern| pattern.matches(&name));
        // An empty element matches nothing, and is told as a mistake.
        let found = match (element.as_str(), matches) {
            ("", _) => serde_json::json!(false),
            (_, Ok(matches)) => serde_json::json!(matches),
            (_, Err(_)) => serde_json::json!("invalid"),
        };
        assert_eq!(found, expected, "{element} {name}");
    }
}

#[test]
fn a_hash_is_not_shown_by_accident() {
    let hash = ContentHash::of(SourceKind::Secret, &[("password", Encoding::Binary, b"x")]);
    assert_eq!(format!("{hash:?}"), "ContentHash");
}
