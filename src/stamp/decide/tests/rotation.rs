//! The installation key is rotated.

use super::*;

#[test]
fn a_rotated_key_rolls_nothing_and_loses_nothing() {
    let references = uses(&["db", "gone"]);
    let (a, b) = (
        World::default().with("db", "a"),
        World::default().with("db", "b"),
    );
    let old = ring(1, None);
    let mut stored = adopted(&references, &a);
    setting(&references, &old).settle(&mut stored, &b);
    let rotated = ring(2, Some(1));
    let rule = setting(&references, &rotated);
    let mut unchanged = stored.clone();
    assert_eq!(rule.settle(&mut unchanged, &b), [Reason::Rekeyed]);
    assert_eq!(unchanged.stamp, stored.stamp);
    assert_eq!(
        rule.settle(&mut unchanged, &a),
        [Reason::ContentChanged],
        "compared under the new key"
    );
    let mut changed = stored.clone();
    assert_eq!(
        rule.settle(&mut changed, &a),
        [Reason::ContentChanged],
        "compared under the old key"
    );
    let lost = ring(3, None);
    assert_eq!(
        setting(&references, &lost).settle(&mut stored, &a),
        [Reason::AdoptedUnverified]
    );
}

#[test]
fn a_source_that_is_gone_keeps_its_entry_comparable_through_a_rotation() {
    let references = uses(&["db", "other"]);
    let all = World::default().with("db", "a").with("other", "x");
    let gone = all.clone().without("db");
    let mut stored = adopted(&references, &all);
    let rotated = ring(2, Some(1));
    let rule = setting(&references, &rotated);
    assert_eq!(rule.settle(&mut stored, &gone), []);
    assert_eq!(rule.settle(&mut stored.clone(), &all), [Reason::Rekeyed]);
    assert_eq!(
        rule.settle(&mut stored, &all.with("db", "b")),
        [Reason::ContentChanged]
    );
}

#[test]
fn a_source_that_cannot_be_read_during_a_rotation_is_stale_when_it_can() {
    let references = uses(&["db", "locked"]);
    let world = World::default().with("db", "a").with("locked", "x");
    let mut stored = adopted(&references, &world);
    let rotated = ring(2, Some(1));
    let rule = setting(&references, &rotated);
    let changed = world.with("db", "b");
    let reasons = rule.settle(&mut stored, &changed.clone().unreadable("locked"));
    assert_eq!(reasons, [Reason::ContentChanged]);
    let reasons = rule.settle(&mut stored, &changed.with("locked", "y"));
    assert_eq!(reasons, [Reason::ContentChanged]);
}

#[test]
fn sources_that_were_absent_survive_two_rotations() {
    let references = uses(&["db"]);
    let mut stored = adopted(&references, &World::default());
    for (current, previous) in [(2, 1), (3, 2)] {
        let keyring = ring(current, Some(previous));
        let reasons = setting(&references, &keyring).settle(&mut stored, &World::default());
        assert_eq!(reasons, [Reason::Rekeyed]);
    }
    let keyring = ring(3, Some(2));
    let appeared = World::default().with("db", "a");
    let reasons = setting(&references, &keyring).settle(&mut stored, &appeared);
    assert_eq!(reasons, [Reason::ContentChanged], "in doubt, it is stale");
}
