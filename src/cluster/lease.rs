//! Leader election by Lease: one active watcher, the others warm.
//!
//! A lease is taken over only when its record has not changed for its duration, measured on our own
//! monotonic clock, so wall clocks need not agree. Every write carries the resourceVersion that it was
//! decided on. A leader that could not renew within the deadline stops being one before anybody else can
//! have taken over.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Error, as_us,
    error::{Request, chain},
};

/// The times of an election. The defaults are those of Kubernetes' own components, and of Reloader.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a record keeps others away.
    pub lease: Duration,
    /// How long a leader goes on without having renewed.
    pub renew_deadline: Duration,
    /// How often the lease is looked at.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// A candidate.
pub struct Elector {
    /// The way to the API server.
    pub client: Client,
    /// Where the Lease is.
    pub namespace: String,
    /// What the Lease is called.
    pub name: String,
    /// Who we are; no two candidates may share it.
    pub identity: String,
    /// How quick.
    pub timing: Timing,
    /// The wall clock, for the times that people read in the Lease.
    pub wall_clock: fn() -> Timestamp,
}

/// The record as we last saw it, and since when it has looked like that.
struct Seen {
    lease: Lease,
    since: Instant,
}

impl Elector {
    /// Runs until `shutdown`, telling `leader` whether we lead; then gives the lease back.
    pub async fn run(self, leader: watch::Sender<bool>, shutdown: CancellationToken) {
        let mut seen = None;
        let mut renewed = Instant::now();
        let mut said = String::new();
        loop {
            let leads = *leader.borrow();
            let deadline = if leads {
                renewed + self.timing.renew_deadline
            } else {
                Instant::now() + self.timing.renew_deadline
            };
            let began = Instant::now();
            let held = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                held = timeout_at(deadline, self.attempt(&mut seen)) => held,
            };
            let holds = match &held {
                Ok(Ok(holds)) => *holds,
                Ok(Err(error)) => {
                    said = Self::complain(&said, error);
                    seen = None;
                    leads
                }
                Err(_) => {
                    seen = None;
                    leads
                }
            };
            if let Ok(Ok(holds)) = held {
                said.clear();
                renewed = if holds { began } else { renewed };
            }
            self.set(
                &leader,
                holds && renewed.elapsed() < self.timing.renew_deadline,
            );
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = sleep(self.timing.retry) => {}
            }
        }
        if leader.send_replace(false) {
            self.release(seen).await;
        }
    }

    /// Says what is wrong, unless that was the last thing said.
    fn complain(said: &str, error: &Error) -> String {
        let text = chain(error);
        if text != said {
            warn!(error = %text, "cannot get at the lease; trying again");
        }
        text
    }

    fn set(&self, leader: &watch::Sender<bool>, leads: bool) {
        if leader.send_if_modified(|now| std::mem::replace(now, leads) != leads) {
            info!(leads, identity = self.identity, "leadership changed");
        }
    }

    /// Takes or renews the lease; false if another one holds it.
    async fn attempt(&self, seen: &mut Option<Seen>) -> Result<bool, Error> {
        let current = if seen.as_ref().is_some_and(|seen| self.is_ours(&seen.lease)) {
            seen.take()
        } else {
            self.look(seen).await?
        };
        let Some(current) = current else {
            return self.create(seen).await;
        };
        let free = self.is_ours(&current.lease) || current.is_over(self.timing.lease);
        if !free {
            *seen = Some(current);
            return Ok(false);
        }
        match self
            .update(&current.lease, self.record(Some(&current.lease)))
            .await
        {
            Ok(lease) => {
                *seen = Some(Seen {
                    lease,
                    since: Instant::now(),
                });
                Ok(true)
            }
            // Somebody else wrote; look again next time.
            Err(Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn look(&self, last: &mut Option<Seen>) -> Result<Option<Seen>, Error> {
        let get = Request::object(
            "get",
            "leases.coordination.k8s.io",
            &self.namespace,
            &self.name,
        );
        let lease = match get.send(self.api().get(&self.name)).await {
            Ok(lease) => lease,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let since = match last.take() {
            Some(last) if last.lease.spec == lease.spec => last.since,
            _ => Instant::now(),
        };
        Ok(Some(Seen { lease, since }))
    }

    async fn create(&self, seen: &mut Option<Seen>) -> Result<bool, Error> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(self.record(None)),
        };
        let request = Request::object(
            "create",
            "leases.coordination.k8s.io",
            &self.namespace,
            &self.name,
        );
        match request.send(self.api().create(&as_us(), &lease)).await {
            Ok(lease) => {
                *seen = Some(Seen {
                    lease,
                    since: Instant::now(),
                });
                Ok(true)
            }
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn update(&self, lease: &Lease, record: LeaseSpec) -> Result<Lease, Error> {
        let mut lease = lease.clone();
        lease.spec = Some(record);
        Request::object(
            "update",
            "leases.coordination.k8s.io",
            &self.namespace,
            &self.name,
        )
        .send(self.api().replace(&self.name, &as_us(), &lease))
        .await
    }

    /// Lets another one take over at once.
    async fn release(&self, seen: Option<Seen>) {
        let Some(seen) = seen.filter(|seen| self.is_ours(&seen.lease)) else {
            return;
        };
        let mut record = self.record(Some(&seen.lease));
        record.holder_identity = Some(String::new());
        record.lease_duration_seconds = Some(1);
        if let Err(error) = self.update(&seen.lease, record).await {
            warn!(
                error = %chain(&error),
                "could not give the lease back; it runs out by itself"
            );
        }
    }

    fn record(&self, before: Option<&Lease>) -> LeaseSpec {
        let now = Some(MicroTime((self.wall_clock)()));
        let before = before
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let same = before.holder_identity.as_deref() == Some(&*self.identity);
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(seconds(self.timing.lease)),
            acquire_time: if same {
                before.acquire_time
            } else {
                now.clone()
            },
            renew_time: now,
            lease_transitions: Some(if same {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        holder(lease) == Some(&self.identity)
    }

    fn api(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

impl Seen {
    fn is_over(&self, default: Duration) -> bool {
        let duration = self
            .lease
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds);
        let duration = duration.and_then(|seconds| u64::try_from(seconds).ok());
        holder(&self.lease).is_none()
            || self.since.elapsed() > duration.map_or(default, Duration::from_secs)
    }
}

fn holder(lease: &Lease) -> Option<&String> {
    let holder = lease.spec.as_ref()?.holder_identity.as_ref()?;
    (!holder.is_empty()).then_some(holder)
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
