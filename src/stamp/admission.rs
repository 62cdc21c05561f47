//! What becomes of a workload while it is being written.
//!
//! When its pods start anew with this write, they start on what is live, so that is what is stamped.
//! Otherwise what Restamp had written stays, whoever left it out or altered it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    decide::{Case, Live, Trigger, source_warnings, stamp_live},
    digest::{Keyring, SourceDigests},
    facts::Facts,
    manifest::Manifest,
    observed::Observed,
    patch::{ANNOTATION_RESERVE_BYTES, MAX_ANNOTATION_BYTES, Operation, Own, json_patch},
    policy::Marks,
    reason::Reason,
    references::{Catalog, resolve},
    settings::{PolicySettings, ReloadStrategy},
    source::{SourceId, SourceKind, SourceName},
    stamp::Stamp,
    warning::Warning,
};

/// A workload that is being created or updated.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// The namespace of the workload.
    pub namespace: &'a str,
    /// The fields that lead to the pod template.
    pub template_path: &'a [&'a str],
    /// Whether a template that is stored can be changed, and so may carry a stamp.
    pub may_stamp: bool,
    /// As it is sent.
    pub object: &'a Manifest<'a>,
    /// As it is stored; nothing if it is being created.
    pub stored: Option<&'a Manifest<'a>>,
    /// What holds for every workload.
    pub settings: &'a PolicySettings,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// What to change on the object.
    pub patch: Vec<Operation>,
    /// What whoever writes it should know.
    pub warnings: Vec<Warning>,
}

