use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::stamp::source::SourceKind;

fn key(seed: u8) -> InstallationKey {
    InstallationKey::new(&[seed; KEY_BYTES]).unwrap()
}

fn ring() -> Keyring {
    Keyring {
        current: key(1),
        previous: None,
    }
}

fn id(namespace: &str, kind: SourceKind, name: &str) -> SourceId {
    SourceName::new(kind, name).within(namespace)
}

type Content = Vec<(String, bool, Vec<u8>)>;

fn digests(ring: &Keyring, id: &SourceId, content: &Content) -> SourceDigests {
    let encoding = |text: bool| {
        if text {
            Encoding::Text
        } else {
            Encoding::Binary
        }
    };
    let values: Vec<_> = content
        .iter()
        .map(|(key, text, bytes)| (key.as_str(), encoding(*text), bytes.as_slice()))
        .collect();
    SourceDigests::of(ring, id.clone(), &values)
}

fn digest_of(id: &SourceId, content: &Content, keys: &Keys) -> Digest {
    digests(&ring(), id, content).digest(&key(1), keys).unwrap()
}

/// A source, what it holds, and what is used of it, in one comparable value.
type Described = (SourceId, BTreeMap<String, (bool, Vec<u8>)>, Keys);

fn described() -> impl Strategy<Value = Described> {
    // A tiny alphabet, so that collisions of a bad framing are likely.
    let word = || "[ab;=/]{0,3}";
    let source = (word(), prop::bool::ANY, word()).prop_map(|(namespace, secret, name)| {
        let kind = if secret {
            SourceKind::Secret
        } else {
            SourceKind::ConfigMap
        };
        id(&namespace, kind, &name)
    });
    let value = (any::<bool>(), prop::collection::vec(97..99u8, 0..3));
    let content = prop::collection::btree_map(word(), value, 0..3);
    let keys = prop_oneof![
        Just(Keys::All),
        prop::collection::btree_set(word().prop_map(Box::<str>::from), 0..3).prop_map(Keys::Only),
    ];
    (source, content, keys)
}

/// What the workload can see: two descriptions with the same view are the same content to it.
fn view((source, content, keys): &Described) -> impl PartialEq + std::fmt::Debug {
    let seen: BTreeMap<String, Option<(bool, Vec<u8>)>> = match keys {
        Keys::All => content
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect(),
        Keys::Only(used) => used
            .iter()
            .map(|key| (key.to_string(), content.get(&**key).cloned()))
            .collect(),
    };
    (source.clone(), matches!(keys, Keys::All), seen)
}

fn digest((source, content, keys): &Described) -> Digest {
    let content = content
        .iter()
        .map(|(key, (text, bytes))| (key.clone(), *text, bytes.clone()))
        .collect();
    digest_of(source, &content, keys)
}

proptest! {
    #[test]
    fn two_digests_are_equal_only_for_the_same_view(left in described(), right in described()) {
        prop_assert_eq!(digest(&left) == digest(&right), view(&left) == view(&right));
    }

    #[test]
    fn a_change_anywhere_in_the_view_changes_the_digest(left in described(), value in prop::collection::vec(any::<u8>(), 0..4)) {
        let mut right = left.clone();
        for changed in right.1.values_mut() {
            changed.1.clone_from(&value);
        }
        prop_assert_eq!(digest(&left) == digest(&right), view(&left) == view(&right));
    }

    #[test]
    fn the_order_of_keys_does_not_matter(mut content in prop::collection::btree_map("[a-c]{1,2}", "[a-c]{0,3}", 0..5).prop_map(|map| {
        map.into_iter().map(|(key, value)| (key, true, value.into_bytes())).collect::<Content>()
    })) {
        let id = id("ns", SourceKind::ConfigMap, "app");
        let forwards = digest_of(&id, &content, &Keys::All);
        content.reverse();
        prop_assert_eq!(forwards, digest_of(&id, &content, &Keys::All));
    }

    #[test]
    fn text_round_trips_and_nothing_panics(text in any::<String>(), bytes in any::<[u8; 16]>()) {
        let digest = Digest(bytes);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        if let Ok(parsed) = text.parse::<Digest>() {
            prop_assert_eq!(parsed.to_string(), text);
        }
    }
}

