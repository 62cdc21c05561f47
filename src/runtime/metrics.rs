//! Metrics, with names and labels that come from enums and constants only: no object names, no texts. Namespaces
//! are in labels only where people ask for that.

mod age;
mod certificates;
mod reloader;
mod requests;

pub use age::{AgeGauge, Begun, Ongoing};
pub use certificates::CertificateMetrics;
pub use reloader::{Outcome, QueueMetrics, ReloaderMetrics, Skip};
pub use requests::RequestMetrics;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    TextEncoder,
};

/// Where the metrics of a process are registered.
#[derive(Clone, Default)]
pub struct Registry(prometheus::Registry);

impl Registry {
    /// The text exposition format, version 0.0.4.
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.gather(), &mut text)?;
        Ok(text)
    }

    fn add<M: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: M,
    ) -> prometheus::Result<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.add(IntCounter::new(name, help)?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        label: &str,
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, &[label])?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::new(name, help)?)
    }

    fn stale(&self) -> prometheus::Result<Ongoing> {
        let count = self.gauge(
            "restamp_stale_workloads",
            "Workloads that have to be restarted and have not been.",
        )?;
        let oldest = AgeGauge::new(
            self,
            "restamp_stale_age_seconds",
            "For how long the workload has been stale that has been for the longest.",
        )?;
        Ok(Ongoing::new(count, oldest))
    }

    fn reads(&self) -> prometheus::Result<IntCounterVec> {
        self.counters(
            "restamp_source_reads_total",
            "Reads of ConfigMaps and Secrets, by result.",
            &["result"],
        )
    }
}

/// The handles of the watcher's metrics.
#[derive(Clone)]
pub struct WatcherMetrics {
    /// Where they are registered.
    pub registry: Registry,
    /// Decisions, by reason.
    pub decisions: IntCounterVec,
    /// Writes to workloads, by what was written and how it ended.
    pub writes: IntCounterVec,
    /// Reads of sources, by how they ended.
    pub reads: IntCounterVec,
    /// Events published, by how it ended.
    pub events: IntCounterVec,
    /// Alerts, by what became of them.
    pub alerts: IntCounterVec,
    /// Times a workload was left for later because a writer keeps undoing what we write.
    pub fights: IntCounter,
    /// Faults in watches, by resource.
    pub watch_errors: IntCounterVec,
    /// 1 while this replica is the active one.
    pub leader: IntGauge,
    /// Workloads known, opted in.
    pub workloads: IntGauge,
    /// Workloads that wait to be decided.
    pub queue_depth: IntGauge,
    /// How long the oldest workload whose time has come has waited.
    pub queue_age: AgeGauge,
    /// Workloads that have to be restarted and have not been.
    pub stale: Ongoing,
    /// Seconds from the event that made a workload stale to the write that restamped it.
    pub restamp_seconds: HistogramVec,
    /// The certificates that Restamp makes itself.
    pub certificates: CertificateMetrics,
    /// The same facts and others under Reloader's names.
    pub reloader: ReloaderMetrics,
    /// Requests to the API server.
    pub requests: RequestMetrics,
}

impl WatcherMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When two metrics have the same name, which a test rules out.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::default();
        Ok(Self {
            decisions: registry.counters(
                "restamp_decisions_total",
                "Decisions about workloads, by reason.",
                &["reason"],
            )?,
            writes: registry.counters(
                "restamp_writes_total",
                "Writes to workloads, by what was written (record, restamp) and result.",
                &["write", "result"],
            )?,
            reads: registry.reads()?,
            events: registry.counters(
                "restamp_events_total",
                "Kubernetes Events published, by result.",
                &["result"],
            )?,
            alerts: registry.counters(
                "restamp_alerts_total",
                "Alerts about restarts, by result (sent, failed, dropped).",
                &["result"],
            )?,
            fights: registry.counter(
                "restamp_fights_total",
                "Times a workload was left for later because a writer keeps undoing what Restamp writes.",
            )?,
            watch_errors: registry.counters(
                "restamp_watch_errors_total",
                "Faults in watches, by resource.",
                &["resource"],
            )?,
            leader: registry.gauge("restamp_leader", "1 while this replica is the active one.")?,
            workloads: registry.gauge("restamp_workloads", "Workloads that are opted in.")?,
            queue_depth: registry
                .gauge("restamp_queue_depth", "Workloads that wait to be decided.")?,
            queue_age: AgeGauge::new(
                &registry,
                "restamp_queue_age_seconds",
                "How long the oldest workload has waited whose time to be decided has come.",
            )?,
            stale: registry.stale()?,
            restamp_seconds: registry.histograms(
                "restamp_restamp_duration_seconds",
                "Seconds from the event that made a workload stale to the write that restamped it, settle window included.",
                &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0],
                "kind",
            )?,
            certificates: CertificateMetrics::new(&registry)?,
            reloader: ReloaderMetrics::new(&registry)?,
            requests: RequestMetrics::new(&registry)?,
            registry,
        })
    }

    /// Counts restarts by namespace, too.
    ///
    /// # Errors
    /// When that was said twice.
    pub fn by_namespace(mut self) -> prometheus::Result<Self> {
        self.reloader.by_namespace(&self.registry)?;
        Ok(self)
    }
}

/// The handles of the webhook's metrics.
#[derive(Clone)]
pub struct WebhookMetrics {
    /// Where they are registered.
    pub registry: Registry,
    /// Answered admission reviews, by reason.
    pub admissions: IntCounterVec,
    /// Requests that were no admission review, by HTTP status.
    pub refusals: IntCounterVec,
    /// Reads of sources, by how they ended.
    pub reads: IntCounterVec,
    /// Seconds from the whole request to the answer.
    pub admission_seconds: Histogram,
    /// When the served certificate expires, in seconds since 1970; 0 without one.
    pub certificate_expiry: IntGauge,
    /// Requests to the API server.
    pub requests: RequestMetrics,
}

impl WebhookMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When two metrics have the same name, which a test rules out.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::default();
        Ok(Self {
            admissions: registry.counters(
                "restamp_admissions_total",
                "Answered admission reviews, by reason.",
                &["reason"],
            )?,
            refusals: registry.counters(
                "restamp_admission_refusals_total",
                "Requests to the webhook that were no admission review, by HTTP status.",
                &["status"],
            )?,
            reads: registry.reads()?,
            admission_seconds: registry.add(Histogram::with_opts(
                HistogramOpts::new(
                    "restamp_admission_duration_seconds",
                    "Seconds that it took to answer an admission review, once it had arrived.",
                )
                .buckets(vec![
                    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
                ]),
            )?)?,
            certificate_expiry: registry.gauge(
                "restamp_certificate_expiry_timestamp_seconds",
                "When the served certificate expires, in seconds since 1970; 0 without one.",
            )?,
            requests: RequestMetrics::new(&registry)?,
            registry,
        })
    }
}
