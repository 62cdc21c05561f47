//! `restamp watcher`: its flags and variables.

use std::{sync::Arc, time::Duration};

use clap::Args;
use ring::digest;

use super::{
    AdminArgs, Failure, certificates::CertificateArgs, counting, duration, legacy::LegacyArgs,
    listen, logs::LogArgs, meta_info, not_empty, policy::PolicyArgs, settings,
};
use crate::{
    alerts::{self, Receiver},
    cluster::client,
    runtime::{ambient::Ambient, metrics::WatcherMetrics, shutdown},
    watcher::{self, Settings},
};

/// Reloader's variable that has restarts counted by namespace.
const COUNT_BY_NAMESPACE: &str = "METRICS_COUNT_BY_NAMESPACE";

#[derive(Args)]
pub(super) struct WatcherArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// How long a stale workload is left alone in case its deploy is still under way; 0 turns it off.
    #[arg(long, env = "RESTAMP_SETTLE", default_value = "2s", value_name = "DURATION", value_parser = duration)]
    pub(super) settle: Duration,
    /// Who this process is in the Lease; unique. Made from the host name if not given.
    #[arg(long, env = "RESTAMP_IDENTITY", value_name = "NAME", value_parser = not_empty)]
    identity: Option<String>,
    /// Tell this URL about each change of a ConfigMap or Secret, and restart nothing.
    #[arg(long, value_name = "URL", hide_default_value = true)]
    webhook_url: Option<String>,
    #[command(flatten)]
    pub(super) certificates: CertificateArgs,
    #[command(flatten)]
    pub(super) policy: PolicyArgs,
    #[command(flatten)]
    pub(super) legacy: LegacyArgs,
}

/// Variables without flags: those of Reloader that have none there, either. Values of flags are in the list of
/// processes, and those of alerts are secret.
pub(super) fn variables() -> String {
    let lines = alerts::VARIABLES.map(|(name, meaning)| format!("  {name:<22}  {meaning}"));
    format!(
        "Alerts, by environment variables:\n{}\n\nMetrics, by an environment variable:\n  {COUNT_BY_NAMESPACE}  \
         enabled: count restarts by namespace, too\n\nThe set-up, by environment variables:\n  {}  \
         the namespace of the ConfigMap that tells it; none: it is not told\n  {}  what the Deployment is called there",
        lines.join("\n"),
        meta_info::NAMESPACE,
        meta_info::DEPLOYMENT,
    )
}

/// Runs the watcher until it is asked to stop.
pub(super) async fn run(
    args: WatcherArgs,
    logs: &LogArgs,
    namespace: String,
) -> Result<(), Failure> {
    let WatcherArgs {
        admin,
        settle,
        identity,
        webhook_url,
        certificates,
        policy,
        legacy,
    } = args;
    for warning in legacy.warnings() {
        tracing::warn!("{warning}");
    }
    let said = policy;
    let (kinds, policy) = (said.kinds(), Arc::new(settings(&said)));
    let ambient = Ambient::default();
    let (alerts, webhook) = (alerts()?, webhook_of(webhook_url.as_deref())?);
    let metrics = metrics()?;
    let shutdown = shutdown::on_signal()?;
    let client = client::connect(counting(&metrics.requests)).await?;
    let admin = listen("--admin-listen", &admin.admin_listen).await?;
    let host = webhook.as_ref().map(|webhook| webhook.config.url.host());
    meta_info::publish(&client, &said, &policy, logs, host.unwrap_or_default());
    let settings = Settings {
        namespace,
        identity: match identity {
            Some(identity) => identity,
            None => unique_identity(ambient)?,
        },
        kinds,
        policy,
        settle,
        ambient,
        alerts,
        webhook,
        certificates: certificates.managed(),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        admin = %admin.local_addr()?,
        identity = settings.identity,
        settle = ?settings.settle,
        namespaces = %settings.policy.namespaces,
        labels = settings.policy.source_labels.as_ref().map(tracing::field::display),
        "starting watcher"
    );
    watcher::run(client, settings, metrics, admin, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}

fn alerts() -> Result<Option<Receiver>, Failure> {
    let Some(config) = alerts::Config::read(std::env::var_os)? else {
        return Ok(None);
    };
    tracing::info!(host = config.url.host(), sink = ?config.sink, "alerting about restarts");
    Ok(Some(Receiver::new(config)?))
}

/// Who is told about changes in the place of restarts. An empty URL, which templating leaves behind, is none.
fn webhook_of(url: Option<&str>) -> Result<Option<Receiver>, Failure> {
    let Some(url) = url.filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let config = alerts::Config::webhook("--webhook-url", url)?;
    let host = config.url.host();
    tracing::warn!(
        host,
        "telling a webhook about changes of sources, and restarting nothing"
    );
    Ok(Some(Receiver::new(config)?))
}

fn metrics() -> Result<WatcherMetrics, Failure> {
    let metrics = WatcherMetrics::new()?;
    if std::env::var_os(COUNT_BY_NAMESPACE).is_none_or(|value| value != "enabled") {
        return Ok(metrics);
    }
    tracing::info!("counting restarts by namespace, too");
    Ok(metrics.by_namespace()?)
}

/// The host's name (a pod's is unique at any time) and random digits, since a restarted container keeps
/// the name of its pod.
fn unique_identity(ambient: Ambient) -> Result<String, Failure> {
    let mut random = [0; 16];
    (ambient.random)(&mut random)?;
    let digits: String = digest::digest(&digest::SHA256, &random)
        .as_ref()
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Ok(format!("{}_{digits}", host.trim()))
}
