//! What Helm makes of `charts/restamp`, and what an API server and the program make of that. tests/it/chart.rs has what
//! the chart is made of.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

mod can_i;
mod cert_manager;
mod helm;
mod kustomize;
mod modes;
mod names;
mod notes;
mod objects;
mod oldest;
mod pods;
mod processes;
mod promql;
mod release;
mod releases;
mod rights;
mod snapshots;
mod started;
mod values;
