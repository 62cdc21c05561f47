//! The command line: the only reader of flags and environment.

mod certificates;
mod check;
mod explain;
mod keys;
mod legacy;
mod list;
mod logs;
mod meta_info;
mod migrate;
mod policy;
mod scope;

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use ring::digest;
use tokio::net::TcpListener;

use crate::{
    alerts::{self, Receiver},
    cluster::{client, error::chain},
    runtime::{
        ambient::Ambient,
        metrics::{RequestMetrics, WatcherMetrics, WebhookMetrics},
        shutdown, telemetry,
    },
    stamp::{
        duration::{DurationError, parse_duration},
        settings::PolicySettings,
    },
    watcher::{self, Settings},
    webhook::{self, CertificateSource, Listeners},
};
use certificates::{CERT_SECRET, CertificateArgs};
use check::CheckArgs;
use explain::ExplainArgs;
use legacy::LegacyArgs;
use logs::LogArgs;
use migrate::MigrateArgs;
use policy::PolicyArgs;
use scope::ONE_NAMESPACE;

/// Reloader's variable that has restarts counted by namespace.
const COUNT_BY_NAMESPACE: &str = "METRICS_COUNT_BY_NAMESPACE";

/// Keeps Kubernetes workloads on their current configuration.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    logs: LogArgs,
    /// The namespace that Restamp is installed in: of its key and its Lease.
    #[arg(
        long,
        env = "RESTAMP_NAMESPACE",
        default_value = "restamp-system",
        value_parser = not_empty,
        global = true
    )]
    restamp_namespace: String,
}

#[derive(Subcommand)]
enum Command {
    /// Restamp workloads whose ConfigMaps or Secrets change.
    #[command(after_help = variables(), args_override_self = true)]
    Watcher(WatcherArgs),
    /// Stamp workloads while they are written, as an admission webhook.
    #[command(args_override_self = true)]
    Webhook(WebhookArgs),
    /// Say what the watcher would do for a workload, and why.
    #[command(args_override_self = true)]
    Explain(ExplainArgs),
    /// Say whether this installation works, and fail if it does not.
    #[command(args_override_self = true)]
    Check(CheckArgs),
    /// Say what a switch from stakater/Reloader would mean for this cluster.
    Migrate(MigrateArgs),
}

#[derive(Args)]
struct AdminArgs {
    /// Where /metrics, /healthz, /readyz and /live are served, over plain HTTP.
    #[arg(
        long,
        env = "RESTAMP_ADMIN_LISTEN",
        default_value = "0.0.0.0:9090",
        value_name = "ADDR"
    )]
    admin_listen: String,
}

#[derive(Args)]
struct WatcherArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// How long a stale workload is left alone in case its deploy is still under way; 0 turns it off.
    #[arg(long, env = "RESTAMP_SETTLE", default_value = "2s", value_name = "DURATION", value_parser = duration)]
    settle: Duration,
    /// Who this process is in the Lease; unique. Made from the host name if not given.
    #[arg(long, env = "RESTAMP_IDENTITY", value_name = "NAME", value_parser = not_empty)]
    identity: Option<String>,
    /// Tell this URL about each change of a ConfigMap or Secret, and restart nothing.
    #[arg(long, value_name = "URL", hide_default_value = true)]
    webhook_url: Option<String>,
    #[command(flatten)]
    certificates: CertificateArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    legacy: LegacyArgs,
}

#[derive(Args)]
struct WebhookArgs {
    /// Where admission reviews are received, over HTTPS.
    #[arg(
        long,
        env = "RESTAMP_LISTEN",
        default_value = "0.0.0.0:9443",
        value_name = "ADDR"
    )]
    listen: String,
    /// The folder with the serving certificate, in tls.crt and tls.key; it may change at any time.
    #[arg(
        long,
        env = "RESTAMP_CERT_DIR",
        default_value = "/etc/restamp/tls",
        value_name = "DIR"
    )]
    cert_dir: PathBuf,
    /// The Secret with the serving certificate, in the place of a folder: read by the API, in Restamp's own namespace.
    #[arg(
        long,
        env = CERT_SECRET,
        value_name = "NAME",
        value_parser = not_empty,
        conflicts_with = "cert_dir"
    )]
    cert_secret: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    policy: PolicyArgs,
}

fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        Err("it must not be empty")
    } else {
        Ok(text.to_owned())
    }
}

fn duration(text: &str) -> Result<Duration, DurationError> {
    parse_duration(text)
}

/// What arguments mean together; ends the program if that makes no sense, as for each of them.
fn sensible<T>(meaning: Result<T, String>) -> T {
    meaning.unwrap_or_else(|problem| {
        Cli::command()
            .error(ErrorKind::ValueValidation, problem)
            .exit()
    })
}

