//! What the watches tell, taken into the tables, and whom it wakes.

use std::collections::BTreeSet;

use kube::runtime::watcher::Event;
use tokio::time::Instant;

use super::{
    engine::Engine,
    record::Record,
    sources::{Absence, Change, Part, Sources, What},
    streams::Input,
    tally::tally_source,
};
use crate::{
    cluster::{
        csi::PodStatusRow,
        key,
        kind::WorkloadKind,
        source::Row,
        workload::{Workload, WorkloadId},
    },
    stamp::{
        index::Interests,
        scope::Scope,
        source::{SourceId, SourceKind, SourceName},
    },
};

/// How a workload came to us.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// In a list: what happened before is unknown.
    List,
    /// As a change, seen while it was watched.
    Watch,
    /// In the answer to a write of our own.
    Written,
    /// In the answer to a read of our own: what happened before is unknown, too.
    Read,
}

impl Engine {
    /// Takes in what a watch tells.
    pub(super) fn take_in(&mut self, input: Input) {
        let scope = match &input {
            Input::Source((_, scope), _) | Input::SourcesUnheard((_, scope)) => Some(*scope),
            Input::PodStatus(scope, _) | Input::PodStatusesUnheard(scope) => Some(*scope),
            Input::Workload(..) | Input::Namespace(_) => None,
        };
        let unlisted = scope.filter(|scope| !self.sources.is_listed(*scope));
        self.take_in_one(input);
        if let Some(scope) = unlisted.filter(|scope| self.sources.is_listed(*scope)) {
            self.scope_listed(scope);
        }
    }

    fn take_in_one(&mut self, input: Input) {
        match input {
            Input::Workload(kind, scope, event) => self.workload_event(kind, scope, event),
            Input::Source(part, event) => self.source_event(part, event),
            Input::SourcesUnheard(part) => self.sources.broke_off(part),
            Input::PodStatus(scope, event) => self.pod_status_event(scope, event),
            Input::PodStatusesUnheard(scope) => self.sources.pod_statuses_broke_off(scope),
            Input::Namespace(event) => self.namespace_event(event),
        }
    }

    fn workload_event(
        &mut self,
        kind: &'static WorkloadKind,
        scope: Scope,
        event: Event<Box<Workload>>,
    ) {
        let part = ((kind.group, kind.plural), scope);
        match event {
            Event::Init => {
                self.listing.insert(part, BTreeSet::new());
            }
            Event::InitApply(workload) => {
                if let Some(listed) = self.listing.get_mut(&part) {
                    listed.insert(workload.id.clone());
                }
                self.received(*workload, Via::List);
            }
            Event::InitDone => {
                let listed = self.listing.remove(&part).unwrap_or_default();
                let of_part = |id: &&WorkloadId| id.kind == kind && scope.contains(&id.namespace);
                let known = self.records.keys().filter(of_part);
                let gone: Vec<_> = known.filter(|id| !listed.contains(id)).cloned().collect();
                gone.iter().for_each(|id| self.forget(id));
            }
            Event::Apply(workload) => {
                // A watch may lag behind the answer to our own write.
                let known = self.records.get(&workload.id);
                if !known.is_some_and(|known| known.workload.is_newer_than(&workload)) {
                    self.received(*workload, Via::Watch);
                }
            }
            Event::Delete(workload) => self.forget(&workload.id),
        }
    }

    /// Takes in a workload, and has it looked at if anything about it matters.
    pub(super) fn received(&mut self, workload: Workload, via: Via) {
        let (id, now, seq) = (workload.id.clone(), Instant::now(), self.tick());
        let opted_in = |workload: &Workload| i64::from(workload.facts.policy.opted_in());
        let before = self
            .records
            .get(&id)
            .map_or(0, |record| opted_in(&record.workload));
        self.metrics.workloads.add(opted_in(&workload) - before);
        let same_object = |record: &&mut Record| record.workload.uid == workload.uid;
        let before = match self.records.get_mut(&id).filter(same_object) {
            Some(record) => Some(std::mem::replace(&mut record.workload, workload)),
            None => {
                self.records.insert(id.clone(), Record::new(workload, seq));
                None
            }
        };
        let Some(record) = self.records.get_mut(&id) else {
            return;
        };
        let differs = |before: &Workload| before.differs_from(&record.workload);
        if before.as_ref().is_some_and(|before| !differs(before)) {
            return;
        }
        record.received = seq;
        record.touch(now);
        let is_watched = matches!(via, Via::Watch | Via::Written);
        let same_template = |before: &&Workload| before.template == record.workload.template;
        let of_template = before.as_ref().filter(same_template);
        if of_template.is_none() {
            record.template_version = record.workload.version().filter(|_| is_watched);
        }
        if is_watched {
            // Pods of another template start anew, whatever was missing before.
            note_absences(record, of_template, &self.sources);
        }
        self.index.set(id.clone(), interests(&record.workload));
        self.wake(&id, now);
        if let Some(before) = before {
            self.forget_unused(&before);
        }
    }

