//! What Restamp promises, on a real API server with real controllers.
//!
//! `make e2e` provides the control plane. The tests share it and one watcher, each in namespaces of its
//! own; a test that breaks parts starts a control plane of its own.

mod support;

mod bad_input;
mod cost;
mod explain;
mod fights;
mod keys;
mod outages;
mod promises;
mod rights;
