//! Restamp keeps Kubernetes workloads on their current configuration.
//!
//! ```text
//!  source changed -> watcher/ -> stamp/ plan -> cluster/ read -> stamp/ decide -> cluster/ write: rollout
//!                                 (pure)          (I/O)            (pure)
//! ```
//!
//! `stamp` is the pure core: what a workload uses, what it was started with, and what to do about it.
//! `cluster` is the only code that talks to the API server. `watcher`, `explain`, `check` and `migrate` are shells over
//! both, `alerts` tells people about restarts, beside the watcher, and `runtime` is what any process
//! needs: logs, metrics, HTTP endpoints, shutdown.

pub mod alerts;
pub mod certificates;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod explain;
pub mod migrate;
pub mod runtime;
pub mod stamp;
pub mod watcher;
pub mod webhook;
