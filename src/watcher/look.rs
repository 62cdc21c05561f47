//! What one look at a workload leads to, from what is known now. Nothing is changed here.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    record::Record,
    sources::{Seq, Sources},
};
use crate::stamp::{
    decide::{Case, Comparison, Decision, Live, compare, decide, live_entries, source_warnings},
    digest::Keyring,
    observed::{Entries, Observed, Recorded},
    reason::Reason,
    references::{References, resolve},
    settings::PolicySettings,
    source::{SourceId, SourceName},
    warning::Warning,
};

/// What to do next about a workload.
pub enum Next {
    /// Look again then.
    Wait(Instant),
    /// Read these first.
    Read(Vec<SourceId>),
    /// Carry out a decision.
    Act(Box<Conclusion>),
}

/// A decision, and what else the look showed.
pub struct Conclusion {
    /// What to do.
    pub decision: Decision,
    /// What people should know.
    pub warnings: Vec<Warning>,
    /// What a folded `observed` was found to have been made from.
    pub unfolded: Option<Entries>,
}

/// A workload beside what is known of its sources.
pub struct Look<'a> {
    record: &'a Record,
    observed: Option<&'a Observed>,
    references: References,
    sources: &'a Sources,
    keyring: &'a Keyring,
    policy: &'a PolicySettings,
}

impl<'a> Look<'a> {
    /// Finds the references of the workload; `observed` is its memory, unfolded if that was possible.
    pub fn new(
        record: &'a Record,
        observed: Option<&'a Observed>,
        sources: &'a Sources,
        keyring: &'a Keyring,
        policy: &'a PolicySettings,
    ) -> Self {
        let (facts, id) = (&record.workload.facts, &record.workload.id);
        let recorded = observed.and_then(Observed::entries);
        let catalog = sources.within(&id.namespace);
        Self {
            references: resolve(&facts.policy, &facts.usages, &catalog, recorded),
            record,
            observed,
            sources,
            keyring,
            policy,
        }
    }

    /// What comes next; `settle` is the window of a workload that has none of its own.
    pub fn next(&self, settle: Duration, now: Instant) -> Next {
        let settle = self.record.workload.facts.policy.settle().unwrap_or(settle);
        let settling = self.record.settled_at(settle).filter(|at| *at > now);
        let unknown = self.unknown();
        if !unknown.is_empty() {
            return match settling.filter(|_| self.can_only_be_stale()) {
                Some(at) => Next::Wait(at),
                None => Next::Read(unknown),
            };
        }
        let mut arrived = self
            .record
            .arrived(|source| self.sources.read_version(&self.id(source)));
        if self.policy.reload_on_create {
            arrived.clear();
        }
        let live = |source: &SourceName| self.live(source);
        let case = Case {
            namespace: &self.record.workload.id.namespace,
            stamp: self.record.workload.facts.stamp.as_deref(),
            observed: self.observed,
            references: &self.references,
            live: &live,
            arrived: &arrived,
            reload_on_delete: self.policy.reload_on_delete,
            trigger: self.record.workload.trigger(self.policy.strategy),
            keyring: self.keyring,
        };
        let decision = decide(&case);
        match (&decision, settling) {
            (Decision::Restamp { .. }, Some(at)) => return Next::Wait(at),
            (Decision::Leave(_), _) => {}
            _ => {
                let outdated = self.read_before(self.record.received, &case);
                if !outdated.is_empty() {
                    return Next::Read(outdated);
                }
            }
        }
        Next::Act(Box::new(self.conclude(decision, &case)))
    }

    fn conclude(&self, decision: Decision, case: &Case<'_>) -> Conclusion {
        let mut warnings = self.record.workload.facts.warnings.clone();
        warnings.extend(source_warnings(case));
        let folded = self
            .observed
            .is_some_and(|o| matches!(o.recorded, Recorded::Folded(_)));
        let is_what_was_folded = folded && decision == Decision::Leave(Reason::Current);
        Conclusion {
            unfolded: is_what_was_folded.then(|| live_entries(case, &self.keyring.current)),
            decision,
            warnings,
        }
    }

    fn id(&self, source: &SourceName) -> SourceId {
        source.within(&self.record.workload.id.namespace)
    }

    fn live(&self, source: &SourceName) -> Live<'a> {
        self.sources
            .live(&self.id(source))
            .unwrap_or(Live::Unreadable)
    }

    /// The sources that have to be read before anything can be decided.
    fn unknown(&self) -> Vec<SourceId> {
        let ids = self.references.keys().map(|source| self.id(source));
        ids.filter(|id| self.sources.live(id).is_none()).collect()
    }

    /// The sources that could not be read.
    pub fn unreadable(&self) -> Vec<SourceId> {
        let ids = self.references.keys().map(|source| self.id(source));
        ids.filter(|id| self.sources.is_unreadable(id)).collect()
    }

    /// Whether reading could show nothing but changed content: then there is no hurry, and the settle
    /// window may save the read.
    fn can_only_be_stale(&self) -> bool {
        let workload = &self.record.workload;
        let is_evidence = |observed: &&Observed| {
            *observed.namespace == *workload.id.namespace
                && observed.stamp.as_deref() == workload.facts.stamp.as_deref()
        };
        let Some(recorded) = self
            .observed
            .filter(is_evidence)
            .and_then(Observed::entries)
        else {
            return false;
        };
        self.references.iter().all(|(source, reference)| {
            let entry = recorded.get(source);
            entry.is_some_and(|entry| entry.digest.is_some() && entry.keys == reference.usage.keys)
        })
    }

    /// The sources that a write would rest on, and that were read before the workload was received. A
    /// watch of sources that lags behind the one of workloads would undo a newer stamp otherwise. While a watch
    /// is broken, those without a change have to be read after the change was found, and after a write that failed.
    fn read_before(&self, received: Seq, case: &Case<'_>) -> Vec<SourceId> {
        let is_unchanged = |(source, comparison): &(&SourceName, Comparison)| match comparison {
            Comparison::Unknown => true,
            Comparison::Same => self.has_recorded_keys(source),
            _ => false,
        };
        let Some(compared) = compare(case) else {
            let ids = self.references.keys().map(|source| self.id(source));
            return ids
                .filter(|id| !self.sources.was_read_after(id, received))
                .collect();
        };
        let (unchanged, differ): (Vec<_>, Vec<_>) = compared.into_iter().partition(is_unchanged);
        let differ = differ.into_iter().map(|(source, _)| self.id(source));
        let differ: Vec<_> = differ.collect();
        let found = differ
            .iter()
            .filter_map(|id| self.sources.read_at(id))
            .max();
        let unheard = unchanged.into_iter().map(|(source, _)| self.id(source));
        let unheard = unheard
            .filter(|id| self.sources.is_broken(id))
            .map(|id| (id, found.unwrap_or_default().max(self.record.tried)));
        let all = differ.into_iter().map(|id| (id, received)).chain(unheard);
        all.filter(|(id, since)| !self.sources.was_read_after(id, *since))
            .map(|(id, _)| id)
            .collect()
    }

    /// Whether the workload uses the keys of the source that were recorded.
    fn has_recorded_keys(&self, source: &SourceName) -> bool {
        let entry = self
            .observed
            .and_then(Observed::entries)
            .and_then(|entries| entries.get(source));
        let used = self
            .references
            .get(source)
            .map(|reference| &reference.usage.keys);
        entry.map(|entry| &entry.keys) == used
    }
}
