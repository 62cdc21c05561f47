//! Requests to the API server, under the names that Go's client gives them, and those for which a right was missing.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec};

use super::Registry;

/// Their handles.
#[derive(Clone)]
pub struct RequestMetrics {
    total: IntCounterVec,
    forbidden: IntCounterVec,
    seconds: HistogramVec,
}

impl RequestMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let seconds = HistogramOpts::new(
            "rest_client_request_duration_seconds",
            "Seconds until the API server began to answer, by method and host.",
        )
        .buckets(vec![0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0]);
        Ok(Self {
            total: registry.counters(
                "rest_client_requests_total",
                "Requests to the API server, by status, method and host.",
                &["code", "method", "host"],
            )?,
            forbidden: registry.counters(
                "restamp_forbidden_total",
                "Requests to the API server for which a right was missing, by verb and resource.",
                &["verb", "resource"],
            )?,
            seconds: registry.add(HistogramVec::new(seconds, &["verb", "host"])?)?,
        })
    }

    /// A request ended after `took`, with that status; without one, there was no answer.
    pub fn ended(&self, method: &str, host: &str, status: Option<u16>, took: Duration) {
        let code = status.map_or_else(|| "<error>".to_owned(), |status| status.to_string());
        self.total.with_label_values(&[&*code, method, host]).inc();
        let seconds = self.seconds.with_label_values(&[method, host]);
        seconds.observe(took.as_secs_f64());
    }

    /// A request ended, since this right was missing.
    pub fn forbidden(&self, verb: &str, resource: &str) {
        self.forbidden.with_label_values(&[verb, resource]).inc();
    }
}