    fn forget(&mut self, id: &WorkloadId) {
        self.index.remove(id);
        if let Some(record) = self.records.remove(id) {
            self.metrics
                .workloads
                .sub(i64::from(record.workload.facts.policy.opted_in()));
            self.forget_unused(&record.workload);
        }
    }

    /// Drops what was read of sources that nobody uses any more.
    fn forget_unused(&mut self, before: &Workload) {
        let namespace = &before.id.namespace;
        if self.index.with_patterns(namespace).next().is_some() {
            return;
        }
        let recorded = before
            .facts
            .observed
            .as_ref()
            .and_then(|observed| observed.entries());
        let recorded = recorded.into_iter().flat_map(|entries| entries.keys());
        for source in before.facts.usages.keys().chain(recorded) {
            let source = source.within(namespace);
            if self.index.users(&source).next().is_none() {
                self.sources.forget(&source);
            }
        }
    }

    fn source_event(&mut self, part: Part, event: Event<Row>) {
        let seq = self.tick();
        for change in self.sources.apply(part, event, seq) {
            let is_selected = self.is_selected(&change.id.namespace);
            tally_source(&self.metrics, &change, is_selected);
            if change.id == key::secret(&self.settings.namespace) && self.leads {
                self.key_wanted = Some(Instant::now());
            }
            self.source_changed(&change);
        }
    }

    fn pod_status_event(&mut self, scope: Scope, event: Event<PodStatusRow>) {
        for id in self.sources.apply_pod_status(scope, event) {
            self.tally_class();
            self.source_changed(&Change {
                id,
                what: What::Updated { ignored: false },
                appeared: None,
            });
        }
    }

    fn source_changed(&mut self, change: &Change) {
        let now = Instant::now();
        let session = self.sources.session(&change.id);
        for id in self.affected(&change.id) {
            if let Some(record) = self.records.get_mut(&id) {
                record.source_changed(&change.id.source, change.appeared.as_ref(), session);
                record.touch(now);
                self.wake(&id, now);
            }
        }
    }

    fn affected(&self, id: &SourceId) -> Vec<WorkloadId> {
        let wants = |workload: &&WorkloadId| {
            let record = self.records.get(workload);
            record.is_some_and(|record| names(&record.workload, &id.source))
        };
        let by_pattern = self.index.with_patterns(&id.namespace).filter(wants);
        let affected: BTreeSet<_> = self.index.users(id).chain(by_pattern).cloned().collect();
        affected.into_iter().collect()
    }
}

/// Takes note of the sources that are recorded as absent now and were not before: what arrives while it is
/// watched needs no restart, unless pods may have started with what was there before.
fn note_absences(record: &mut Record, before: Option<&Workload>, sources: &Sources) {
    let Some(version) = record.template_version else {
        return;
    };
    let observed = before.and_then(|before| before.facts.observed.as_ref());
    for source in record.newly_absent(observed) {
        let id = source.within(&record.workload.id.namespace);
        match sources.absence(&id, version) {
            Some(Absence::Lasting(session)) => record.watch_absence(source, session),
            Some(Absence::Ended(version)) => record.note_arrival(source, version.clone()),
            None => {}
        }
    }
}

/// What a workload wants to hear of.
fn interests(workload: &Workload) -> Interests {
    let facts = &workload.facts;
    let patterns = SourceKind::ALL.iter().flat_map(|kind| {
        facts
            .policy
            .patterns(*kind)
            .iter()
            .map(|pattern| (*kind, pattern))
    });
    let named = patterns
        .clone()
        .filter_map(|(kind, pattern)| Some(SourceName::new(kind, pattern.literal()?)));
    Interests {
        namespace: workload.id.namespace.clone(),
        patterns: patterns
            .clone()
            .any(|(_, pattern)| !pattern.is_literal_only()),
        sources: facts.usages.keys().cloned().chain(named).collect(),
    }
}

/// Whether a named list of the workload matches the source.
fn names(workload: &Workload, source: &SourceName) -> bool {
    let patterns = workload.facts.policy.patterns(source.kind);
    patterns.iter().any(|pattern| pattern.matches(&source.name))
}
