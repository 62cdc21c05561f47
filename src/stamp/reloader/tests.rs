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
    delete_marker: String,
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
    let class = SourceName::new(SourceKind::SecretProviderClass, "my-spc");
    assert_eq!(variable(&class), "STAKATER_MY_SPC_SECRETPROVIDERCLASS");
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

/// What Reloader left in a template: variables, and the annotation for a Secret `db`.
fn traces(variables: &[(&str, &str)], last: Option<&str>) -> Traces {
    let env: Vec<_> = variables
        .iter()
        .map(|(name, value)| serde_json::json!({ "name": name, "value": value }))
        .collect();
    let last = last.map(|hash| {
        let last =
            serde_json::json!({ "type": "SECRET", "name": "db", "hash": hash, "observedAt": 1 });
        serde_json::json!({ LAST_RELOADED_FROM: last.to_string() })
    });
    let template = serde_json::json!({
        "metadata": { "annotations": last },
        "spec": { "containers": [{ "name": "app", "env": env }] },
    });
    Traces::of(&serde_json::from_value(template).unwrap())
}

#[test]
fn what_reloader_missed_is_what_none_of_its_traces_shows() {
    let db = SourceName::new(SourceKind::Secret, "db");
    let live = ContentHash::of(SourceKind::Secret, &[("password", Encoding::Binary, b"x")]);
    let (now, before) = (live.to_string(), vectors().delete_marker);
    let marker = ContentHash::of_bytes(b"__RELOADER_EMPTY_DELETE_MARKER__");
    assert_eq!(marker.to_string(), before);
    for (variable, last, missed) in [
        (Some(&now), None, false),
        (Some(&before), None, true),
        (None, Some(&now), false),
        (None, Some(&before), true),
        (Some(&before), Some(&now), false),
        (None, None, false),
    ] {
        let variable = variable.map(|hash| ("STAKATER_DB_SECRET", hash.as_str()));
        let found = traces(variable.as_slice(), last.map(String::as_str));
        assert_eq!(found.show_other(&db, live), missed, "{variable:?} {last:?}");
        assert_eq!(found.is_empty(), variable.is_none() && last.is_none());
    }
    let of_other = traces(&[("STAKATER_OTHER_SECRET", &before)], None);
    assert!(!of_other.show_other(&db, live) && !of_other.is_empty());
}

#[test]
fn a_hash_is_not_shown_by_accident() {
    let hash = ContentHash::of(SourceKind::Secret, &[("password", Encoding::Binary, b"x")]);
    assert_eq!(format!("{hash:?}"), "ContentHash");
}
