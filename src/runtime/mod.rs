//! What a process of Restamp needs, whatever it does: logs, metrics, HTTP endpoints, an orderly end.

pub mod admin;
pub mod ambient;
pub mod metrics;
pub mod shutdown;
pub mod telemetry;
