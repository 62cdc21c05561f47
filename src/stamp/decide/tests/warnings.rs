//! What people are told about missing sources and keys.

use super::*;

#[test]
fn missing_sources_and_keys_are_said_unless_optional() {
    let keyring = ring(1, None);
    let digests = SourceDigests::of(
        &keyring,
        secret("db").within("shop"),
        &[("a", Encoding::Binary, b"1")],
    );
    let nothing_arrived = BTreeSet::new();
    let warnings = |optional| {
        let live = |name: &SourceName| {
            if *name == secret("db") {
                Live::Present(&digests)
            } else {
                Live::Absent
            }
        };
        let mut references = uses(&["missing"]);
        references.insert(secret("db"), reference(Keys::one("b")));
        references
            .values_mut()
            .for_each(|reference| reference.usage.optional = optional);
        source_warnings(&Case {
            namespace: "shop",
            stamp: None,
            observed: None,
            references: &references,
            live: &live,
            arrived: &nothing_arrived,
            reload_on_delete: false,
            trigger: Trigger::Stamp,
            keyring: &keyring,
        })
    };
    assert_eq!(
        warnings(false),
        [
            Warning::KeyMissing {
                source: secret("db"),
                key: "b".to_owned()
            },
            Warning::SourceMissing {
                source: secret("missing")
            },
        ]
    );
    assert_eq!(warnings(true), []);
}
