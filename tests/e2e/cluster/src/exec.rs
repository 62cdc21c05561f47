//! `exec`: a command that has a cluster while it runs.

use crate::{
    binaries::{self, CERT_MANAGER, CONTAINERD, KUBERNETES},
    cli::With,
    events::{Signals, code},
    nodes::{
        Real,
        isolation::{self, Isolation, Outside},
        requirements,
    },
    progress::say,
    supervisor::Cluster,
    up,
};
use anyhow::{Context, Result};
use clap::ValueEnum;
use restamp_test_cluster::{Endpoints, process::spawn_tied};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::{
    convert::Infallible,
    env,
    ffi::{OsStr, OsString},
    future::pending,
    io::{IsTerminal, stdin},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

const GIVEN: &str = "E2E_KUBECONFIG";
/// Where cert-manager is, for tests that run it on a cluster of ours.
const CERT_MANAGER_FOLDER: &str = "E2E_CERT_MANAGER";
/// Why there are no real nodes, for tests that need them.
const NO_NODES: &str = "E2E_NO_NODES";
const INTERVAL: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_secs(10);

/// What a command is to have while it runs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Wanted {
    /// What the command finds beside the cluster.
    #[arg(long)]
    pub(crate) with: Vec<With>,
    /// Archives of images that real nodes have from the start.
    #[arg(long)]
    pub(crate) image: Vec<PathBuf>,
    /// The folder of the namespaces that this program has started itself in.
    #[arg(long, hide = true)]
    pub(crate) inside: Option<PathBuf>,
    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

impl Wanted {
    fn has(&self, with: With) -> bool {
        self.with.contains(&with)
    }

    fn command(&self) -> Result<Command> {
        let (program, arguments) = self.command.split_first().context("no command is given")?;
        let mut command = Command::new(program);
        command.args(arguments);
        for (name, _) in env::vars_os().filter(|(name, _)| is_of_cargo_run(name)) {
            command.env_remove(name);
        }
        Ok(command)
    }

    /// The arguments of this program that start the same from inside of namespaces.
    fn inside(&self, dir: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["exec".into(), "--inside".into(), dir.into()];
        for with in self.with.iter().filter_map(ValueEnum::to_possible_value) {
            arguments.extend(["--with".into(), with.get_name().into()]);
        }
        for image in &self.image {
            arguments.extend(["--image".into(), image.into()]);
        }
        arguments.push("--".into());
        arguments.extend(self.command.iter().cloned());
        arguments
    }
}

/// Runs the command and returns its exit code.
pub(crate) async fn run(wanted: &Wanted) -> Result<u8> {
    let mut command = wanted.command()?;
    // Before we listen for signals: a build blocks, and a signal is to end it.
    let mut programs = Vec::new();
    for with in [With::Helm, With::Prometheus] {
        if wanted.has(with) {
            programs.push(binaries::ensure(with.set())?.dir().to_owned());
        }
    }
    command.env("PATH", binaries::in_path(programs)?);
    if env::var_os(GIVEN).is_some_and(|given| !given.is_empty()) {
        return attend(command, None, &mut Signals::listen()?).await;
    }
    if wanted.has(With::CertManager) {
        let binaries = binaries::ensure(&CERT_MANAGER)?;
        command.env(CERT_MANAGER_FOLDER, binaries.dir());
    }
    if wanted.has(With::Nodes) && wanted.inside.is_none() {
        return match requirements::problem()? {
            None => run_inside(wanted).await,
            Some(problem) => {
                say(format_args!("without real nodes: {problem}"));
                command.env(NO_NODES, problem);
                attend(command, None, &mut Signals::listen()?).await
            }
        };
    }
    let kubernetes = binaries::ensure(&KUBERNETES)?;
    let real = match &wanted.inside {
        None => None,
        Some(dir) => Some(Real {
            containerd: binaries::ensure(&CONTAINERD)?,
            isolation: Isolation::enter(dir)?,
            images: wanted.image.clone(),
        }),
    };
    let mut signals = Signals::listen()?;
    let cluster = tokio::select! {
        signal = signals.next() => return Ok(code(signal.as_raw())),
        cluster = up::start(kubernetes, None, real) => cluster?,
    };
    attend(command, Some(cluster), &mut signals).await
}

/// Runs this program as the first process of namespaces that hold everything, so that all of it ends with it.
async fn run_inside(wanted: &Wanted) -> Result<u8> {
    binaries::ensure(&KUBERNETES)?;
    binaries::ensure(&CONTAINERD)?;
    let mut signals = Signals::listen()?;
    let outside = Outside::create()?;
    let own = env::current_exe().context("cannot find this program's own file")?;
    let mut command = isolation::command(&own);
    command.args(wanted.inside(outside.dir()));
    command.env("TMPDIR", outside.dir());
    let mut guest = Guest::start(command, OsStr::new("unshare"))?;
    tokio::select! {
        signal = signals.next() => guest.end(signal).await,
        status = guest.wait() => status.map(exit_code),
    }
}

/// Runs the command beside the cluster.
async fn attend(
    mut command: Command,
    mut cluster: Option<Cluster>,
    signals: &mut Signals,
) -> Result<u8> {
    // What the command leaves in it goes with it.
    let temporary = tempfile::Builder::new()
        .prefix("restamp-exec-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    command.env("TMPDIR", temporary.path());
    if let Some(cluster) = &cluster {
        command.envs(variables(cluster.endpoints())?);
    }
    let program = command.get_program().to_owned();
    let mut guest = Guest::start(command, &program)?;
    tokio::select! {
        signal = signals.next() => guest.end(signal).await,
        status = guest.wait() => status.map(exit_code),
        never = watch(cluster.as_mut()) => match never {},
    }
}

/// What `cargo run` says about this program. A cargo that we run would build anew what looks at it.
fn is_of_cargo_run(name: &OsStr) -> bool {
    let prefixes = [
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_CRATE_",
        "CARGO_BIN_",
    ];
    let name = name.to_string_lossy();
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

async fn watch(cluster: Option<&mut Cluster>) -> Infallible {
    match cluster {
        Some(cluster) => cluster.watch().await,
        None => pending().await,
    }
}

/// How the command finds the cluster.
fn variables(endpoints: Endpoints) -> Result<[(&'static str, PathBuf); 5]> {
    let own = env::current_exe().context("cannot find this program's own file")?;
    Ok([
        (GIVEN, endpoints.kubeconfig),
        ("E2E_AUDIT_LOG", endpoints.audit_log),
        ("E2E_KUBECTL", endpoints.kubectl),
        ("E2E_CLUSTER_BIN", own),
        // Ports are reused, so what kubectl knows about one in the user's cache may be wrong.
        ("KUBECACHEDIR", endpoints.dir.join("kubectl-cache")),
    ])
}

/// The command while it runs.
struct Guest {
    child: Child,
    own_group: bool,
}

impl Guest {
    fn start(mut command: Command, program: &OsStr) -> Result<Self> {
        // On a terminal it has to stay in the foreground group, and gets Ctrl-C by itself.
        let own_group = !stdin().is_terminal();
        if own_group {
            command.process_group(0);
        }
        let child =
            spawn_tied(command).with_context(|| format!("cannot run {}", program.display()))?;
        Ok(Self { child, own_group })
    }

    async fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Passes `signal` on, and kills the command if it does not end in time.
    async fn end(&mut self, signal: Signal) -> Result<u8> {
        let deadline = Instant::now() + GRACE;
        self.send(signal);
        while self.child.try_wait()?.is_none() && Instant::now() < deadline {
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(code(signal.as_raw()))
    }

    fn send(&self, signal: Signal) {
        let id = Pid::from_child(&self.child);
        if self.own_group {
            kill_process_group(id, signal).ok();
        } else {
            kill_process(id, signal).ok();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.send(Signal::KILL);
            self.child.wait().ok();
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let by_signal = status.signal().map(code);
    let by_itself = status.code().and_then(|code| u8::try_from(code).ok());
    by_signal.or(by_itself).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn code_of(script: &str) -> u8 {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut guest = Guest::start(command, OsStr::new("sh")).unwrap();
        exit_code(guest.wait().await.unwrap())
    }

    #[tokio::test]
    async fn the_exit_code_is_the_command_s() {
        assert_eq!(code_of("exit 0").await, 0);
        assert_eq!(code_of("exit 7").await, 7);
        assert_eq!(code_of("kill -TERM $$").await, 128 + 15);
    }

    #[tokio::test]
    async fn a_signal_is_passed_on() {
        let dir = tempfile::tempdir().unwrap();
        let told = dir.path().join("told");
        let mut command = Command::new("sh");
        command.args([
            "-c",
            r#"trap 'touch "$0"; exit' TERM; touch "$0.up"; while :; do sleep 0.05; done"#,
        ]);
        command.arg(&told);
        let mut guest = Guest::start(command, OsStr::new("sh")).unwrap();
        let up = told.with_extension("up");
        while !up.exists() {
            tokio::time::sleep(INTERVAL).await;
        }
        assert_eq!(guest.end(Signal::TERM).await.unwrap(), 128 + 15);
        assert!(told.exists());
    }

    #[test]
    fn a_missing_command_is_named() {
        let missing = "no-such-program-anywhere";
        let error = Guest::start(Command::new(missing), OsStr::new(missing)).err();
        assert!(error.unwrap().to_string().contains(missing));
    }
}
