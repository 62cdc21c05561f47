//! SecretProviderClasses beside other sources. What pods show of them is compared in `stamp/mounts`.

use super::*;

fn class() -> SourceName {
    SourceName::new(SourceKind::SecretProviderClass, "vault")
}

fn references() -> References {
    let mut references = uses(&["db"]);
    references.insert(class(), reference(Keys::All));
    references
}

fn world(password: &str, version: &str) -> World {
    let mut world = World::default().with("db", password);
    let content = BTreeMap::from([("password".to_owned(), version.to_owned())]);
    world.sources.insert(class(), Some(content));
    world
}

/// Restamped, so that there is a stamp.
fn restamped(references: &References) -> Stored {
    let steps = [
        (world("a", "1"), &[][..]),
        (world("b", "1"), &[Reason::ContentChanged]),
    ];
    history(references, &steps)
}

#[test]
fn a_stamp_is_verified_without_what_the_webhook_does_not_see() {
    let (references, keyring) = (references(), ring(1, None));
    let rule = setting(&references, &keyring);
    let bare = Stored {
        observed: None,
        ..restamped(&references)
    };
    let reason = |world| rule.decide(&bare, &world).reason();
    assert_eq!(reason(world("b", "2")), Reason::StampVerified);
    assert_eq!(reason(world("c", "1")), Reason::StampDiffers);
}

#[test]
fn a_change_of_a_class_alone_is_another_stamp() {
    let (references, keyring) = (references(), ring(1, None));
    let before = restamped(&references);
    let mut after = before.clone();
    let reasons = setting(&references, &keyring).settle(&mut after, &world("b", "2"));
    assert_eq!(reasons, [Reason::ContentChanged]);
    assert_ne!(after.stamp, before.stamp);
}

#[test]
fn a_folded_record_speaks_of_other_sources_only() {
    let (references, keyring) = (references(), ring(1, None));
    let rule = setting(&references, &keyring);
    let mut stored = restamped(&references);
    let Some(observed) = &mut stored.observed else {
        panic!("recorded");
    };
    let entries = observed.entries().unwrap().clone();
    observed.recorded = Recorded::Folded(fold(&key(1), "shop", &entries));
    let reason = |world| rule.decide(&stored, &world).reason();
    assert_eq!(reason(world("b", "2")), Reason::Current);
    assert_eq!(reason(world("c", "1")), Reason::ContentChanged);
}