impl Verdict {
    /// Nothing to change.
    pub fn leave(reason: Reason) -> Self {
        Self {
            reason,
            patch: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// A source that was read for this write.
#[derive(Clone, Debug)]
pub struct Found {
    /// What its own annotations say.
    pub marks: Marks,
    /// What it holds.
    pub digests: SourceDigests,
}

impl Found {
    /// A source that is not followed, and was not read.
    pub fn ignored(id: &SourceId, keyring: &Keyring) -> Self {
        Self {
            marks: Marks {
                ignored: true,
                matched: false,
            },
            digests: SourceDigests::of(keyring, id.clone(), &[]),
        }
    }
}

/// What was read; nothing for a source that does not exist.
pub type Reads = BTreeMap<SourceName, Option<Found>>;

/// What comes next about a write.
pub enum Plan {
    /// It is decided.
    Answer(Verdict),
    /// Its sources have to be read first.
    Read(Box<Fresh>),
}

/// A workload whose pods start anew, on sources that have to be read.
pub struct Fresh {
    facts: Facts,
    /// What to read.
    pub sources: Vec<SourceName>,
}

impl Admission<'_> {
    /// What comes next.
    pub fn plan(&self) -> Plan {
        let own = self.stored.unwrap_or(self.object).own();
        let facts = self.object.facts(&own, self.settings);
        if !facts.policy.opted_in() {
            return Plan::Answer(self.keep(&facts, Reason::NotOptedIn));
        }
        // Reloader's variables are the watcher's alone.
        if self.object.template_metadata().is_none() {
            return Plan::Answer(self.keep(&facts, Reason::Over));
        }
        if !self.rolls_out() || self.settings.strategy == ReloadStrategy::Variables {
            return Plan::Answer(self.keep(&facts, Reason::Untouched));
        }
        // Which sources a regex or a mark selects is for the watcher to find; those that it found are
        // recorded.
        let sources = resolve(
            &facts.policy,
            &facts.usages,
            &Seen(&Reads::new()),
            recorded(&facts),
        );
        // What pods show is not there before they are; what was recorded of it stays.
        let read = sources.into_keys().filter(|source| source.kind.is_core());
        let sources: Vec<_> = read.collect();
        if sources.is_empty() {
            return Plan::Answer(self.keep(&facts, Reason::NoSources));
        }
        Plan::Read(Box::new(Fresh { facts, sources }))
    }

    /// The answer when the sources could not be read: the watcher will see to the workload.
    pub fn unread(&self, fresh: &Fresh) -> Verdict {
        self.keep(&fresh.facts, Reason::Unreadable)
    }

    /// The answer once the sources have been read.
    pub fn stamp(&self, fresh: &Fresh, reads: &Reads, keyring: &Keyring) -> Verdict {
        let facts = &fresh.facts;
        let references = resolve(&facts.policy, &facts.usages, &Seen(reads), recorded(facts));
        // What is recorded of sources that are not followed any more is not what these pods start on.
        if references.is_empty() && recorded(facts).is_none_or(BTreeMap::is_empty) {
            return self.keep(facts, Reason::NoSources);
        }
        let live = |source: &SourceName| match reads.get(source) {
            Some(Some(found)) => Live::Present(&found.digests),
            Some(None) => Live::Absent,
            None => Live::Unreadable,
        };
        let case = Case {
            namespace: self.namespace,
            stamp: facts.stamp.as_deref(),
            observed: facts.observed.as_ref(),
            references: &references,
            live: &live,
            arrived: &BTreeSet::new(),
            reload_on_delete: self.settings.reload_on_delete,
            trigger: match self.may_stamp {
                true => Trigger::Stamp,
                false => Trigger::Recreate,
            },
            keyring,
        };
        let (stamp, observed) = stamp_live(&case);
        let sent = self.object.own().stamp;
        let stamped = Own {
            stamp: stamp
                .map(|stamp| stamp.to_string())
                .or_else(|| sent.clone().filter(|_| !self.may_stamp)),
            observed: Some(observed.to_annotation(&keyring.current).text),
        };
        let limit = MAX_ANNOTATION_BYTES - ANNOTATION_RESERVE_BYTES;
        let patch = json_patch(self.template_path, self.object, &stamped, limit);
        if patch.incomplete {
            return self.keep(facts, Reason::NoRoom);
        }
        let mut warnings = facts.warnings.clone();
        if self.is_foreign(sent.as_deref()) && sent != stamped.stamp {
            warnings.push(Warning::StampSent);
        }
        warnings.extend(source_warnings(&case));
        Verdict {
            reason: Reason::Deployed,
            patch: patch.operations,
            warnings,
        }
    }

    /// Has what is stored stay as it was. On an object that is only being made nothing of ours says anything
    /// about its pods.
    fn keep(&self, facts: &Facts, reason: Reason) -> Verdict {
        let stored = self.stored.map(Manifest::own).unwrap_or_default();
        let sent = self.object.own();
        let patch = json_patch(
            self.template_path,
            self.object,
            &stored,
            MAX_ANNOTATION_BYTES,
        );
        let mut warnings = facts.warnings.clone();
        if sent.stamp.is_some() && sent.stamp != stored.stamp {
            warnings.push(if self.rolls_out() {
                Warning::StampSent
            } else {
                Warning::StampPutBack
            });
        }
        let no_room = patch.incomplete || reason == Reason::NoRoom;
        if no_room {
            let limit = MAX_ANNOTATION_BYTES - ANNOTATION_RESERVE_BYTES;
            warnings.push(Warning::NoRoom { limit });
        }
        let reason = if no_room {
            Reason::NoRoom
        } else if sent != stored && reason != Reason::Unreadable {
            Reason::CarriedOver
        } else {
            reason
        };
        Verdict {
            reason,
            patch: patch.operations,
            warnings,
        }
    }

    /// Whether pods start anew with this write.
    fn rolls_out(&self) -> bool {
        self.stored
            .is_none_or(|stored| self.object.rolls_out(stored))
    }

    /// Whether the stamp is somebody else's than the stored one. The facts are those of the stored one, or
    /// of the only one there is, and tell if that cannot be read.
    fn is_foreign(&self, sent: Option<&str>) -> bool {
        let Some(sent) = sent else {
            return false;
        };
        match self.stored {
            Some(stored) => stored.own().stamp.as_deref() != Some(sent),
            None => sent.parse::<Stamp>().is_ok(),
        }
    }
}

fn recorded(facts: &Facts) -> Option<&super::observed::Entries> {
    facts.observed.as_ref().and_then(Observed::entries)
}

/// What was read, and nothing else.
struct Seen<'a>(&'a Reads);

impl Catalog for Seen<'_> {
    fn marks(&self, source: &SourceName) -> Option<Marks> {
        Some(self.0.get(source)?.as_ref()?.marks)
    }

    fn names(&self, kind: SourceKind) -> Box<dyn Iterator<Item = &str> + '_> {
        let exists = move |(source, found): &(&SourceName, &Option<Found>)| {
            source.kind == kind && found.is_some()
        };
        Box::new(
            self.0
                .iter()
                .filter(exists)
                .map(|(source, _)| &*source.name),
        )
    }
}

#[cfg(test)]
mod tests;
