//! The requests of the watcher, each a task of its own, bounded in number and time.

use std::{collections::BTreeSet, panic::resume_unwind, sync::Arc};

use jiff::Timestamp;
use kube::Client;
use tokio::{sync::Semaphore, task::JoinSet};

use super::sources::Seq;
use crate::{
    cluster::{
        self, Error,
        events::{self, EventReason},
        key::{self, HeldKey, KeyError},
        source::{self, Content},
        workload::{self, Workload, WorkloadId},
    },
    stamp::{
        digest::{KEY_BYTES, Keyring},
        patch::Write,
        reason::Reason,
        settings::PolicySettings,
        source::{SourceId, SourceName},
    },
};

/// Requests of one sort under way at once; the API server serves no more of them any faster.
pub const MAX_WRITES: usize = 64;
/// As [`MAX_WRITES`], of reads.
pub const MAX_READS: usize = 32;
const MAX_EVENTS: usize = 32;

/// What was written to a workload.
#[derive(Clone, Debug)]
pub struct Written {
    /// Which workload.
    pub id: WorkloadId,
    /// When.
    pub began: Seq,
    /// Why.
    pub reason: Reason,
    /// The sources that had changed.
    pub changed: Vec<SourceName>,
    /// Whether it answers somebody else's write rather than a change of content.
    pub is_repair: bool,
    /// Whether the template was stamped.
    pub restamp: bool,
}

/// How a job ended.
pub enum Done {
    /// A source was read.
    Read {
        /// Which one.
        id: SourceId,
        /// When.
        began: Seq,
        /// What was found.
        result: Result<Content, Error>,
    },
    /// A workload was written.
    Wrote {
        /// What.
        written: Written,
        /// The workload as it is now.
        result: Result<Workload, Error>,
    },
    /// A workload was read again after a conflict.
    Refreshed {
        /// Which one.
        id: WorkloadId,
        /// As it is now.
        result: Result<Workload, Error>,
    },
    /// Jobs that had been deleted to be made again were made.
    Finished {
        /// How many were not.
        left: Result<usize, Error>,
    },
    /// A workload was resumed.
    Resumed {
        /// Which one.
        id: WorkloadId,
        /// As it is now.
        result: Result<Workload, Error>,
    },
    /// The installation key was looked up.
    Key {
        /// When.
        began: Seq,
        /// What was found.
        found: Result<(Keyring, HeldKey), KeyError>,
    },
    /// An Event was published.
    Event {
        /// On which workload.
        id: WorkloadId,
        /// How it went.
        result: Result<(), Error>,
    },
}

/// Starts jobs and collects their ends.
pub struct Jobs {
    client: Client,
    /// Our own.
    namespace: Arc<str>,
    policy: Arc<PolicySettings>,
    set: JoinSet<Done>,
    reads: Arc<Semaphore>,
    events: Arc<Semaphore>,
    writing: usize,
}

impl Jobs {
    /// No jobs yet.
    pub fn new(client: Client, namespace: &str, policy: Arc<PolicySettings>) -> Self {
        Self {
            client,
            namespace: namespace.into(),
            policy,
            set: JoinSet::new(),
            reads: Arc::new(Semaphore::new(MAX_READS)),
            events: Arc::new(Semaphore::new(MAX_EVENTS)),
            writing: 0,
        }
    }

    /// Whether one more write may start.
    pub fn may_write(&self) -> bool {
        self.writing < MAX_WRITES
    }

    /// Reads a source.
    pub fn read(&mut self, id: SourceId, began: Seq, keyring: Arc<Keyring>) {
        let (client, limit) = (self.client.clone(), self.reads.clone());
        let policy = self.policy.clone();
        self.set.spawn(async move {
            let _permit = limit.acquire().await;
            let result = source::read(&client, &id, &keyring, &policy).await;
            Done::Read { id, began, result }
        });
    }

    /// Writes a workload.
    pub fn write(&mut self, written: Written, resource_version: Box<str>, write: Write) {
        self.writing += 1;
        let (client, policy) = (self.client.clone(), self.policy.clone());
        let own = self.namespace.clone();
        self.set.spawn(async move {
            let (id, version) = (&written.id, &resource_version);
            let result = workload::write(&client, &own, id, version, &write, &policy).await;
            Done::Wrote { written, result }
        });
    }

    /// Makes the Jobs that were deleted for that and not made again, but for those of `busy`.
    pub fn finish(&mut self, now: Timestamp, busy: BTreeSet<WorkloadId>) {
        let (client, own) = (self.client.clone(), self.namespace.clone());
        self.set.spawn(async move {
            let is_busy = |id: &WorkloadId| busy.contains(id);
            let left = cluster::job::finish(&client, &own, now, is_busy).await;
            Done::Finished { left }
        });
    }

    /// Reads a workload again.
    pub fn refresh(&mut self, id: WorkloadId) {
        let (client, limit) = (self.client.clone(), self.reads.clone());
        let policy = self.policy.clone();
        self.set.spawn(async move {
            let _permit = limit.acquire().await;
            let result = workload::get(&client, &id, &policy).await;
            Done::Refreshed { id, result }
        });
    }

    /// Resumes a workload that Reloader has paused.
    pub fn resume(&mut self, id: WorkloadId, resource_version: Box<str>) {
        let (client, policy) = (self.client.clone(), self.policy.clone());
        self.set.spawn(async move {
            let result = workload::resume(&client, &id, &resource_version, &policy).await;
            Done::Resumed { id, result }
        });
    }

    /// Looks the installation key up, or makes it.
    pub fn key(&mut self, began: Seq, random: [u8; KEY_BYTES], held: Option<Arc<HeldKey>>) {
        let (client, namespace) = (self.client.clone(), self.namespace.clone());
        self.set.spawn(async move {
            let found = key::read_or_create(&client, &namespace, random, held.as_deref()).await;
            Done::Key { began, found }
        });
    }

    /// Publishes an Event.
    pub fn event(
        &mut self,
        workload: Workload,
        reason: EventReason,
        message: String,
        now: Timestamp,
    ) {
        let (client, limit) = (self.client.clone(), self.events.clone());
        self.set.spawn(async move {
            let _permit = limit.acquire().await;
            let result = events::publish(&client, &workload, reason, &message, now).await;
            Done::Event {
                id: workload.id,
                result,
            }
        });
    }

    /// The next job that ends; waits for ever if there is none.
    pub async fn next(&mut self) -> Done {
        loop {
            match self.set.join_next().await {
                None => std::future::pending::<()>().await,
                Some(Ok(done)) => {
                    if matches!(done, Done::Wrote { .. }) {
                        self.writing -= 1;
                    }
                    return done;
                }
                Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
                Some(Err(_aborted)) => {}
            }
        }
    }

    /// Ends all jobs at once.
    pub fn abort(&mut self) {
        self.set.abort_all();
        self.set.detach_all();
        self.writing = 0;
    }
}

/// Where an error goes in the log.
pub fn log_failure(what: &'static str, error: &Error) {
    tracing::warn!(error = %cluster::error::chain(error), "{what}");
}
