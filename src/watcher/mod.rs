//! The watcher: restamps workloads whose sources changed.
//!
//! ```text
//!  streams -> intake -> step -> look -> write -> jobs: requests -> engine
//!             (tables)         (pure rule)                         (owns it all)
//! ```
//!
//! Level-triggered: events only wake the comparison of what is recorded with what is live. Starting,
//! becoming leader and re-listing are the same comparison, for every workload.

mod certificates;
mod engine;
mod intake;
mod jobs;
mod look;
mod namespaces;
mod notifier;
mod pause;
mod queue;
mod record;
mod reloaded;
mod sources;
mod step;
mod streams;
mod tally;
mod write;

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    alerts::{self, Alerts, Receiver},
    cluster::{
        kind::Kinds,
        lease::{Elector, Timing},
    },
    runtime::{
        admin::{self, Readiness},
        ambient::Ambient,
        metrics::WatcherMetrics,
        tasks::{TaskError, Tasks},
    },
    stamp::settings::PolicySettings,
};
use certificates::Keeper;
pub use certificates::Managed;
use engine::Engine;
use notifier::Notifier;
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
    /// Which kinds are workloads.
    pub kinds: Kinds,
    /// What holds for every workload.
    pub policy: Arc<PolicySettings>,
    /// How long a stale workload is left alone in case its deploy is still under way. Zero: not at all.
    pub settle: Duration,
    /// Wall clock and randomness.
    pub ambient: Ambient,
    /// Who is told about restarts.
    pub alerts: Option<Receiver>,
    /// Who is told about changes of sources; then nothing is restarted.
    pub webhook: Option<Receiver>,
    /// The webhook's certificates, if they are to be looked after.
    pub certificates: Option<Managed>,
}

/// Runs the watcher until `shutdown`.
///
/// # Errors
/// When a part of it ends by itself: the process then has to be restarted.
pub async fn run(
    client: Client,
    settings: Settings,
    metrics: WatcherMetrics,
    admin_listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), TaskError> {
    let readiness = Readiness::default();
    let (inputs, received) = mpsc::channel(INPUTS);
    let streams = Streams {
        client: client.clone(),
        inputs,
        metrics: metrics.clone(),
        policy: settings.policy.clone(),
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
    let mut tasks = Tasks::new(shutdown.clone());
    for scope in settings.policy.namespaces.scopes() {
        for kind in settings.kinds.iter().filter(|_| settings.webhook.is_none()) {
            tasks.spawn("watch", streams.clone().workloads(kind, scope));
        }
        for kind in settings.policy.followed() {
            tasks.spawn("watch", streams.clone().sources(kind, scope));
        }
        tasks.spawn("watch", streams.clone().pod_statuses(scope));
    }
    if let Some(selector) = settings.policy.namespaces.selector() {
        tasks.spawn("watch", streams.clone().namespaces(selector));
    }
    drop(streams);
    if let Some(keeper) = Keeper::new(&client, &settings, &metrics, &readiness) {
        tasks.spawn("certificates", keeper.run(leader.clone()));
    }
    let mut tell = |receiver| start_courier(receiver, &settings, &metrics, &mut tasks, &shutdown);
    let alerts = settings.alerts.clone().map(&mut tell);
    let told = settings.webhook.clone().map(&mut tell);
    if let Some(told) = told {
        let policy = settings.policy.clone();
        let notifier = Notifier::new(client, policy, metrics.clone(), told);
        tasks.spawn("notifier", notifier.run(received, leader, shutdown.clone()));
    } else {
        let engine = Engine::new(client, settings, metrics.clone(), readiness.clone(), alerts);
        tasks.spawn("engine", engine.run(received, leader, shutdown.clone()));
    }
    let election = elector.run(leading, shutdown.clone());
    tasks.spawn_orderly("election", async {
        election.await;
        Ok(())
    });
    let router = admin::router(metrics.registry, readiness);
    tasks.spawn_orderly("HTTP", admin::serve(admin_listener, router, shutdown));
    tasks.run(LAST_WORDS).await
}

/// Starts who delivers what is told. He ends a while after the one who tells.
fn start_courier(
    receiver: Receiver,
    settings: &Settings,
    metrics: &WatcherMetrics,
    tasks: &mut Tasks,
    shutdown: &CancellationToken,
) -> Alerts {
    let random = settings.ambient.random;
    let (alerts, courier) = alerts::queue(receiver, random, metrics.alerts.clone());
    let shutdown = shutdown.clone();
    tasks.spawn_orderly("courier", async {
        courier.run(shutdown).await;
        Ok(())
    });
    alerts
}
