//! What a process of Restamp needs, whatever it does: logs, metrics, HTTP endpoints, TLS, an
//! orderly end.

pub mod admin;
pub mod ambient;
pub mod certificate;
pub mod https;
pub mod metrics;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
