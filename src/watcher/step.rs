//! One look at one workload: find its references, read what has to be read, decide, write.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{
    engine::Engine,
    intake::Via,
    jobs::{Written, log_failure},
    look::{Conclusion, Look, Next},
    reloaded,
    sources::Seq,
};
use crate::{
    cluster::{
        Error,
        error::chain,
        events::EventReason,
        kind::Restart,
        source::Content,
        workload::{Workload, WorkloadId},
    },
    runtime::metrics::{Outcome, Skip},
    stamp::{
        decide::Decision,
        digest::Keyring,
        observed::{Entries, Observed, Recorded},
        patch::Write,
        reason::Reason,
        source::{SourceId, SourceName},
        warning::Warning,
    },
};

/// How long a workload waits for a look at the installation key.
const KEY_PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    /// Looks at a workload.
    pub(super) fn step(&mut self, id: &WorkloadId, now: Instant) {
        let (Some(keyring), false) = (self.keyring.clone(), self.writing.contains(id)) else {
            return;
        };
        let Some(record) = self.records.get_mut(id) else {
            return;
        };
        if let Some(at) = record.not_before.filter(|at| *at > now) {
            self.queue.schedule(id, at);
            return;
        }
        record.not_before = None;
        record.looked_at.get_or_insert(now);
        if !record.workload.facts.policy.opted_in() {
            (record.unsettled, record.stale) = (None, None);
            let warnings = record.workload.facts.warnings.clone();
            self.say(id, &warnings);
            self.tally_decision(id, Reason::NotOptedIn, false);
            self.look_ended(id, Outcome::Skipped, now);
            return;
        }
        if self.may_be_under_a_newer_key(id, &keyring) {
            self.key_wanted = Some(now);
            self.look_later(id, now + KEY_PAUSE);
            return;
        }
        match self.next(id, &keyring, now) {
            None => {}
            Some(Next::Wait(at)) => self.look_later(id, at),
            Some(Next::Read(sources)) => self.read(id, sources, &keyring),
            Some(Next::Act(conclusion)) => {
                self.say(id, &conclusion.warnings);
                self.act(id, *conclusion, &keyring, now);
            }
        }
    }

    /// Ends a look that decided nothing.
    fn look_later(&mut self, id: &WorkloadId, at: Instant) {
        if let Some(record) = self.records.get_mut(id) {
            record.looked_at = None;
        }
        self.queue.schedule(id, at);
    }

    /// Whether the workload was written with a key that we do not know, since it is younger than our last
    /// look at the key's Secret.
    fn may_be_under_a_newer_key(&self, id: &WorkloadId, keyring: &Keyring) -> bool {
        self.records.get(id).is_some_and(|record| {
            let observed = record.workload.facts.observed.as_ref();
            let is_unknown = observed.is_some_and(|it| keyring.find(&it.key).is_none());
            is_unknown && self.key_seen < record.received
        })
    }

    fn next(&mut self, id: &WorkloadId, keyring: &Keyring, now: Instant) -> Option<Next> {
        let record = self.records.get_mut(id)?;
        let tries_refused = record.retries_refused(now);
        let observed = record.observed(keyring);
        let (sources, policy) = (&self.sources, &*self.settings.policy);
        let look = Look::new(record, observed.as_ref(), sources, keyring, policy);
        let refused = look.unreadable();
        let next = if tries_refused && !refused.is_empty() {
            return Some(Next::Read(refused));
        } else {
            look.next(self.settings.settle, now)
        };
        let record = self.records.get_mut(id)?;
        if let Some(at) = record.refused(!refused.is_empty(), now) {
            self.queue.schedule(id, at);
        }
        Some(next)
    }

    fn read(&mut self, id: &WorkloadId, sources: Vec<SourceId>, keyring: &Arc<Keyring>) {
        for source in sources {
            self.waiting
                .entry(source.clone())
                .or_default()
                .insert(id.clone());
            if self.sources.begin(&source) {
                let began = self.tick();
                self.jobs.read(source, began, keyring.clone());
            }
        }
    }

    fn act(&mut self, id: &WorkloadId, conclusion: Conclusion, keyring: &Keyring, now: Instant) {
        let reason = conclusion.decision.reason();
        let (observed, start, changed) = match conclusion.decision {
            Decision::Leave(reason) => {
                self.tally_decision(id, reason, false);
                self.look_ended(id, Outcome::Skipped, now);
                debug!(workload = %id, reason = %reason, "nothing to do");
                if let Some(record) = self.records.get_mut(id) {
                    record.at_rest();
                    record.unfolded = conclusion.unfolded.or(record.unfolded.take());
                }
                return;
            }
            Decision::Record { observed, .. } => (observed, None, Vec::new()),
            Decision::Restamp {
                observed,
                start,
                changed,
                ..
            } => (observed, Some(start), changed),
        };
        let restamp = start.is_some();
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
        let Some(key) = keyring.find(&observed.key) else {
            return;
        };
        let (annotation, began) = (observed.to_annotation(key), self.tick());
        let now = (self.settings.ambient.now)();
        if let Some(record) = self.records.get_mut(id) {
            record.unfolded = annotation.folded.then(|| entries_of(observed));
            let write = Write {
                // Whatever else moved the template, the next run has it.
                run_now: id.kind.restart == Restart::Job && reason == Reason::ContentChanged,
                start,
                observed: annotation.text,
                now: now.to_string(),
            };
            let written = Written {
                id: id.clone(),
                began,
                reason,
                changed,
                is_repair,
                restamp,
            };
            self.writing.insert(id.clone());
            let version = record.workload.resource_version.clone();
            self.jobs.write(written, version, write);
        }
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

    fn publish(&mut self, id: &WorkloadId, reason: EventReason, message: String) {
        if let Some(record) = self.records.get(id) {
            let now = (self.settings.ambient.now)();
            self.jobs
                .event(record.workload.clone(), reason, message, now);
        }
    }

    fn alert(&self, id: &WorkloadId, changed: &[SourceName]) {
        if let (Some(alerts), Some(message)) = (&self.alerts, reloaded::alert(id, changed)) {
            alerts.send(message);
        }
    }

    /// Tells people what is wrong, once.
    fn say(&mut self, id: &WorkloadId, warnings: &[Warning]) {
        let Some(record) = self.records.get_mut(id) else {
            return;
        };
        if record.said == warnings {
            return;
        }
        let said = std::mem::replace(&mut record.said, warnings.to_vec());
        for warning in warnings.iter().filter(|warning| !said.contains(warning)) {
            warn!(workload = %id, reason = warning.reason(), "{warning}");
            if warning.is_of_annotations() {
                self.publish(id, EventReason::InvalidAnnotation, warning.to_string());
            }
        }
    }

    pub(super) fn read_done(&mut self, id: SourceId, began: Seq, result: Result<Content, Error>) {
        if began < self.keyring_since {
            return;
        }
        let label = result.as_ref().map_or_else(Error::reason, |_| "ok");
        self.metrics.reads.with_label_values(&[label]).inc();
        let waiting = self.waiting.remove(&id).unwrap_or_default();
        let now = Instant::now();
        if result.is_err() {
            self.metrics.reloader.failed();
        }
        match result {
            Ok(content) => {
                if self.sources.finish(id, began, Some(content)) {
                    self.metrics.reloader.skip(Skip::NoDataChange);
                }
            }
            Err(error @ Error::Forbidden { .. }) => {
                log_failure("a source is left out of the comparison", &error);
                self.sources.finish(id, began, None);
            }
            Err(error) => {
                log_failure("cannot read a source; trying again", &error);
                self.sources.abandon(&id);
                for workload in &waiting {
                    self.put_off(workload, now);
                }
            }
        }
        for id in waiting {
            self.queue.schedule(&id, now);
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

    fn write_failed(&mut self, written: &Written, error: &Error, now: Instant) {
        let id = &written.id;
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
    fn answered(&mut self, workload: Workload, via: Via) -> bool {
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

    pub(super) fn event_done(&mut self, id: &WorkloadId, result: Result<(), Error>) {
        let label = result.as_ref().map_or_else(Error::reason, |()| "ok");
        self.metrics.events.with_label_values(&[label]).inc();
        match result {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => warn!(workload = %id, error = %chain(&error), "cannot publish an Event"),
        }
    }
}

fn entries_of(observed: Observed) -> Entries {
    match observed.recorded {
        Recorded::Entries(entries) => entries,
        Recorded::Folded(_) => Entries::new(),
    }
}
