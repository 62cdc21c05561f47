//! Stamps and records that somebody moved, copied or removed.

use super::*;

#[test]
fn a_moved_template_is_restamped_with_a_higher_number() {
    let (references, keyring) = (uses(&["db"]), ring(1, None));
    let (a, b) = (
        World::default().with("db", "a"),
        World::default().with("db", "b"),
    );
    let mut stored = adopted(&references, &a);
    let rule = setting(&references, &keyring);
    rule.settle(&mut stored, &b);
    let first = stored.clone();
    rule.settle(&mut stored, &a);
    for edit in [
        None,
        first.stamp.clone(),
        Some("v2.x.y.40".to_owned()),
        Some("edited".to_owned()),
    ] {
        let mut moved = Stored {
            stamp: edit.clone(),
            ..stored.clone()
        };
        assert_eq!(
            rule.settle(&mut moved, &a),
            [Reason::TemplateMoved],
            "{edit:?}"
        );
        assert!(moved.n() > stored.n(), "{edit:?}");
    }
}

#[test]
fn a_hand_written_maximum_does_not_stop_the_numbers() {
    let (references, keyring) = (uses(&["db"]), ring(1, None));
    let world = World::default().with("db", "a");
    let mut stored = adopted(&references, &world);
    stored.stamp = Some(format!("v1.k.{}.{}", "00".repeat(16), u64::MAX));
    let rule = setting(&references, &keyring);
    assert_eq!(rule.settle(&mut stored, &world), [Reason::TemplateMoved]);
}

#[test]
fn without_observed_the_stamp_decides() {
    let (references, keyring) = (uses(&["db"]), ring(1, None));
    let (a, b) = (
        World::default().with("db", "a"),
        World::default().with("db", "b"),
    );
    let mut stored = adopted(&references, &b);
    let rule = setting(&references, &keyring);
    rule.settle(&mut stored, &a);
    let bare = Stored {
        observed: None,
        ..stored.clone()
    };
    let mut same = bare.clone();
    assert_eq!(rule.settle(&mut same, &a), [Reason::StampVerified]);
    assert_eq!(same.stamp, stored.stamp);
    let mut other = bare.clone();
    assert_eq!(rule.settle(&mut other, &b), [Reason::StampDiffers]);
    let strange = ring(9, None);
    let mut unknown_key = bare;
    let reasons = setting(&references, &strange).settle(&mut unknown_key, &b);
    assert_eq!(reasons, [Reason::AdoptedUnverified]);
}

#[test]
fn a_copied_manifest_is_adopted() {
    let (references, keyring) = (uses(&["db"]), ring(1, None));
    let world = World::default().with("db", "a");
    let mut stored = adopted(&references, &world);
    let rule = setting(&references, &keyring);
    rule.settle(&mut stored, &World::default().with("db", "b"));
    let observed = stored.observed.as_mut().unwrap();
    observed.namespace = "elsewhere".into();
    assert_eq!(
        rule.settle(&mut stored, &world),
        [Reason::AdoptedUnverified]
    );
}

#[test]
fn what_was_recorded_of_a_moved_template_is_dropped_with_its_last_reference() {
    let (none, one, keyring) = (References::new(), uses(&["db"]), ring(1, None));
    let world = World::default().with("db", "a");
    let mut stored = adopted(&one, &world);
    stored.stamp = Some("edited".to_owned());
    assert_eq!(
        setting(&none, &keyring).settle(&mut stored, &world),
        [Reason::ReferencesChanged]
    );
    assert_eq!(
        setting(&one, &keyring).settle(&mut stored, &world),
        [Reason::ReferencesChanged]
    );
}
