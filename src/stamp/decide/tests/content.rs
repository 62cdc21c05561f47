//! Content that changes, goes and comes back.

use super::*;

#[test]
fn changed_content_restamps_once_and_the_same_content_never() {
    let a = World::default().with("db", "a");
    let b = World::default().with("db", "b");
    let changed: &[Reason] = &[Reason::ContentChanged];
    let stored = history(
        &uses(&["db"]),
        &[
            (a.clone(), &[]),
            (b.clone(), changed),
            (b, &[]),
            (a.clone(), changed),
            (a, &[]),
        ],
    );
    assert_eq!(stored.n(), 2, "going back to A is a new stamp");
}

#[test]
fn a_change_names_its_sources() {
    let (references, keyring) = (uses(&["a", "b", "c"]), ring(1, None));
    let world = World::default()
        .with("a", "1")
        .with("b", "1")
        .with("c", "1");
    let stored = adopted(&references, &world);
    let next = world.with("a", "2").with("c", "2");
    match setting(&references, &keyring).decide(&stored, &next) {
        Decision::Restamp { changed, .. } => assert_eq!(changed, [secret("a"), secret("c")]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deleted_source_changes_nothing_until_it_comes_back_different() {
    let there = World::default().with("db", "a");
    let gone = there.clone().without("db");
    let other = there.clone().with("db", "b");
    history(
        &uses(&["db"]),
        &[
            (there.clone(), &[]),
            (gone.clone(), &[]),
            (there.clone(), &[]),
            (gone, &[]),
            (other, &[Reason::ContentChanged]),
        ],
    );
}

#[test]
fn a_deletion_is_a_change_where_that_is_asked_for() {
    let (references, keyring) = (uses(&["db"]), ring(1, None));
    let there = World::default().with("db", "a");
    let mut stored = adopted(&references, &there);
    let gone = there.clone().without("db");
    let setting = Setting {
        reload_on_delete: true,
        ..setting(&references, &keyring)
    };
    assert_eq!(setting.settle(&mut stored, &gone), [Reason::ContentChanged]);
    assert_eq!(setting.settle(&mut stored, &gone), []);
    assert_eq!(
        setting.settle(&mut stored, &there),
        [Reason::ContentChanged]
    );
}

#[test]
fn pods_that_are_restarted_in_place_keep_their_template() {
    let (references, keyring) = (uses(&["db"]), ring(1, None));
    let mut stored = adopted(&references, &World::default().with("db", "a"));
    let next = World::default().with("db", "b");
    let setting = Setting {
        trigger: Trigger::InPlace,
        ..setting(&references, &keyring)
    };
    let before = stored.stamp.clone();
    assert_eq!(setting.settle(&mut stored, &next), [Reason::ContentChanged]);
    assert_eq!(stored.stamp, before);
    assert_eq!(setting.settle(&mut stored, &next), []);
}

#[test]
fn what_would_run_once_more_does_so_for_other_content_alone() {
    let (references, keyring) = (uses(&["db"]), ring(1, None));
    let world = World::default().with("db", "a");
    let rule = || Setting {
        trigger: Trigger::Recreate,
        ..setting(&references, &keyring)
    };
    // A template that was copied from a workload with a stamp.
    let mut copied = adopted(&references, &World::default().with("db", "z"));
    setting(&references, &keyring).settle(&mut copied, &world);
    copied.observed = None;
    let changed = World::default().with("db", "b");
    assert_eq!(rule().settle(&mut copied, &changed), [Reason::StampDiffers]);
    let mut moved = adopted(&references, &world);
    moved.stamp = copied.stamp.clone();
    assert_eq!(rule().settle(&mut moved, &world), [Reason::TemplateMoved]);
    match rule().decide(&moved, &changed) {
        Decision::Restamp { start, .. } => assert_eq!(start, NewStart::Recreate),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_runs_nothing_is_recorded_and_not_restarted() {
    let (references, keyring) = (uses(&["db"]), ring(1, None));
    let mut stored = adopted(&references, &World::default().with("db", "a"));
    let next = World::default().with("db", "b");
    let setting = Setting {
        trigger: Trigger::Suspended,
        ..setting(&references, &keyring)
    };
    assert_eq!(setting.settle(&mut stored, &next), [Reason::Suspended]);
    assert_eq!(stored.stamp, None);
}

#[test]
fn a_source_that_appears_is_adopted_if_seen_to_arrive_and_stale_in_doubt() {
    let (references, keyring) = (uses(&["db"]), ring(1, None));
    let absent = adopted(&references, &World::default());
    let present = World::default().with("db", "a");
    let mut in_doubt = absent.clone();
    let reasons = setting(&references, &keyring).settle(&mut in_doubt, &present);
    assert_eq!(reasons, [Reason::ContentChanged]);
    let mut seen = absent;
    let arrived = Setting {
        arrived: BTreeSet::from([secret("db")]),
        ..setting(&references, &keyring)
    };
    assert_eq!(arrived.settle(&mut seen, &present), [Reason::SourceArrived]);
    assert_eq!(seen.stamp, None);
}

#[test]
fn a_reference_that_comes_or_goes_rolls_nothing() {
    let keyring = ring(1, None);
    let world = World::default().with("a", "1").with("b", "1");
    let (one, two) = (uses(&["a"]), uses(&["a", "b"]));
    let mut stored = adopted(&one, &world);
    assert_eq!(
        setting(&two, &keyring).settle(&mut stored, &world),
        [Reason::ReferencesChanged]
    );
    assert_eq!(
        setting(&one, &keyring).settle(&mut stored, &world),
        [Reason::ReferencesChanged]
    );
    let changed = world.with("b", "2");
    assert_eq!(
        setting(&two, &keyring).settle(&mut stored, &changed),
        [Reason::ReferencesChanged]
    );
    assert_eq!(stored.stamp, None);
}

#[test]
fn other_keys_of_a_source_roll_nothing_but_a_change_of_a_recorded_key_does() {
    let keyring = ring(1, None);
    let content = |a: &str, b: &str| World {
        sources: BTreeMap::from([(
            secret("db"),
            Some(BTreeMap::from([
                ("a".to_owned(), a.to_owned()),
                ("b".to_owned(), b.to_owned()),
            ])),
        )]),
    };
    let using = |keys| References::from([(secret("db"), reference(keys))]);
    let one = using(Keys::one("a"));
    let both = using(Keys::one("a").union(Keys::one("b")));
    let mut stored = adopted(&one, &content("1", "1"));
    assert_eq!(
        setting(&one, &keyring).settle(&mut stored, &content("1", "2")),
        []
    );
    let mut widened = stored.clone();
    assert_eq!(
        setting(&both, &keyring).settle(&mut widened, &content("1", "2")),
        [Reason::ReferencesChanged]
    );
    assert_eq!(
        setting(&both, &keyring).settle(&mut stored, &content("2", "2")),
        [Reason::ContentChanged]
    );
}

#[test]
fn folded_entries_are_compared_as_a_whole() {
    let names: Vec<_> = (0..1000).map(|n| format!("secret-{n}")).collect();
    let references = uses(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let world = names
        .iter()
        .fold(World::default(), |world, name| world.with(name, "a"));
    let mut stored = adopted(&references, &world);
    assert_eq!(stored.observed.as_ref().unwrap().entries(), None);
    let keyring = ring(1, None);
    let rule = setting(&references, &keyring);
    assert_eq!(rule.settle(&mut stored, &world), []);
    let rotated = ring(2, Some(1));
    assert_eq!(
        setting(&references, &rotated).settle(&mut stored.clone(), &world),
        [Reason::Rekeyed]
    );
    assert_eq!(
        rule.settle(&mut stored, &world.with("secret-7", "b")),
        [Reason::ContentChanged]
    );
}

#[test]
fn a_folded_record_whose_sources_all_went_out_of_use_is_written_anew() {
    let (references, keyring) = (uses(&["db"]), ring(1, None));
    let world = World::default().with("db", "a");
    let mut stored = adopted(&references, &world);
    let observed = stored.observed.as_mut().unwrap();
    let entries = observed.entries().unwrap().clone();
    observed.recorded = Recorded::Folded(fold(&key(1), "shop", &entries));
    let none = References::new();
    assert_eq!(
        setting(&none, &keyring).settle(&mut stored, &world),
        [Reason::ReferencesChanged]
    );
}

#[test]
fn a_workload_without_sources_is_left_alone() {
    let (references, keyring) = (References::new(), ring(1, None));
    let rule = setting(&references, &keyring);
    for stamp in [None, Some("edited".to_owned())] {
        let stored = Stored {
            stamp,
            observed: None,
        };
        assert_eq!(
            rule.decide(&stored, &World::default()),
            Decision::Leave(Reason::NoSources)
        );
    }
}
