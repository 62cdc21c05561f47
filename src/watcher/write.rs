//! What is written to a workload, and what comes of it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{
    engine::Engine,
    intake::Via,
    jobs::{Written, log_failure},
    reloaded,
};
use crate::{
    cluster::{
        Error,
        error::chain,
        events::EventReason,
        kind::Restart,
        workload::{Workload, WorkloadId},
    },
    runtime::metrics::Outcome,
    stamp::{
        digest::Keyring,
        observed::{Entries, Observed, Recorded},
        patch::{NewStart, Write},
        reason::Reason,
        source::SourceName,
    },
};

/// A time as the API server writes it (RFC 3339).
const SECONDS: &str = "%Y-%m-%dT%H:%M:%SZ";

/// How long to wait before it is seen again whether all Jobs were made that had been deleted for that.
const FINISH_RETRY: Duration = Duration::from_secs(10);

/// A decision to write.
pub(super) struct Planned {
    pub(super) reason: Reason,
    /// The sources that had changed.
    pub(super) changed: Vec<SourceName>,
    /// How its pods start anew; nothing if they do not.
    pub(super) start: Option<NewStart>,
    pub(super) observed: Observed,
}

impl Planned {
    /// Records what is live, and restarts nothing.
    pub(super) fn record(reason: Reason, observed: Observed) -> Self {
        Self {
            reason,
            changed: Vec::new(),
            start: None,
            observed,
        }
    }
}

impl Engine {
    /// Writes it, unless somebody keeps undoing what we write.
    pub(super) fn write(
        &mut self,
        id: &WorkloadId,
        planned: Planned,
        keyring: &Keyring,
        now: Instant,
    ) {
        let (reason, restamp) = (planned.reason, planned.start.is_some());
        let Some(record) = self.records.get_mut(id) else {
            return;
        };
        record.stale = restamp.then(|| {
            let since = record.unsettled.map_or(now, |unsettled| unsettled.first);
            self.metrics.stale.begin(since)
        });
        let is_repair = record.is_repair(reason);
        if let Some(at) = record.truce_until(now).filter(|_| is_repair) {
            self.fight(id);
            self.look_later(id, at);
            return;
        }
        self.tally_decision(id, reason, restamp);
        self.send(id, planned, keyring, is_repair);
    }

    fn send(&mut self, id: &WorkloadId, planned: Planned, keyring: &Keyring, is_repair: bool) {
        let Planned {
            reason,
            changed,
            start,
            mut observed,
        } = planned;
        let began = self.tick();
        let (Some(record), Some(key)) = (self.records.get_mut(id), keyring.find(&observed.key))
        else {
            return;
        };
        let now = (self.settings.ambient.now)();
        if start.is_some() {
            let pauses = record.workload.pause_period().is_some();
            observed.restarted = pauses.then(|| now.strftime(SECONDS).to_string().into());
        }
        let annotation = observed.to_annotation(key);
        record.unfolded = annotation.folded.then(|| entries_of(observed));
        let written = Written {
            id: id.clone(),
            began,
            reason,
            changed,
            is_repair,
            restamp: start.is_some(),
        };
        let write = Write {
            // Whatever else moved the template, the next run has it.
            run_now: id.kind.restart == Restart::Job && reason == Reason::ContentChanged,
            start,
            observed: annotation.text,
            restart_at: next_second(now).strftime(SECONDS).to_string(),
        };
        self.writing.insert(id.clone());
        let version = record.workload.resource_version.clone();
        self.jobs.write(written, version, write);
    }

    /// Says that somebody keeps undoing what we write: once for each repair.
    fn fight(&mut self, id: &WorkloadId) {
        let Some(record) = self.records.get_mut(id) else {
            return;
        };
        if !record.report_fight() {
            return;
        }
        self.metrics.fights.inc();
        let writer = record
            .workload
            .last_writer
            .as_deref()
            .unwrap_or("unknown")
            .to_owned();
        warn!(workload = %id, writer, "something keeps undoing what Restamp writes; trying again later");
        let message = format!(
            "Something keeps removing or changing Restamp's annotations (the field manager {writer:?} wrote the \
             workload last); Restamp repairs them less and less often. Let it keep annotations that it does not \
             know, or opt the workload out."
        );
        self.publish(id, EventReason::Fighting, message);
    }