/// What holds for every workload.
fn settings(policy: &PolicyArgs) -> PolicySettings {
    let one = std::env::var(ONE_NAMESPACE).ok();
    if let Some(warning) = policy.scope.warning(one.as_deref()) {
        tracing::warn!("{warning}");
    }
    sensible(policy.settings(one.as_deref()))
}

/// Variables without flags: those of Reloader that have none there, either. Values of flags are in the list of
/// processes, and those of alerts are secret.
fn variables() -> String {
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

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell if this fails too.
            let _ = writeln!(std::io::stderr(), "restamp: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

fn run(cli: Cli) -> Result<(), Failure> {
    telemetry::init(cli.logs.log_format, cli.logs.filter())
        .map_err(|error| format!("--log-level {:?}: {error}", cli.logs.log_level))?;
    // An error means that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let namespace = cli.restamp_namespace;
    runtime.block_on(async {
        match cli.command {
            Command::Watcher(args) => run_watcher(args, &cli.logs, namespace).await,
            Command::Webhook(args) => run_webhook(args, namespace).await,
            Command::Explain(args) => explain::run(args, &namespace).await,
            Command::Check(args) => check::run(args, namespace).await,
            Command::Migrate(args) => migrate::run(args).await,
        }
    })
}

async fn run_watcher(args: WatcherArgs, logs: &LogArgs, namespace: String) -> Result<(), Failure> {
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

async fn run_webhook(args: WebhookArgs, namespace: String) -> Result<(), Failure> {
    let (kinds, policy) = (args.policy.kinds(), Arc::new(settings(&args.policy)));
    let (shutdown, metrics) = (shutdown::on_signal()?, WebhookMetrics::new()?);
    let client = client::connect(counting(&metrics.requests)).await?;
    let listeners = Listeners {
        webhook: listen("--listen", &args.listen).await?,
        admin: listen("--admin-listen", &args.admin.admin_listen).await?,
    };
    let settings = webhook::Settings {
        namespace,
        kinds,
        policy,
        certificate: match args.cert_secret {
            Some(name) => CertificateSource::Secret(name),
            None => CertificateSource::Folder(args.cert_dir),
        },
        now: Ambient::default().now,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %listeners.webhook.local_addr()?,
        admin = %listeners.admin.local_addr()?,
        "starting webhook"
    );
    webhook::run(client, settings, metrics, listeners, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Counts requests to the API server.
fn counting(metrics: &RequestMetrics) -> client::Observer {
    let metrics = metrics.clone();
    Arc::new(move |ended| {
        let method = ended.method.as_str();
        metrics.ended(method, ended.host, ended.status, ended.took);
    })
}

async fn listen(flag: &str, address: &str) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    Ok(listener.map_err(|error| format!("cannot listen on {flag} {address:?}: {error}"))?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn of_a_flag_that_is_given_twice_the_last_one_counts() {
        let args = [
            "--log-level=debug",
            "--settle=1s",
            "--log-level=info",
            "--settle=3s",
        ];
        let all = ["restamp", "watcher"].into_iter().chain(args);
        let cli = Cli::try_parse_from(all).unwrap();
        let Command::Watcher(watcher) = cli.command else {
            panic!("another command");
        };
        assert_eq!(
            (&*cli.logs.log_level, watcher.settle),
            ("info", Duration::from_secs(3))
        );
        let twice = [
            "restamp",
            "webhook",
            "--auto-reload-all",
            "--auto-reload-all=false",
        ];
        Cli::try_parse_from(twice).unwrap();
    }

    #[test]
    fn a_certificate_comes_from_one_place() {
        let both = ["restamp", "webhook", "--cert-dir=/tls", "--cert-secret=tls"];
        let error = Cli::try_parse_from(both).err().map(|error| error.kind());
        assert_eq!(error, Some(ErrorKind::ArgumentConflict));
        for one in ["--cert-dir=/tls", "--cert-secret=tls"] {
            Cli::try_parse_from(["restamp", "webhook", one]).unwrap();
        }
    }

    #[test]
    fn certificates_are_looked_after_where_a_configuration_is_named() {
        let managed = |args: &[&str]| {
            let args = ["restamp", "watcher"].iter().chain(args);
            let Command::Watcher(watcher) = Cli::try_parse_from(args).unwrap().command else {
                panic!("another command");
            };
            watcher.certificates.managed()
        };
        assert!(managed(&[]).is_none() && managed(&["--cert-secret=tls"]).is_none());
        let found = managed(&["--webhook-configuration=restamp"]).unwrap();
        let names = (&*found.configuration, &*found.secret);
        assert_eq!(names, ("restamp", "restamp-webhook-tls"));
        let empty = ["restamp", "watcher", "--webhook-configuration="];
        assert!(Cli::try_parse_from(empty).is_err());
    }
}
