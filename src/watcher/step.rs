//! One look at one workload: find its references, read what has to be read, decide, write.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    engine::Engine,
    jobs::log_failure,
    look::{Conclusion, Look, Next},
    sources::Seq,
    write::Planned,
};
use crate::{
    cluster::{
        Error,
        error::chain,
        events::EventReason,
        source::Content,
        workload::{Life, WorkloadId},
    },
    runtime::metrics::{Outcome, Skip},
    stamp::{
        decide::Decision, digest::Keyring, reason::Reason, source::SourceId, warning::Warning,
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
        let scope = self.settings.policy.namespaces.scope_of(&id.namespace);
        if !scope.is_some_and(|scope| self.sources.is_listed(scope)) {
            // It is woken when they are.
            return;
        }
        let is_selected = self.is_selected(&id.namespace);
        let Some(record) = self.records.get_mut(id) else {
            return;
        };
        if let Some(at) = record.not_before.filter(|at| *at > now) {
            self.queue.schedule(id, at);
            return;
        }
        record.not_before = None;
        if !is_selected {
            self.leave(id, Reason::NamespaceNotSelected, now);
            return;
        }
        if self.resumes(id, now) {
            return;
        }
        let Some(record) = self.records.get_mut(id) else {
            return;
        };
        record.looked_at.get_or_insert(now);
        if !record.workload.facts.policy.opted_in() {
            let warnings = record.workload.facts.warnings.clone();
            self.say(id, &warnings);
            self.leave(id, Reason::NotOptedIn, now);
            return;
        }
        if record.workload.life == Life::Over {
            self.leave(id, Reason::Over, now);
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
    pub(super) fn look_later(&mut self, id: &WorkloadId, at: Instant) {
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
        match conclusion.decision {
            Decision::Leave(reason) => {
                self.tally_decision(id, reason, false);
                self.look_ended(id, Outcome::Skipped, now);
                debug!(workload = %id, reason = %reason, "nothing to do");
                if let Some(record) = self.records.get_mut(id) {
                    record.at_rest();
                    record.unfolded = conclusion.unfolded.or(record.unfolded.take());
                }
            }
            Decision::Record { reason, observed } => {
                self.write(id, Planned::record(reason, observed), keyring, now);
            }
            Decision::Restamp {
                reason,
                changed,
                start,
                observed,
            } => match self.held_back_until(id, now) {
                Some(at) => self.look_later(id, at),
                None => {
                    let planned = Planned {
                        reason,
                        changed,
                        start: Some(start),
                        observed,
                    };
                    self.write(id, planned, keyring, now);
                }
            },
        }
    }

    pub(super) fn publish(&mut self, id: &WorkloadId, reason: EventReason, message: String) {
        if let Some(record) = self.records.get(id) {
            let now = (self.settings.ambient.now)();
            self.jobs
                .event(record.workload.clone(), reason, message, now);
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

    pub(super) fn event_done(&mut self, id: &WorkloadId, result: Result<(), Error>) {
        let label = result.as_ref().map_or_else(Error::reason, |()| "ok");
        self.metrics.events.with_label_values(&[label]).inc();
        match result {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => warn!(workload = %id, error = %chain(&error), "cannot publish an Event"),
        }
    }
}
