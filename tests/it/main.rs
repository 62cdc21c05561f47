//! What can be shown in one process: the router, conversations with a mocked API server, and that the
//! code, the manifests and the documents say the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "clippy's exceptions for tests do not reach the helpers of an integration test"
)]

mod admin;
mod alerts;
mod chart;
mod class_reading;
mod docs;
mod fake_api;
mod logs;
mod manifests;
mod meta_info;
mod purity;
mod reloader_flags;
mod repository;
mod source_reading;
mod watcher;
mod webhook;
