use crate::Part;
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

const GRACE: Duration = Duration::from_secs(20);

/// Where a running cluster is: what `up` prints when it is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoints {
    /// The kubeconfig of an administrator.
    pub kubeconfig: PathBuf,
    /// The API server's audit log: every request, one line of JSON each.
    pub audit_log: PathBuf,
    /// A kubectl of the cluster's version.
    pub kubectl: PathBuf,
    /// Where the cluster keeps its files, the logs of its parts among them.
    pub dir: PathBuf,
}

/// A cluster of one's own, whose parts can be stopped and started again.
///
/// It lives in a process of its own (`restamp-test-cluster up`), which ends with the last handle
/// to its standard input, so nothing stays behind if the test is killed. The calls block.
#[derive(Debug)]
pub struct SupervisedCluster {
    endpoints: Endpoints,
    supervisor: Child,
    pipes: Mutex<Option<Pipes>>,
}

#[derive(Debug)]
struct Pipes {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl SupervisedCluster {
    /// Starts a cluster with `bin`, the `restamp-test-cluster` program, and waits until it is ready.
    ///
    /// `exec` gives the program's path as `E2E_CLUSTER_BIN`.
    ///
    /// # Errors
    /// When the program cannot be started or ends before the cluster is ready; it says why on
    /// standard error.
    pub fn start(bin: &Path) -> Result<Self> {
        let mut supervisor = Command::new(bin)
            .arg("up")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", bin.display()))?;
        match Pipes::of(&mut supervisor).and_then(Pipes::ready) {
            Ok((endpoints, pipes)) => Ok(Self {
                endpoints,
                supervisor,
                pipes: Mutex::new(Some(pipes)),
            }),
            Err(error) => {
                end(&mut supervisor);
                Err(error)
            }
        }
    }

    /// The kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.endpoints.kubeconfig
    }

    /// The API server's audit log: every request, one line of JSON each.
    pub fn audit_log(&self) -> &Path {
        &self.endpoints.audit_log
    }

    /// A kubectl of the cluster's version.
    pub fn kubectl(&self) -> &Path {
        &self.endpoints.kubectl
    }

    /// Where the cluster keeps its files, such as `kube-apiserver.log`.
    pub fn dir(&self) -> &Path {
        &self.endpoints.dir
    }

    /// Kills a part, as a crash would. Stopping a stopped part is no error.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn stop(&self, part: Part) -> Result<()> {
        self.ask("stop", part)
    }

    /// Starts a stopped part, with its data and on the same port, and waits until it is ready.
    ///
    /// # Errors
    /// When the part does not become ready, or the supervisor is gone.
    pub fn start_part(&self, part: Part) -> Result<()> {
        self.ask("start", part)
    }

    /// Stops and starts a part.
    ///
    /// # Errors
    /// As for [`Self::start_part`].
    pub fn restart(&self, part: Part) -> Result<()> {
        self.ask("restart", part)
    }

    fn ask(&self, verb: &str, part: Part) -> Result<()> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let pipes = pipes.as_mut().context("the cluster has been stopped")?;
        pipes
            .ask(verb, part)
            .with_context(|| format!("cannot {verb} {part}"))
    }
}

impl Drop for SupervisedCluster {
    fn drop(&mut self) {
        let pipes = self.pipes.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(pipes.take());
        end(&mut self.supervisor);
    }
}

impl Pipes {
    fn of(supervisor: &mut Child) -> Result<Self> {
        let commands = supervisor.stdin.take().context("no pipe to it")?;
        let answers = supervisor.stdout.take().context("no pipe from it")?;
        Ok(Self {
            commands,
            answers: BufReader::new(answers),
        })
    }

    fn ready(mut self) -> Result<(Endpoints, Self)> {
        let line = self.line().context("the cluster did not start")?;
        let endpoints = serde_json::from_str(&line)
            .with_context(|| format!("unexpected answer of the cluster: {line}"))?;
        Ok((endpoints, self))
    }

    fn ask(&mut self, verb: &str, part: Part) -> Result<()> {
        writeln!(self.commands, "{verb} {part}").context("the supervisor is gone")?;
        match self.line()?.as_str() {
            "ok" => Ok(()),
            other => Err(anyhow!("{other}")),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the supervisor ended; it says why on standard error");
        }
        Ok(line.trim_end().to_owned())
    }
}

#[expect(clippy::disallowed_methods, reason = "the calls of this client block")]
fn end(supervisor: &mut Child) {
    let deadline = Instant::now() + GRACE;
    while matches!(supervisor.try_wait(), Ok(None)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    supervisor.kill().ok();
    supervisor.wait().ok();
}
