//! The admission webhook: stamps workloads while they are written.
//!
//! ```text
//!  bytes -> routes -> review -> admit -> stamp/ plan -> cluster/ read -> stamp/ verdict -> JSON patch
//!           (HTTP)    (JSON)             (pure)          (I/O)           (pure)
//! ```
//!
//! It keeps no state but the installation key, denies nothing, and writes nothing: what it cannot do in
//! time, the watcher does later.

mod admit;
mod keyring;
mod review;
mod routes;

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use admit::Admitter;
pub use keyring::CurrentKeyring;
pub use routes::{PATH, router};

use crate::{
    cluster::kind::Kinds,
    runtime::{
        admin::{self, Readiness},
        certificate::Certificate,
        https,
        metrics::WebhookMetrics,
        tasks::{TaskError, Tasks},
    },
    stamp::settings::PolicySettings,
};

/// How long an orderly end may take; less than a pod's grace period.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// What the webhook is told to do.
#[derive(Clone)]
pub struct Settings {
    /// The namespace of the installation key.
    pub namespace: String,
    /// Which kinds are workloads.
    pub kinds: Kinds,
    /// What holds for every workload.
    pub policy: Arc<PolicySettings>,
    /// Where the serving certificate is.
    pub cert_dir: PathBuf,
    /// The wall clock, to tell whether a certificate is valid.
    pub now: fn() -> Timestamp,
}

/// Where the webhook listens.
pub struct Listeners {
    /// For admission reviews, over HTTPS.
    pub webhook: TcpListener,
    /// For metrics and health, over plain HTTP.
    pub admin: TcpListener,
}

/// Why the webhook ended without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The TLS library refuses its settings.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// A part of it ended.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// Runs the webhook until `shutdown`, and then until all requests have been answered.
///
/// # Errors
/// When a part of it ends by itself: the process then has to be restarted.
pub async fn run(
    client: Client,
    settings: Settings,
    metrics: WebhookMetrics,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<(), WebhookError> {
    let readiness = Readiness::default();
    let certificate = Arc::new(Certificate::new(
        settings.cert_dir,
        settings.now,
        readiness.clone(),
    ));
    let tls = https::tls(certificate.clone())?;
    let keyring = CurrentKeyring::default();
    let admitter = Admitter {
        client: client.clone(),
        namespace: settings.namespace.clone(),
        keyring: keyring.clone(),
        kinds: settings.kinds,
        policy: settings.policy,
        metrics: metrics.clone(),
    };
    let mut tasks = Tasks::new(shutdown.clone());
    let expiry = metrics.certificate_expiry.clone();
    tasks.spawn("certificate", async move {
        certificate.follow(&expiry).await;
    });
    let follow = keyring.follow(client, settings.namespace, readiness.clone());
    tasks.spawn("installation key", follow);
    let served = CancellationToken::new();
    let (done, leaving) = (served.clone(), readiness.clone());
    tasks.spawn_orderly("HTTPS", async move {
        let leave = async {
            shutdown.cancelled().await;
            leaving.waits_for("shutdown", "asked to stop");
        };
        let serve = https::serve(listeners.webhook, tls, router(admitter), shutdown.clone());
        tokio::join!(leave, serve);
        done.cancel();
        Ok(())
    });
    let endpoints = admin::router(metrics.registry, readiness);
    tasks.spawn_orderly("HTTP", admin::serve(listeners.admin, endpoints, served));
    Ok(tasks.run(LAST_WORDS).await?)
}
