//! The loop: one task owns everything that is known, takes in what happens, and starts jobs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::Client;
use tokio::{
    sync::{mpsc::Receiver, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Settings,
    jobs::{Done, Jobs},
    namespaces::Selected,
    queue::Queue,
    record::Record,
    sources::{Seq, Sources},
    streams::Input,
};
use crate::{
    alerts::Alerts,
    cluster::{
        error::chain,
        key::{self, HeldKey},
        kind::WorkloadKind,
        workload::WorkloadId,
    },
    runtime::{admin::Readiness, metrics::WatcherMetrics},
    stamp::{
        digest::{KEY_BYTES, Keyring},
        index::Index,
        scope::Scope,
        source::SourceId,
    },
};

/// How long to wait before the installation key is looked up again after a failure.
const KEY_RETRY: std::time::Duration = std::time::Duration::from_secs(5);

/// How often the installation key is looked up where Secrets are not watched.
const KEY_REFRESH: std::time::Duration = std::time::Duration::from_secs(60);

/// The installation key, among the things that a process waits for.
const KEY: &str = "installation key";

/// Everything the watcher knows and does.
pub struct Engine {
    pub(super) settings: Settings,
    pub(super) metrics: WatcherMetrics,
    readiness: Readiness,
    pub(super) alerts: Option<Alerts>,
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
    pub(super) index: Index<WorkloadId>,
    pub(super) listing: BTreeMap<((&'static str, &'static str), Scope), BTreeSet<WorkloadId>>,
    pub(super) selected: Option<Selected>,
    held_key: Option<Arc<HeldKey>>,
    /// When the last look at the key's Secret began that counted.
    pub(super) key_seen: Seq,
    pub(super) key_wanted: Option<Instant>,
    /// When to see whether all Jobs were made that had been deleted for that.
    pub(super) finish_at: Option<Instant>,
    pub(super) leads: bool,
    seq: Seq,
}

impl Engine {
    /// An engine that knows nothing yet.
    pub fn new(
        client: Client,
        settings: Settings,
        metrics: WatcherMetrics,
        readiness: Readiness,
        alerts: Option<Alerts>,
    ) -> Self {
        Self {
            jobs: Jobs::new(client, &settings.namespace, settings.policy.clone()),
            sources: Sources::new(settings.policy.clone()),
            selected: Selected::new(&settings.policy),
            settings,
            metrics,
            readiness,
            alerts,
            queue: Queue::default(),
            records: BTreeMap::new(),
            keyring: None,
            keyring_since: 0,
            writing: BTreeSet::new(),
            waiting: BTreeMap::new(),
            index: Index::default(),
            listing: BTreeMap::new(),
            held_key: None,
            key_seen: 0,
            key_wanted: None,
            finish_at: None,
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
            let wake = [due, self.key_wanted, self.finish_at]
                .into_iter()
                .flatten()
                .min();
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
        if self.finish_at.take_if(|at| *at <= now).is_some() {
            let wall_clock = (self.settings.ambient.now)();
            self.jobs.finish(wall_clock, self.writing.clone());
        }
        while self.may_step()
            && let Some((due, id)) = self.queue.pop(now)
        {
            self.metrics.reloader.queue.taken(now.duration_since(due));
            self.step(&id, now);
        }
        self.tally_queue(now);
    }

    /// Whether anything can be decided and written now.
    fn may_step(&self) -> bool {
        let mut scopes = self.settings.policy.namespaces.scopes();
        let knows_any = scopes.any(|scope| self.sources.is_listed(scope));
        let knows = self.keyring.is_some() && knows_any && self.knows_namespaces();
        self.leads && knows && self.jobs.may_write()
    }

    /// Has a workload looked at; only a leader looks.
    pub(super) fn wake(&mut self, id: &WorkloadId, at: Instant) {
        if self.leads && self.queue.schedule(id, at) {
            self.metrics.reloader.queue.adds.inc();
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
        for record in self.records.values_mut() {
            (record.stale, record.looked_at) = (None, None);
        }
        self.writing.clear();
        self.waiting.clear();
        self.sources.forget_all();
        self.keyring = None;
        self.held_key = None;
        self.key_wanted = leads.then(Instant::now);
        let makes_again = self.settings.kinds.iter().any(WorkloadKind::is_made_again);
        self.finish_at = (leads && makes_again).then(Instant::now);
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
            if self.queue.schedule(id, now) {
                self.metrics.reloader.queue.adds.inc();
            }
        }
    }

    fn look_up_key(&mut self) {
        self.key_wanted = None;
        let mut random = [0; KEY_BYTES];
        let began = self.tick();
        match (self.settings.ambient.random)(&mut random) {
            Ok(()) => self.jobs.key(began, random, self.held_key.clone()),
            Err(error) => {
                warn!(error = %chain(&error), "cannot make an installation key");
                self.key_wanted = Some(Instant::now() + KEY_RETRY);
            }
        }
    }

    fn key_found(&mut self, began: Seq, found: Result<(Keyring, HeldKey), key::KeyError>) {
        // An older look at the Secret may end later.
        if began < self.key_seen {
            return;
        }
        self.key_seen = began;
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
                let secret = key::secret(&self.settings.namespace);
                if !self.settings.policy.watches(&secret) {
                    // Its watch would tell.
                    self.key_wanted = Some(Instant::now() + KEY_REFRESH);
                }
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

    fn done(&mut self, done: Done) {
        match done {
            Done::Key { began, found } => self.key_found(began, found),
            Done::Read { id, began, result } => self.read_done(id, began, result),
            Done::Wrote { written, result } => self.write_done(&written, result),
            Done::Refreshed { id, result } => self.refresh_done(&id, result),
            Done::Finished { left } => self.finished(left),
            Done::Resumed { id, result } => self.resume_done(&id, result),
            Done::Event { id, result } => self.event_done(&id, result),
        }
    }
}
