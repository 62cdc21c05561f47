//! What Restamp promises, on a real API server with real controllers.
//!
//! `make e2e` provides the control plane. The tests share it and one watcher, each in namespaces of its
//! own; a test that breaks parts starts a control plane of its own.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

mod support;

mod bad_input;
mod certificates;
mod conditions;
mod cost;
mod csi;
mod deploys;
mod env_vars;
mod explain;
mod fights;
mod flags;
mod image;
mod jobs;
mod keys;
mod kinds;
mod leaks;
mod matrix;
mod nodes;
mod outages;
mod pauses;
mod promises;
mod rights;
mod scope;
mod switch;
mod webhook_outages;
