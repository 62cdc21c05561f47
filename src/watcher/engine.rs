//! The loop: one task owns everything that is known, takes in what happens, and starts jobs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::{Client, runtime::watcher::Event};
use tokio::{
    sync::{mpsc::Receiver, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Settings,
    jobs::{Done, Jobs},
    queue::Queue,
    record::Record,
    sources::{Change, Seq, Sources},
    streams::Input,
};
use crate::{
    cluster::{
        error::chain,
        key::{self, HeldKey},
        source::Row,
        workload::{Workload, WorkloadId, WorkloadKind},
    },
    runtime::{admin::Readiness, metrics::Metrics},
    stamp::{
        digest::{KEY_BYTES, Keyring},
        index::{Index, Interests},
        source::{SourceId, SourceKind, SourceName},
    },
};

/// How long to wait before the installation key is looked up again after a failure.
const KEY_RETRY: std::time::Duration = std::time::Duration::from_secs(5);

/// The installation key, among the things that a process waits for.
const KEY: &str = "installation key";

/// Everything the watcher knows and does.
pub struct Engine {
    pub(super) settings: Settings,
    pub(super) metrics: Metrics,
    readiness: Readiness,
    pub(super) jobs: Jobs,
    pub(super) queue: Queue,
    pub(super) sources: Sources,
    pub(super) records: BTreeMap<WorkloadId, Record>,
    pub(super) keyring: Option<Arc<Keyring>>,
    /// Since when the keyring is in use: digests that were begun before are of no use.
    pub(super) keyring_since: Seq,
    /// Workloads that a write is under way for.
    pub(super) writing: BTreeSet<WorkloadId>,
    /// Workloads that wait for a read.
    pub(super) waiting: BTreeMap<SourceId, BTreeSet<WorkloadId>>,
    index: Index<WorkloadId>,
    listing: BTreeMap<&'static str, BTreeSet<WorkloadId>>,
    held_key: Option<Arc<HeldKey>>,
    key_wanted: Option<Instant>,
    leads: bool,
    seq: Seq,
}

impl Engine {
    /// An engine that knows nothing yet.
    pub fn new(client: Client, settings: Settings, metrics: Metrics, readiness: Readiness) -> Self {
        Self {
            settings,
            metrics,
            readiness,
            jobs: Jobs::new(client),
            queue: Queue::default(),
            sources: Sources::default(),
            records: BTreeMap::new(),
            keyring: None,
            keyring_since: 0,
            writing: BTreeSet::new(),
            waiting: BTreeMap::new(),
            index: Index::default(),
            listing: BTreeMap::new(),
            held_key: None,
            key_wanted: None,
            leads: false,
            seq: 0,
        }
    }

    /// Runs until `shutdown`, or until the watches end.
    pub async fn run(
        mut self,
        mut inputs: Receiver<Input>,
        mut leader: watch::Receiver<bool>,
        shutdown: CancellationToken,
    ) {
        loop {
            self.work();
            let due = self.queue.next_due().filter(|_| self.may_step());
            let wake = [due, self.key_wanted].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                changed = leader.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let leads = *leader.borrow_and_update();
                    self.lead(leads);
                }
                done = self.jobs.next() => self.done(done),
                input = inputs.recv() => match input {
                    None => return,
                    Some(input) => self.take_in(input),
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Starts what can be started now.
    fn work(&mut self) {
        let now = Instant::now();
        if self.key_wanted.is_some_and(|at| at <= now) {
            self.look_up_key();
        }
        while self.may_step()
            && let Some(id) = self.queue.pop(now)
        {
            self.step(&id, now);
        }
        self.metrics
            .queue_depth
            .set(i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
    }

    /// Whether anything can be decided and written now.
    fn may_step(&self) -> bool {
        let knows = self.keyring.is_some() && self.sources.are_listed();
        self.leads && knows && self.jobs.may_write()
    }

    /// Has a workload looked at; only a leader looks.
    pub(super) fn wake(&mut self, id: &WorkloadId, at: Instant) {
        if self.leads {
            self.queue.schedule(id, at);
        }
    }

    fn lead(&mut self, leads: bool) {
        if leads == self.leads {
            return;
        }
        self.leads = leads;
        self.metrics.leader.set(i64::from(leads));
        // Whoever takes over compares everything; whoever steps down forgets what only a leader may know.
        self.jobs.abort();
        self.queue.clear();
        self.writing.clear();
        self.waiting.clear();
        self.sources.forget_all();
        self.keyring = None;
        self.held_key = None;
        self.key_wanted = leads.then(Instant::now);
        self.readiness.has(KEY);
        if leads {
            self.readiness.waits_for(KEY, "not read yet");
            info!(
                workloads = self.records.len(),
                "leading: comparing everything"
            );
            self.schedule_all();
        }
    }

    pub(super) fn tick(&mut self) -> Seq {
        self.seq += 1;
        self.seq
    }

    fn schedule_all(&mut self) {
        let now = Instant::now();
        for (id, record) in &mut self.records {
            record.touch(now);
            self.queue.schedule(id, now);
        }
    }

    fn look_up_key(&mut self) {
        self.key_wanted = None;
        let mut random = [0; KEY_BYTES];
        match (self.settings.ambient.random)(&mut random) {
            Ok(()) => self.jobs.key(
                self.settings.namespace.clone(),
                random,
                self.held_key.clone(),
            ),
            Err(error) => {
                warn!(error = %chain(&error), "cannot make an installation key");
                self.key_wanted = Some(Instant::now() + KEY_RETRY);
            }
        }
    }

    pub(super) fn key_found(&mut self, found: Result<(Keyring, HeldKey), key::KeyError>) {
        match found {
            Err(error) => {
                warn!(
                    error = %chain(&error),
                    "no installation key; nothing is compared until there is one"
                );
                self.readiness.waits_for(KEY, chain(&error));
                self.key_wanted = Some(Instant::now() + KEY_RETRY);
            }
            Ok((keyring, held)) => {
                self.readiness.has(KEY);
                self.held_key = Some(Arc::new(held));
                if self.keyring.as_deref() == Some(&keyring) {
                    return;
                }
                info!(key = %keyring.current.id(), "using installation key");
                self.keyring = Some(Arc::new(keyring));
                // Digests under another ring cannot be compared.
                self.keyring_since = self.tick();
                self.sources.forget_all();
                self.waiting.clear();
                self.schedule_all();
            }
        }
    }

    fn take_in(&mut self, input: Input) {
        match input {
            Input::Workload(kind, event) => self.workload_event(kind, event),
            Input::Source(kind, event) => self.source_event(kind, event),
        }
    }

    fn workload_event(&mut self, kind: &'static WorkloadKind, event: Event<Box<Workload>>) {
        match event {
            Event::Init => {
                self.listing.insert(kind.kind, BTreeSet::new());
            }
            Event::InitApply(workload) => {
                if let Some(listed) = self.listing.get_mut(kind.kind) {
                    listed.insert(workload.id.clone());
                }
                self.received(*workload);
            }
            Event::InitDone => {
                let listed = self.listing.remove(kind.kind).unwrap_or_default();
                let of_kind = |id: &&WorkloadId| id.kind.kind == kind.kind && !listed.contains(id);
                let gone: Vec<_> = self.records.keys().filter(of_kind).cloned().collect();
                gone.iter().for_each(|id| self.forget(id));
            }
            Event::Apply(workload) => {
                // A watch may lag behind the answer to our own write.
                let known = self.records.get(&workload.id);
                if !known.is_some_and(|known| known.workload.is_newer_than(&workload)) {
                    self.received(*workload);
                }
            }
            Event::Delete(workload) => self.forget(&workload.id),
        }
    }

    /// Takes in a workload, and has it looked at if anything about it matters.
    pub(super) fn received(&mut self, workload: Workload) {
        let (id, now, seq) = (workload.id.clone(), Instant::now(), self.tick());
        let opted_in = |workload: &Workload| i64::from(workload.facts.policy.opted_in());
        let before = self
            .records
            .get(&id)
            .map_or(0, |record| opted_in(&record.workload));
        self.metrics.workloads.add(opted_in(&workload) - before);
        let same_object = |record: &Record| record.workload.uid == workload.uid;
        if !self.records.get(&id).is_some_and(same_object) {
            self.index.set(id.clone(), interests(&workload));
            let mut record = Record::new(workload, seq);
            record.touch(now);
            self.records.insert(id.clone(), record);
            self.wake(&id, now);
            return;
        }
        let Some(record) = self.records.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut record.workload, workload);
        if before.facts == record.workload.facts {
            return;
        }
        record.received = seq;
        record.touch(now);
        for source in record.newly_absent(before.facts.observed.as_ref()) {
            let session = self.sources.session(source.kind);
            match (
                self.sources.since_absent(&source.within(&id.namespace)),
                session,
            ) {
                (Some((0, None)), Some(session)) => record.watch_absence(source, session),
                (Some((1, Some(version))), _) => record.note_arrival(source, version.clone()),
                _ => {}
            }
        }
        self.index.set(id.clone(), interests(&record.workload));
        self.wake(&id, now);
        self.forget_unused(&before);
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

    fn source_event(&mut self, kind: SourceKind, event: Event<Row>) {
        let seq = self.tick();
        for change in self.sources.apply(kind, event, seq) {
            if change.id == key::secret(&self.settings.namespace) && self.leads {
                self.key_wanted = Some(Instant::now());
            }
            self.source_changed(&change);
        }
    }

    fn source_changed(&mut self, change: &Change) {
        let now = Instant::now();
        let session = self.sources.session(change.id.source.kind);
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

    fn done(&mut self, done: Done) {
        match done {
            Done::Key(found) => self.key_found(found),
            Done::Read { id, began, result } => self.read_done(id, began, result),
            Done::Wrote { written, result } => self.write_done(&written, result),
            Done::Refreshed { id, result } => self.refresh_done(&id, result),
            Done::Event { id, result } => self.event_done(&id, result),
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