    fn alert(&self, id: &WorkloadId, changed: &[SourceName]) {
        if let (Some(alerts), Some(message)) = (&self.alerts, reloaded::alert(id, changed)) {
            alerts.send(message);
        }
    }

    pub(super) fn write_done(&mut self, written: &Written, result: Result<Workload, Error>) {
        let (id, now) = (&written.id, Instant::now());
        self.tally_write(written, &result, now);
        match result {
            Ok(workload) => {
                self.look_ended(id, Outcome::Success, now);
                self.write_succeeded(written, workload, now);
            }
            Err(Error::Conflict { .. }) => {
                debug!(workload = %id, "it changed meanwhile; deciding again");
                self.jobs.refresh(id.clone());
                return;
            }
            Err(error) => self.write_failed(written, &error, now),
        }
        self.writing.remove(id);
        self.queue.schedule(id, now);
    }

    /// Some Jobs may be deleted, and not made again.
    pub(super) fn finished(&mut self, left: Result<usize, Error>) {
        let left = left.unwrap_or_else(|error| {
            log_failure(
                "cannot tell whether Jobs have to be made again; trying again",
                &error,
            );
            1
        });
        if left > 0 {
            self.finish_at = Some(Instant::now() + FINISH_RETRY);
        }
    }

    fn write_failed(&mut self, written: &Written, error: &Error, now: Instant) {
        let id = &written.id;
        if id.kind.is_made_again() && written.restamp {
            self.finish_at = Some(now + FINISH_RETRY);
        }
        let tried = self.tick();
        let Some(record) = self.records.get_mut(id) else {
            return;
        };
        record.tried = tried;
        if let Error::NotFound { .. } = error {
            debug!(workload = %id, "it was deleted meanwhile; the watch will say so");
            record.failed(now);
        } else if let Some(pause) = self.put_off(id, now) {
            warn!(workload = %id, error = %chain(error), ?pause, "cannot write; trying again");
            if written.restamp {
                self.publish(id, EventReason::ReloadFail, reloaded::failed(id, error));
            }
        }
    }

    fn write_succeeded(&mut self, written: &Written, workload: Workload, now: Instant) {
        let Written {
            id,
            began,
            reason,
            changed,
            is_repair,
            restamp,
        } = written;
        let names: Vec<_> = changed.iter().map(ToString::to_string).collect();
        let sources = names.join(", ");
        if *restamp {
            info!(workload = %id, reason = %reason, sources, "restamped");
        } else {
            info!(workload = %id, reason = %reason, "recorded");
        }
        if let Some(record) = self.records.get_mut(id) {
            record.written(*is_repair, workload.facts.stamp.as_deref(), now);
            record.unsettled = None;
        }
        self.sources.written(*began, workload.version());
        self.answered(workload, Via::Written);
        if *restamp {
            let message = reloaded::event(id, *reason, changed);
            self.publish(id, EventReason::Reloaded, message);
            self.alert(id, changed);
        }
    }

    /// Takes in a workload from the answer to a request, unless the watch has said more since. False if it
    /// is another object of that name: that is for the watch to say.
    pub(super) fn answered(&mut self, workload: Workload, via: Via) -> bool {
        let known = self
            .records
            .get(&workload.id)
            .map(|record| &record.workload);
        let Some(known) = known.filter(|known| known.uid == workload.uid) else {
            return false;
        };
        if !known.is_newer_than(&workload) {
            self.received(workload, via);
        }
        true
    }

    pub(super) fn refresh_done(&mut self, id: &WorkloadId, result: Result<Workload, Error>) {
        self.writing.remove(id);
        let now = Instant::now();
        let learned = match result {
            Ok(workload) => self.answered(workload, Via::Read),
            Err(error) => {
                log_failure("cannot read a workload; trying again", &error);
                self.metrics.reloader.failed();
                false
            }
        };
        if !learned {
            self.put_off(id, now);
        }
        self.queue.schedule(id, now);
    }
}

/// The API server keeps whole seconds: pods that were made within this one are older than the next.
fn next_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second().saturating_add(1)).unwrap_or(Timestamp::MAX)
}

fn entries_of(observed: Observed) -> Entries {
    match observed.recorded {
        Recorded::Entries(entries) => entries,
        Recorded::Folded(_) => Entries::new(),
    }
}
