//! What the engine counts: each fact in one place.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    engine::Engine,
    jobs::Written,
    sources::{Change, What},
};
use crate::{
    cluster::{
        Error, csi,
        workload::{Workload, WorkloadId},
    },
    runtime::metrics::{Outcome, Skip, WatcherMetrics},
    stamp::reason::Reason,
};

impl Engine {
    pub(super) fn tally_queue(&mut self, now: Instant) {
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let (overdue, first) = self.queue.overdue(now);
        let metrics = &self.metrics;
        metrics.queue_depth.set(gauge(self.queue.len()));
        metrics.queue_age.set(first);
        metrics.reloader.queue.depth.set(gauge(overdue));
    }

    /// Pods show that a class of the CSI driver provides something else.
    pub(super) fn tally_class(&self) {
        let metrics = &self.metrics.reloader;
        metrics.source_event("update", csi::POD_STATUSES);
    }

    pub(super) fn tally_decision(&self, id: &WorkloadId, reason: Reason, restart: bool) {
        let metrics = &self.metrics;
        let decisions = metrics.decisions.with_label_values(&[reason.as_str()]);
        decisions.inc();
        metrics.reloader.decided(id.kind.kind, restart);
    }

    /// Counts a write that ended. One that somebody else forestalled is no failure to restart: what they wrote is
    /// looked at next.
    pub(super) fn tally_write(
        &self,
        written: &Written,
        result: &Result<Workload, Error>,
        now: Instant,
    ) {
        let metrics = &self.metrics;
        let what = if written.restamp { "restamp" } else { "record" };
        let label = result.as_ref().map_or_else(Error::reason, |_| "ok");
        metrics.writes.with_label_values(&[what, label]).inc();
        if let Err(Error::Conflict { .. } | Error::NotFound { .. }) = result {
            return;
        }
        if result.is_err() {
            metrics.reloader.failed();
        }
        if written.restamp {
            self.tally_restart(&written.id, result.is_ok(), now);
        }
    }

    fn tally_restart(&self, id: &WorkloadId, success: bool, now: Instant) {
        let metrics = &self.metrics;
        let unsettled = self.records.get(id).and_then(|record| record.unsettled);
        let took = unsettled.map(|unsettled| now.duration_since(unsettled.first));
        let kind = id.kind.kind;
        metrics
            .reloader
            .reloaded(kind, &id.namespace, success, took);
        if let (true, Some(took)) = (success, took) {
            let seconds = metrics.restamp_seconds.with_label_values(&[kind]);
            seconds.observe(took.as_secs_f64());
        }
    }

    /// A look at the workload came to an end.
    pub(super) fn look_ended(&mut self, id: &WorkloadId, outcome: Outcome, now: Instant) {
        let record = self.records.get_mut(id);
        let began = record.and_then(|record| record.looked_at.take());
        let took = began.map(|began| now.duration_since(began));
        self.metrics.reloader.reconciled(outcome, took);
    }

    /// A look at a workload that is not looked after came to an end.
    pub(super) fn leave(&mut self, id: &WorkloadId, reason: Reason, now: Instant) {
        if let Some(record) = self.records.get_mut(id) {
            record.looked_at.get_or_insert(now);
            (record.unsettled, record.stale) = (None, None);
        }
        self.tally_decision(id, reason, false);
        self.look_ended(id, Outcome::Skipped, now);
    }

    /// A request for the workload failed: for how long it is left alone now.
    pub(super) fn put_off(&mut self, id: &WorkloadId, now: Instant) -> Option<Duration> {
        let pause = self.records.get_mut(id)?.failed(now);
        self.look_ended(id, Outcome::Error, now);
        self.metrics.reloader.retries.inc();
        Some(pause)
    }
}

/// Counts what happened to a source, in a namespace that is followed or is not.
pub(super) fn tally_source(metrics: &WatcherMetrics, change: &Change, is_selected: bool) {
    let (event, ignored) = match change.what {
        What::Added => ("add", false),
        What::Updated { ignored } => ("update", ignored),
        What::Deleted => ("delete", false),
    };
    let metrics = &metrics.reloader;
    metrics.source_event(event, change.id.source.kind.plural());
    if ignored || (!is_selected && event == "update") {
        metrics.skip(Skip::Ignored);
    }
}
