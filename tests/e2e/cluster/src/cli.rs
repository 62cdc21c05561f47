use crate::{binaries, exec, progress::say, up};
use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::{ffi::OsString, path::PathBuf};

/// A Kubernetes control plane with simulated nodes, from pinned sources, without root or Docker.
#[derive(Parser)]
#[command(name = "restamp-test-cluster", version)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build Kubernetes, unless it has been built already.
    Build,
    /// Start a cluster, say where it is, and run it until standard input ends.
    ///
    /// Prints one line of JSON when it is ready. Then it takes one command per line, `stop PART`,
    /// `start PART` or `restart PART`, and answers each with `ok` or `error: ...`.
    Up {
        /// Keep the cluster's files here (a new or an empty folder, removed at the end).
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Run until Ctrl-C and take no commands.
        #[arg(long)]
        stay: bool,
    },
    /// Run a command with a cluster, and take the cluster down when it ends.
    ///
    /// The command finds it by E2E_KUBECONFIG, E2E_AUDIT_LOG, E2E_KUBECTL and E2E_CLUSTER_BIN. If
    /// E2E_KUBECONFIG is set already, the command runs on that cluster.
    Exec {
        /// The command and its arguments, after `--`.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

/// Does what the command line says, and returns the exit code.
pub(crate) fn run() -> Result<u8> {
    match Cli::parse().command {
        Action::Build => build().map(|()| 0),
        Action::Up { dir, stay } => runtime()?.block_on(up::run(dir.as_deref(), stay)),
        Action::Exec { command } => runtime()?.block_on(exec::run(&command)),
    }
}

fn build() -> Result<()> {
    let binaries = binaries::ensure()?;
    say(format_args!(
        "Kubernetes {} is in {}",
        binaries.version(),
        binaries.dir().display()
    ));
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    // Fails only if another one is installed, which serves as well.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn exec_leaves_the_options_of_the_command_alone() {
        let cli = Cli::parse_from(["restamp-test-cluster", "exec", "--", "ls", "-l", "--", "x"]);
        let Action::Exec { command } = cli.command else {
            unreachable!()
        };
        assert_eq!(command, ["ls", "-l", "--", "x"]);
    }
}
