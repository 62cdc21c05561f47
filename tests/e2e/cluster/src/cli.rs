use crate::{
    binaries::{self, CERT_MANAGER, CONTAINERD, HELM, KUBERNETES, PROMETHEUS, Set},
    exec::{self, Wanted},
    nodes::requirements,
    progress::say,
    up,
};
use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A Kubernetes control plane with simulated or real nodes, from pinned sources, without Docker.
#[derive(Parser)]
#[command(name = "restamp-test-cluster", version)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build Kubernetes, unless it has been built already.
    Build {
        /// What else is built.
        #[arg(long)]
        with: Vec<With>,
    },
    /// Say whether there can be real nodes here, and install what is missing for them where that is one command.
    ///
    /// Exits with 3 and the reason if there can be none, and with 1 if what is missing cannot be installed.
    Nodes,
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
    Exec(Wanted),
}

/// The exit code of `nodes` where there can be none.
const NO_NODES: u8 = 3;

/// What not every user of the cluster needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum With {
    /// `helm` (4) and `helm3` in PATH.
    Helm,
    /// cert-manager, for tests to run: its program and its CRDs, in the folder E2E_CERT_MANAGER.
    CertManager,
    /// `check-rules` in PATH, which checks rules as `promtool check rules` does.
    Prometheus,
    /// Real nodes in the place of simulated ones, in namespaces of their own. Needs root; where they cannot be had, the
    /// command runs without a cluster and finds the reason in E2E_NO_NODES.
    Nodes,
}

impl With {
    /// What is built for it.
    pub(crate) fn set(self) -> &'static Set {
        match self {
            With::Helm => &HELM,
            With::CertManager => &CERT_MANAGER,
            With::Prometheus => &PROMETHEUS,
            With::Nodes => &CONTAINERD,
        }
    }
}

/// Does what the command line says, and returns the exit code.
pub(crate) fn run() -> Result<u8> {
    match Cli::parse().command {
        Action::Build { with } => build(&with).map(|()| 0),
        Action::Nodes => nodes(),
        Action::Up { dir, stay } => runtime()?.block_on(up::run(dir.as_deref(), stay)),
        Action::Exec(wanted) => runtime()?.block_on(exec::run(&wanted)),
    }
}

fn build(with: &[With]) -> Result<()> {
    for set in [&KUBERNETES]
        .into_iter()
        .chain(with.iter().map(|with| with.set()))
    {
        let binaries = binaries::ensure(set)?;
        let (version, dir) = (binaries.version(), binaries.dir().display());
        say(format_args!("{} {version} is in {dir}", set.project));
    }
    Ok(())
}

fn nodes() -> Result<u8> {
    let problem = requirements::problem()?;
    if let Some(problem) = &problem {
        say(format_args!("no real nodes: {problem}"));
    }
    Ok(problem.map_or(0, |_| NO_NODES))
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
        let Action::Exec(wanted) = cli.command else {
            unreachable!()
        };
        assert_eq!(wanted.command, ["ls", "-l", "--", "x"]);
    }
}
