//! Metrics, with names and labels that come from enums and constants only: no object names, no texts.

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// The handles of every metric of a process.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// Decisions, by reason.
    pub decisions: IntCounterVec,
    /// Writes to workloads, by what was written and how it ended.
    pub writes: IntCounterVec,
    /// Reads of sources, by how they ended.
    pub reads: IntCounterVec,
    /// Events published, by how it ended.
    pub events: IntCounterVec,
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
    /// Seconds from the event that made a workload stale to the write that restamped it.
    pub restamp_seconds: HistogramVec,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When two metrics have the same name, which a test rules out.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let fights = IntCounter::new(
            "restamp_fights_total",
            "Times a workload was left for later because a writer keeps undoing what Restamp writes.",
        )?;
        registry.register(Box::new(fights.clone()))?;
        let restamp_seconds = HistogramVec::new(
            HistogramOpts::new(
                "restamp_restamp_duration_seconds",
                "Seconds from the event that made a workload stale to the write that restamped it, settle window included.",
            )
            .buckets(vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]),
            &["kind"],
        )?;
        registry.register(Box::new(restamp_seconds.clone()))?;
        Ok(Self {
            decisions: counters(
                "restamp_decisions_total",
                "Decisions about workloads, by reason.",
                &["reason"],
            )?,
            writes: counters(
                "restamp_writes_total",
                "Writes to workloads, by what was written (record, restamp) and result.",
                &["write", "result"],
            )?,
            reads: counters(
                "restamp_source_reads_total",
                "Reads of ConfigMaps and Secrets, by result.",
                &["result"],
            )?,
            events: counters(
                "restamp_events_total",
                "Kubernetes Events published, by result.",
                &["result"],
            )?,
            watch_errors: counters(
                "restamp_watch_errors_total",
                "Faults in watches, by resource.",
                &["resource"],
            )?,
            leader: gauge("restamp_leader", "1 while this replica is the active one.")?,
            workloads: gauge("restamp_workloads", "Workloads that are opted in.")?,
            queue_depth: gauge("restamp_queue_depth", "Workloads that wait to be decided.")?,
            fights,
            restamp_seconds,
            registry,
        })
    }

    /// The text exposition format, version 0.0.4.
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