#[test]
fn text_and_binary_of_the_same_bytes_differ() {
    let id = id("ns", SourceKind::ConfigMap, "app");
    let of = |text| {
        digest_of(
            &id,
            &vec![("k".to_owned(), text, b"v".to_vec())],
            &Keys::All,
        )
    };
    assert_ne!(of(true), of(false));
}

#[test]
fn unused_keys_do_not_matter_and_missing_ones_do() {
    let id = id("ns", SourceKind::Secret, "db");
    let content = |keys: &[&str]| -> Content {
        keys.iter()
            .map(|key| ((*key).to_owned(), false, b"v".to_vec()))
            .collect()
    };
    let used = Keys::one("a");
    let with_a = digest_of(&id, &content(&["a"]), &used);
    assert_eq!(with_a, digest_of(&id, &content(&["a", "b"]), &used));
    assert_ne!(with_a, digest_of(&id, &content(&["b"]), &used));
    let read = digests(&ring(), &id, &content(&["b"]));
    assert_eq!(read.missing(&used).collect::<Vec<_>>(), ["a"]);
    assert_eq!(read.missing(&Keys::All).count(), 0);
}

#[test]
fn another_key_gives_another_digest_and_the_ring_knows_both() {
    let ring = Keyring {
        current: key(2),
        previous: Some(key(1)),
    };
    let id = id("ns", SourceKind::Secret, "db");
    let content = vec![("k".to_owned(), false, b"v".to_vec())];
    let read = digests(&ring, &id, &content);
    let old = read.digest(&key(1), &Keys::All).unwrap();
    assert_eq!(old, digest_of(&id, &content, &Keys::All));
    assert_ne!(Some(old), read.digest(&key(2), &Keys::All));
    assert_eq!(read.digest(&key(3), &Keys::All), None);
    assert_eq!(
        ring.find(key(1).id()).map(InstallationKey::id),
        Some(key(1).id())
    );
    assert!(ring.find(key(3).id()).is_none());
}

#[test]
fn nothing_shows_the_key_or_the_content() {
    let ring = ring();
    let content = vec![("password".to_owned(), false, b"hunter2".to_vec())];
    let read = digests(&ring, &id("ns", SourceKind::Secret, "db"), &content);
    assert_eq!(format!("{read:?}"), "SourceDigests(Secret ns/db)");
    let shown = format!("{ring:?}");
    assert!(
        shown.contains(ring.current.id().as_str()) && shown.len() < 80,
        "{shown}"
    );
}

#[test]
fn short_keys_are_refused() {
    assert_eq!(
        InstallationKey::new(&[0; KEY_BYTES - 1]).map(drop),
        Err(KeyTooShort(KEY_BYTES - 1))
    );
}

/// Frozen: a change of the encoding makes every recorded digest differ, and needs a new version.
#[test]
fn the_encoding_of_version_1_does_not_change() {
    let id = id("shop", SourceKind::Secret, "db");
    let content = vec![
        ("user".to_owned(), false, b"app".to_vec()),
        ("password".to_owned(), false, vec![0, 255, 16]),
    ];
    let all = digest_of(&id, &content, &Keys::All);
    let one = digest_of(&id, &content, &Keys::Only(BTreeSet::from(["user".into()])));
    let name = SourceName::new(SourceKind::Secret, "db");
    let parts = [(&name, &Keys::All, Some(&all))];
    let set = key(1).set("stamp", "shop", &parts);
    assert_eq!(key(1).id().as_str(), "ac3ae025");
    assert_eq!(all.to_string(), "963ddec125a4993708fd56f5ed7f658d");
    assert_eq!(one.to_string(), "8aa9d562d4e000f205a34c07484bd9cf");
    assert_eq!(set.to_string(), "d7083a505de8fa736204376320489a9f");
}
