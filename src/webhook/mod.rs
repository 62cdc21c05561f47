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
    cluster::{certificates, error::chain, kind::Kinds},
    runtime::{
        admin::{self, Readiness},
        certificate::{CERTIFICATE_FILE, Certificate, CertificateError, KEY_FILE, POLL, Pair},
        https,
        metrics::WebhookMetrics,
        tasks::{TaskError, Tasks},
    },
    stamp::settings::PolicySettings,
};

/// How long an orderly end may take; less than a pod's grace period.
const LAST_WORDS: Duration = Duration::from_secs(20);
/// How often the Secret with the serving certificate is read.
const SECRET_POLL: Duration = Duration::from_secs(5);

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
    pub certificate: CertificateSource,
    /// The wall clock, to tell whether a certificate is valid.
    pub now: fn() -> Timestamp,
}

/// Where a serving certificate is.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// In files of a folder.
    Folder(PathBuf),
    /// In the Secret of this name, in our own namespace.
    Secret(String),
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
    let origin = match &settings.certificate {
        CertificateSource::Folder(dir) => dir.display().to_string(),
        CertificateSource::Secret(name) => format!("Secret {}/{name}", settings.namespace),
    };
    let certificate = Certificate::new(origin, settings.now, readiness.clone());
    let certificate = Arc::new(certificate);
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
    let (asks, home) = (client.clone(), settings.namespace.clone());
    match settings.certificate {
        CertificateSource::Folder(dir) => tasks.spawn("certificate", async move {
            let read = || std::future::ready(Pair::of_folder(&dir));
            certificate.follow(&expiry, POLL, read).await;
        }),
        CertificateSource::Secret(name) => tasks.spawn("certificate", async move {
            let read = || of_secret(&asks, &home, &name);
            certificate.follow(&expiry, SECRET_POLL, read).await;
        }),
    }
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

/// Reads the serving certificate from a Secret, whoever has made that.
async fn of_secret(client: &Client, namespace: &str, name: &str) -> Result<Pair, CertificateError> {
    let stored = certificates::read(client, namespace, name).await;
    let stored = stored.map_err(|error| CertificateError::Secret(chain(&error)))?;
    let mut stored = stored.ok_or_else(|| {
        CertificateError::Secret(format!(
            "there is no Secret {namespace}/{name}; the watcher makes it if it is told the --webhook-configuration"
        ))
    })?;
    let mut take = |entry| stored.data.remove(entry).unwrap_or_default();
    Ok(Pair {
        certificate: take(CERTIFICATE_FILE),
        key: take(KEY_FILE),
    })
}
