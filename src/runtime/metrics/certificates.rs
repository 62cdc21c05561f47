//! Metrics of the certificates that Restamp makes itself.

use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use super::Registry;

/// Their handles.
#[derive(Clone)]
pub struct CertificateMetrics {
    /// When the CA (`authority`) and the serving certificate (`serving`) expire, in seconds since 1970.
    pub expiry: IntGaugeVec,
    /// What was done about them, by reason and by how it ended.
    pub steps: IntCounterVec,
}

impl CertificateMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let expiry = IntGaugeVec::new(
            Opts::new(
                "restamp_managed_certificate_expiry_timestamp_seconds",
                "When the CA (authority) and the serving certificate (serving) expire that Restamp makes itself, in seconds since 1970.",
            ),
            &["certificate"],
        )?;
        Ok(Self {
            expiry: registry.add(expiry)?,
            steps: registry.counters(
                "restamp_certificate_steps_total",
                "Writes to the Secrets of certificates and to caBundle, by reason and result.",
                &["reason", "result"],
            )?,
        })
    }
}
