//! Sources that cannot be read.

use super::*;

#[test]
fn a_source_that_cannot_be_read_neither_hides_nor_makes_a_change() {
    let (references, keyring) = (uses(&["db", "locked"]), ring(1, None));
    let world = World::default().with("db", "a").with("locked", "x");
    let mut stored = adopted(&references, &world);
    let rule = setting(&references, &keyring);
    let locked = world.clone().unreadable("locked");
    assert_eq!(rule.settle(&mut stored, &locked), []);
    assert_eq!(
        rule.settle(&mut stored, &locked.with("db", "b")),
        [Reason::ContentChanged]
    );
    let unlocked = world.with("db", "b").with("locked", "y");
    assert_eq!(
        rule.settle(&mut stored, &unlocked),
        [Reason::ContentChanged]
    );
}

#[test]
fn a_right_that_is_taken_away_rolls_nothing() {
    let (references, keyring) = (uses(&["db", "locked"]), ring(1, None));
    let world = World::default().with("db", "a").with("locked", "x");
    let mut stored = adopted(&references, &world);
    let rule = setting(&references, &keyring);
    rule.settle(&mut stored, &world.clone().with("db", "b"));
    let locked = world.with("db", "b").unreadable("locked");
    let bare = Stored {
        observed: None,
        ..stored.clone()
    };
    assert_eq!(
        rule.decide(&bare, &locked),
        Decision::Leave(Reason::Unreadable)
    );
    let Some(observed) = &mut stored.observed else {
        panic!("recorded");
    };
    let entries = observed.entries().unwrap().clone();
    observed.recorded = Recorded::Folded(fold(&key(1), "shop", &entries));
    assert_eq!(
        rule.decide(&stored, &locked),
        Decision::Leave(Reason::Unreadable)
    );
}

/// A manifest that was copied, record and all: what it says of another namespace is no evidence here.
#[test]
fn what_another_namespace_recorded_of_it_is_not_taken_over() {
    let (references, keyring) = (uses(&["db", "locked"]), ring(1, None));
    let world = World::default().with("db", "a").with("locked", "x");
    let mut stored = adopted(&references, &world);
    let Some(observed) = &mut stored.observed else {
        panic!("recorded");
    };
    observed.namespace = "elsewhere".into();
    let rule = setting(&references, &keyring);
    let locked = world.clone().unreadable("locked");
    assert_eq!(
        rule.settle(&mut stored, &locked),
        [Reason::AdoptedUnverified]
    );
    assert_eq!(
        rule.settle(&mut stored, &world.with("locked", "y")),
        [Reason::ReferencesChanged]
    );
}
