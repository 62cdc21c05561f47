use proptest::prelude::*;

use super::*;
use crate::stamp::{digest::KEY_BYTES, source::SourceKind};

fn key() -> InstallationKey {
    InstallationKey::new(&[7; KEY_BYTES]).unwrap()
}

fn digest(n: u8) -> Digest {
    format!("{n:02x}").repeat(16).parse().unwrap()
}

fn entry(keys: Keys, digest: Option<Digest>) -> Entry {
    Entry {
        keys,
        digest,
        since: None,
    }
}

fn observed(recorded: Recorded) -> Observed {
    Observed {
        restarted: None,
        namespace: "shop".into(),
        key: key().id().clone(),
        stamp: Some("v1.k.d.1".into()),
        recorded,
    }
}

fn entries(count: usize) -> Entries {
    (0..count)
        .map(|n| {
            let source = SourceName::new(SourceKind::ConfigMap, format!("config-{n}"));
            (source, entry(Keys::All, Some(digest(1))))
        })
        .collect()
}

#[test]
fn reads_what_it_writes() {
    let written = observed(Recorded::Entries(Entries::from([
        (
            SourceName::new(SourceKind::Secret, "db"),
            entry(Keys::one("password"), Some(digest(1))),
        ),
        (
            SourceName::new(SourceKind::ConfigMap, "app"),
            entry(Keys::All, None),
        ),
        (
            SourceName::new(SourceKind::SecretProviderClass, "vault"),
            Entry {
                since: Some(7),
                ..entry(Keys::All, Some(digest(2)))
            },
        ),
    ])));
    let text = written.to_annotation(&key()).text;
    let expected = format!(
        "{{\"v\":1,\"ns\":\"shop\",\"key\":\"{}\",\"stamp\":\"v1.k.d.1\",\"sources\":{{\
         \"ConfigMap/app\":{{\"digest\":null}},\
         \"Secret/db\":{{\"digest\":\"{}\",\"keys\":[\"password\"]}},\
         \"SecretProviderClass/vault\":{{\"digest\":\"{}\",\"since\":7}}}}}}",
        key().id(),
        digest(1),
        digest(2)
    );
    assert_eq!(text, expected);
    assert_eq!(Observed::parse(&text), Ok(written));
}

#[test]
fn too_many_entries_are_folded_and_can_be_told_again() {
    let many = entries(1000);
    let annotation = observed(Recorded::Entries(many.clone())).to_annotation(&key());
    assert!(
        annotation.folded && annotation.text.len() < 200,
        "{}",
        annotation.text
    );
    let mut read = Observed::parse(&annotation.text).unwrap();
    assert_eq!(read.entries(), None);
    read.unfold(&key(), &entries(999));
    assert_eq!(
        read.entries(),
        None,
        "other entries are not what was folded"
    );
    read.unfold(&key(), &many);
    assert_eq!(read.entries(), Some(&many));
}

#[test]
fn few_entries_are_not_folded() {
    assert!(
        !observed(Recorded::Entries(entries(100)))
            .to_annotation(&key())
            .folded
    );
}

#[test]
fn edited_truncated_and_future_texts_are_told_apart() {
    let whole = observed(Recorded::Entries(entries(2)))
        .to_annotation(&key())
        .text;
    let future = whole.replacen("\"v\":1", "\"v\":2", 1);
    assert_eq!(Observed::parse(&future), Err(ObservedError::Version(2)));
    let truncated = whole.get(..whole.len() - 10).unwrap();
    let edits = [
        "",
        "null",
        "[]",
        "{}",
        "yes",
        truncated,
        &whole.replacen("ConfigMap/", "Deployment/", 1),
        &whole.replacen("ConfigMap/config-0", "ConfigMap/", 1),
        &whole.replacen("0101", "01zz", 1),
        &whole.replacen("0101", "01", 1),
        r#"{"v":1,"ns":"a","key":"b"}"#,
        r#"{"v":1,"ns":"a","key":"b","sources":{},"folded":"00000000000000000000000000000000"}"#,
    ];
    for text in edits {
        let error = Observed::parse(text).expect_err(text);
        assert!(
            !matches!(error, ObservedError::Version(_)),
            "{text}: {error}"
        );
    }
}

#[test]
fn an_error_does_not_quote_the_text() {
    let error = Observed::parse(r#"{"v":"hunter2"}"#).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = Observed::parse(&text);
        let _ = Observed::parse(&format!(r#"{{"v":1,"ns":"a","key":"b","sources":{text}}}"#));
    }
}
