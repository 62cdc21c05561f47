use std::collections::BTreeMap;

mod properties;

use super::*;
use crate::stamp::{
    digest::{Encoding, KEY_BYTES},
    policy::Selection,
    source::{SourceKind, Usage},
};
use crate::stamp::{references::Reference, source::Keys};

/// What is live in these tests: text for a source, or that it cannot be read; absent if not mentioned.
#[derive(Clone, Debug, Default)]
struct World {
    sources: BTreeMap<SourceName, Option<BTreeMap<String, String>>>,
}

fn key(seed: u8) -> InstallationKey {
    InstallationKey::new(&[seed; KEY_BYTES]).unwrap()
}

fn ring(current: u8, previous: Option<u8>) -> Keyring {
    Keyring {
        current: key(current),
        previous: previous.map(key),
    }
}

fn secret(name: &str) -> SourceName {
    SourceName::new(SourceKind::Secret, name)
}

fn reference(keys: Keys) -> Reference {
    Reference {
        usage: Usage {
            keys,
            optional: false,
        },
        by: Selection::Auto,
        literal: true,
    }
}

fn uses(names: &[&str]) -> References {
    names
        .iter()
        .map(|name| (secret(name), reference(Keys::All)))
        .collect()
}

impl World {
    fn with(mut self, name: &str, value: &str) -> Self {
        let content = BTreeMap::from([("k".to_owned(), value.to_owned())]);
        self.sources.insert(secret(name), Some(content));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.sources.remove(&secret(name));
        self
    }

    fn unreadable(mut self, name: &str) -> Self {
        self.sources.insert(secret(name), None);
        self
    }
}

/// A workload as the API server has it: what a decision reads, and what its patch writes.
#[derive(Clone, Debug, Default)]
struct Stored {
    stamp: Option<String>,
    observed: Option<Observed>,
}

impl Stored {
    fn apply(&mut self, decision: &Decision) {
        match decision {
            Decision::Leave(_) => {}
            Decision::Record { observed, .. } => self.observed = Some(written(observed)),
            Decision::Restamp {
                stamp, observed, ..
            } => {
                self.stamp = Some(stamp.to_string());
                self.observed = Some(written(observed));
            }
        }
    }

    fn n(&self) -> u64 {
        self.stamp.as_ref().unwrap().parse::<Stamp>().unwrap().n
    }
}

/// As it comes back from the API server.
fn written(observed: &Observed) -> Observed {
    let key = (0..=255)
        .map(key)
        .find(|key| *key.id() == observed.key)
        .unwrap();
    Observed::parse(&observed.to_annotation(&key).text).unwrap()
}

struct Setting<'a> {
    references: &'a References,
    keyring: &'a Keyring,
    arrived: BTreeSet<SourceName>,
}

impl Setting<'_> {
    fn decide(&self, stored: &Stored, world: &World) -> Decision {
        let digests: BTreeMap<_, _> = world
            .sources
            .iter()
            .map(|(name, content)| {
                let content = content.as_ref().map(|content| {
                    let values: Vec<_> = content
                        .iter()
                        .map(|(key, value)| (key.as_str(), Encoding::Text, value.as_bytes()))
                        .collect();
                    SourceDigests::of(self.keyring, name.within("shop"), &values)
                });
                (name.clone(), content)
            })
            .collect();
        let live = |name: &SourceName| match digests.get(name) {
            None => Live::Absent,
            Some(None) => Live::Unreadable,
            Some(Some(digests)) => Live::Present(digests),
        };
        decide(&Case {
            namespace: "shop",
            stamp: stored.stamp.as_deref(),
            observed: stored.observed.as_ref(),
            references: self.references,
            live: &live,
            arrived: &self.arrived,
            keyring: self.keyring,
        })
    }

    /// Decides until nothing is left to do, and says why each write was made.
    fn settle(&self, stored: &mut Stored, world: &World) -> Vec<Reason> {
        let mut reasons = Vec::new();
        loop {
            let decision = self.decide(stored, world);
            if let Decision::Leave(_) = decision {
                return reasons;
            }
            stored.apply(&decision);
            reasons.push(decision.reason());
            assert!(reasons.len() < 3, "does not come to rest: {reasons:?}");
        }
    }
}

fn setting<'a>(references: &'a References, keyring: &'a Keyring) -> Setting<'a> {
    Setting {
        references,
        keyring,
        arrived: BTreeSet::new(),
    }
}

fn adopted(references: &References, world: &World) -> Stored {
    let keyring = ring(1, None);
    let mut stored = Stored::default();
    let reasons = setting(references, &keyring).settle(&mut stored, world);
    assert_eq!(reasons, [Reason::AdoptedUnverified]);
    assert_eq!(stored.stamp, None, "adoption leaves the template alone");
    stored
}

/// The steps of a history and the reasons of the writes that each leads to.
fn history(references: &References, steps: &[(World, &[Reason])]) -> Stored {
    let keyring = ring(1, None);
    let mut stored = adopted(references, &steps[0].0);
    for (number, (world, expected)) in steps.iter().enumerate() {
        let reasons = setting(references, &keyring).settle(&mut stored, world);
        assert_eq!(reasons, *expected, "step {number}");
    }
    stored
}

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

#[test]
fn every_reason_has_a_name_of_its_own() {
    let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
}
