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
mod watcher;
mod webhook;

use std::{io::Write, process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use tokio::net::TcpListener;

use crate::{
    cluster::{client, error::chain},
    runtime::{metrics::RequestMetrics, telemetry},
    stamp::{
        duration::{DurationError, parse_duration},
        settings::PolicySettings,
    },
};
use check::CheckArgs;
use explain::ExplainArgs;
use logs::LogArgs;
use migrate::MigrateArgs;
use policy::PolicyArgs;
use scope::ONE_NAMESPACE;
use watcher::WatcherArgs;
use webhook::WebhookArgs;

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
    #[command(after_help = watcher::variables(), args_override_self = true)]
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
            Command::Watcher(args) => watcher::run(args, &cli.logs, namespace).await,
            Command::Webhook(args) => webhook::run(args, namespace).await,
            Command::Explain(args) => explain::run(args, &namespace).await,
            Command::Check(args) => check::run(args, namespace).await,
            Command::Migrate(args) => migrate::run(args).await,
        }
    })
}

/// Counts requests to the API server.
fn counting(metrics: &RequestMetrics) -> client::Observer {
    let metrics = metrics.clone();
    Arc::new(move |ended| {
        let method = ended.method.as_str();
        metrics.ended(method, ended.host, ended.status, ended.took);
        if let Some(right) = ended.missing {
            metrics.forbidden(right.verb, &right.resource);
        }
    })
}

async fn listen(flag: &str, address: &str) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    Ok(listener.map_err(|error| format!("cannot listen on {flag} {address:?}: {error}"))?)
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
