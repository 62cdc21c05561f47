//! Metrics under the names that stakater/Reloader gives them, so that its dashboards and alerts go on working.
//! What each one means here is in `docs/metrics.md`; those that can mean nothing here are left out.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use super::Registry;

/// Buckets of the times that a look or the queue takes.
const SHORT: [f64; 11] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];
/// Buckets of the times from an event to a restart.
const LONG: [f64; 11] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// How a look at a workload ended.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// What had to be written was.
    Success,
    /// A request failed, and the look is put off.
    Error,
    /// Nothing had to be done.
    Skipped,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Error => "error",
            Outcome::Skipped => "skipped",
        }
    }
}

/// Why a change of a source restarts nothing.
#[derive(Clone, Copy, Debug)]
pub enum Skip {
    /// The content is what it was.
    NoDataChange,
    /// The source is marked to be ignored.
    Ignored,
}

impl Skip {
    fn as_str(self) -> &'static str {
        match self {
            Skip::NoDataChange => "no_data_change",
            Skip::Ignored => "ignored_or_not_selected",
        }
    }
}

/// Their handles.
#[derive(Clone)]
pub struct ReloaderMetrics {
    /// Of the queue.
    pub queue: QueueMetrics,
    /// Looks that were put off by a failure.
    pub retries: IntCounter,
    restarts: Restarts,
    looks: Looks,
    skipped: IntCounterVec,
    events: IntCounterVec,
    errors: IntCounterVec,
}

/// Of the queue.
#[derive(Clone)]
pub struct QueueMetrics {
    /// Workloads whose time has come and that were not looked at yet.
    pub depth: IntGauge,
    /// Times an event put a workload into the queue.
    pub adds: IntCounter,
    seconds: Histogram,
}

#[derive(Clone)]
struct Restarts {
    executed: IntCounterVec,
    by_namespace: Option<IntCounterVec>,
    actions: IntCounterVec,
    seconds: HistogramVec,
}

#[derive(Clone)]
struct Looks {
    ended: IntCounterVec,
    seconds: HistogramVec,
    scanned: IntCounterVec,
    matched: IntCounterVec,
}

impl QueueMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let seconds = HistogramOpts::new(
            "reloader_workqueue_latency_seconds",
            "Seconds that a workload was looked at later than its time had come.",
        );
        Ok(Self {
            depth: registry.gauge(
                "reloader_workqueue_depth",
                "Workloads whose time to be looked at has come.",
            )?,
            adds: registry.counter(
                "reloader_workqueue_adds_total",
                "Times an event put a workload into the queue.",
            )?,
            seconds: registry.add(Histogram::with_opts(seconds.buckets(SHORT.to_vec()))?)?,
        })
    }

    /// A workload is looked at this much later than its time had come.
    pub fn taken(&self, late: Duration) {
        self.seconds.observe(late.as_secs_f64());
    }
}

impl Restarts {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let executed = registry.counters(
            "reloader_reload_executed_total",
            "Writes that restart a workload, by whether they succeeded.",
            &["success"],
        )?;
        for success in ["true", "false"] {
            executed.with_label_values(&[success]);
        }
        Ok(Self {
            executed,
            by_namespace: None,
            actions: registry.counters(
                "reloader_action_total",
                "Writes that restart a workload, by its kind and result.",
                &["workload_kind", "result"],
            )?,
            seconds: registry.histograms(
                "reloader_action_latency_seconds",
                "Seconds from the event that made a workload stale to the end of a write that restarts it.",
                &LONG,
                "workload_kind",
            )?,
        })
    }
}

impl Looks {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            ended: registry.counters(
                "reloader_reconcile_total",
                "Looks at workloads that came to an end, by result.",
                &["result"],
            )?,
            seconds: registry.histograms(
                "reloader_reconcile_duration_seconds",
                "Seconds that a look at a workload took, its reads and its write included.",
                &[&SHORT[..], &[10.0]].concat(),
                "result",
            )?,
            scanned: registry.counters(
                "reloader_workloads_scanned_total",
                "Decisions about workloads, by kind.",
                &["kind"],
            )?,
            matched: registry.counters(
                "reloader_workloads_matched_total",
                "Decisions to restart a workload, by kind.",
                &["kind"],
            )?,
        })
    }
}

impl ReloaderMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            queue: QueueMetrics::new(registry)?,
            retries: registry.counter(
                "reloader_retries_total",
                "Times a workload was put off because a request failed.",
            )?,
            restarts: Restarts::new(registry)?,
            looks: Looks::new(registry)?,
            skipped: registry.counters(
                "reloader_skipped_total",
                "Changes of sources that restart nothing, by reason.",
                &["reason"],
            )?,
            events: registry.counters(
                "reloader_events_received_total",
                "Changes of sources, by what happened to them and by resource.",
                &["event_type", "resource_type"],
            )?,
            errors: registry.counters(
                "reloader_errors_total",
                "Requests that failed, of those that a restart depends on.",
                &["type"],
            )?,
        })
    }

    pub(super) fn by_namespace(&mut self, registry: &Registry) -> prometheus::Result<()> {
        self.restarts.by_namespace = Some(registry.counters(
            "reloader_reload_executed_total_by_namespace",
            "Writes that restart a workload, by whether they succeeded and by namespace.",
            &["success", "namespace"],
        )?);
        Ok(())
    }

    /// A write that restarts a workload ended; `took` is since the event that made it stale, if that is known.
    pub fn reloaded(&self, kind: &str, namespace: &str, success: bool, took: Option<Duration>) {
        let (executed, result) = match success {
            true => ("true", "success"),
            false => ("false", "error"),
        };
        let restarts = &self.restarts;
        restarts.executed.with_label_values(&[executed]).inc();
        if let Some(by_namespace) = &restarts.by_namespace {
            by_namespace.with_label_values(&[executed, namespace]).inc();
        }
        restarts.actions.with_label_values(&[kind, result]).inc();
        if let Some(took) = took {
            let seconds = restarts.seconds.with_label_values(&[kind]);
            seconds.observe(took.as_secs_f64());
        }
    }

    /// A source was changed.
    pub fn source_event(&self, event: &str, resource: &str) {
        self.events.with_label_values(&[event, resource]).inc();
    }

    /// A change of a source restarts nothing.
    pub fn skip(&self, why: Skip) {
        self.skipped.with_label_values(&[why.as_str()]).inc();
    }

    /// A decision about a workload of the kind was made.
    pub fn decided(&self, kind: &str, restart: bool) {
        self.looks.scanned.with_label_values(&[kind]).inc();
        let matched = self.looks.matched.with_label_values(&[kind]);
        matched.inc_by(u64::from(restart));
    }

    /// A look at a workload came to an end; `took` is since it was begun, if that is known.
    pub fn reconciled(&self, outcome: Outcome, took: Option<Duration>) {
        let label = [outcome.as_str()];
        self.looks.ended.with_label_values(&label).inc();
        if let Some(took) = took {
            let seconds = self.looks.seconds.with_label_values(&label);
            seconds.observe(took.as_secs_f64());
        }
    }

    /// A request failed that a restart depends on.
    pub fn failed(&self) {
        self.errors.with_label_values(&["handler_error"]).inc();
    }
}
