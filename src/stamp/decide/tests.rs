use std::collections::BTreeMap;

mod classes;
mod content;
mod evidence;
mod properties;
mod rotation;
mod unreadable;
mod variables;
mod warnings;

use super::*;
use crate::stamp::{
    digest::{Encoding, KEY_BYTES},
    policy::Selection,
    references::Reference,
    source::{Keys, SourceKind, Usage},
};

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
                start, observed, ..
            } => {
                if let NewStart::Stamp(stamp) = start {
                    self.stamp = Some(stamp.to_string());
                }
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
    reload_on_delete: bool,
    trigger: Trigger<'a>,
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
                    SourceDigests::of(self.keyring, name.within("shop"), &values).with_hash(&values)
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
            reload_on_delete: self.reload_on_delete,
            trigger: self.trigger,
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
        reload_on_delete: false,
        trigger: Trigger::Stamp,
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
