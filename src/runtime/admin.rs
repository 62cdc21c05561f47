//! The plain-HTTP endpoints: `/metrics`, `/healthz`, `/readyz`, and Reloader's `/live`.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::Registry;

/// What is still missing before the process is ready, each with why.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, String>>>);

impl Readiness {
    /// `what` is missing because of `why`.
    pub fn waits_for(&self, what: &str, why: impl Into<String>) {
        self.with(|missing| missing.insert(what.to_owned(), why.into()));
    }

    /// `what` is there.
    pub fn has(&self, what: &str) {
        self.with(|missing| missing.remove(what));
    }

    /// One line for each thing that is missing; nothing when ready.
    pub fn missing(&self) -> Vec<String> {
        self.with(|missing| {
            missing
                .iter()
                .map(|(what, why)| format!("{what}: {why}"))
                .collect()
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Clone)]
struct Admin {
    metrics: Registry,
    readiness: Readiness,
}

/// The endpoints.
pub fn router(metrics: Registry, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(|| async { "ok" }))
        .route("/live", get(|| async { "alive" }))
        .route("/readyz", get(ready))
        .with_state(Admin { metrics, readiness })
}

/// Serves the endpoints until `shutdown`.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

async fn metrics_text(State(admin): State<Admin>) -> Response {
    match admin.metrics.render() {
        Ok(text) => (
            [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(admin): State<Admin>) -> Response {
    let missing = admin.readiness.missing();
    if missing.is_empty() {
        "ok".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n")).into_response()
    }
}
