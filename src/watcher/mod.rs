//! The watcher: restamps workloads whose sources changed.
//!
//! ```text
//!  streams -> intake -> step -> look -> jobs: read, write -> engine
//!             (tables)         (pure rule)                   (owns it all)
//! ```
//!
//! Level-triggered: events only wake the comparison of what is recorded with what is live. Starting,
//! becoming leader and re-listing are the same comparison, for every workload.

mod engine;
mod intake;
mod jobs;
mod look;
mod queue;
mod record;
mod sources;
mod step;
mod streams;

use std::time::Duration;

use kube::Client;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{
        lease::{Elector, Timing},
        workload::KINDS,
    },
    runtime::{
        admin::{self, Readiness},
        ambient::Ambient,
        metrics::Metrics,
    },
    stamp::source::SourceKind,
};
use engine::Engine;
use streams::Streams;

/// The name of the Lease.
pub const LEASE: &str = "restamp-watcher";

/// How long an orderly end may take: the Lease is given back, and requests are answered.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Events that may wait to be taken in before the watches are slowed down.
const INPUTS: usize = 1024;

/// What the watcher is told to do.
#[derive(Clone)]
pub struct Settings {
    /// The namespace of the Lease and of the installation key.
    pub namespace: String,
    /// Who we are in the Lease.
    pub identity: String,
    /// How long a stale workload is left alone in case its deploy is still under way. Zero: not at all.
    pub settle: Duration,
    /// Wall clock and randomness.
    pub ambient: Ambient,
}

/// Why the watcher ended without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum WatcherError {
    /// A task ended, or panicked.
    #[error("the {0} task ended")]
    Ended(&'static str),
    /// The HTTP endpoints broke.
    #[error("the HTTP endpoints broke")]
    Admin(#[source] std::io::Error),
    /// A task panicked.
    #[error("a task panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

/// Runs the watcher until `shutdown`.
///
/// # Errors
/// When a part of it ends by itself: the process then has to be restarted.
pub async fn run(
    client: Client,
    settings: Settings,
    metrics: Metrics,
    admin_listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), WatcherError> {
    let readiness = Readiness::default();
    let (inputs, received) = mpsc::channel(INPUTS);
    let streams = Streams {
        client: client.clone(),
        inputs,
        metrics: metrics.clone(),
        readiness: readiness.clone(),
    };
    let (leading, leader) = watch::channel(false);
    let elector = Elector {
        client: client.clone(),
        namespace: settings.namespace.clone(),
        name: LEASE.to_owned(),
        identity: settings.identity.clone(),
        timing: Timing::default(),
        wall_clock: settings.ambient.now,
    };
    let mut tasks = JoinSet::new();
    for kind in &KINDS {
        let watch = streams.clone().workloads(kind);
        tasks.spawn(ended("watch", shutdown.clone(), watch));
    }
    for kind in SourceKind::ALL {
        let watch = streams.clone().sources(kind);
        tasks.spawn(ended("watch", shutdown.clone(), watch));
    }
    drop(streams);
    let engine = Engine::new(client, settings, metrics.clone(), readiness.clone());
    tasks.spawn(ended(
        "engine",
        shutdown.clone(),
        engine.run(received, leader, shutdown.clone()),
    ));
    tasks.spawn(ended(
        "election",
        CancellationToken::new(),
        elector.run(leading, shutdown.clone()),
    ));
    let router = admin::router(metrics, readiness);
    let stop = shutdown.clone();
    tasks.spawn(async move {
        admin::serve(admin_listener, router, stop)
            .await
            .map_err(WatcherError::Admin)?;
        Ok("HTTP")
    });
    supervise(tasks, shutdown).await
}

/// Waits until a task ends before `shutdown`, which ends the rest, or until all have ended after it.
async fn supervise(
    mut tasks: JoinSet<Result<&'static str, WatcherError>>,
    shutdown: CancellationToken,
) -> Result<(), WatcherError> {
    let deadline = async {
        shutdown.cancelled().await;
        sleep(LAST_WORDS).await;
    };
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            let name = ended.map_err(WatcherError::Panicked)??;
            if !shutdown.is_cancelled() {
                return Err(WatcherError::Ended(name));
            }
        }
        Ok(())
    };
    tokio::select! {
        biased;
        ended = all => ended,
        // Somebody keeps a connection open.
        () = deadline => Ok(()),
    }
}

async fn ended(
    name: &'static str,
    shutdown: CancellationToken,
    task: impl Future<Output = ()>,
) -> Result<&'static str, WatcherError> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = task => {}
    }
    Ok(name)
}
