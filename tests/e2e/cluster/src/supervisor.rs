//! A running cluster.

use crate::{
    binaries::Binaries,
    components,
    layout::Layout,
    nodes::{Nodes, Real},
    probe,
    progress::{last_lines, say},
    scratch::Scratch,
};
use anyhow::{Context, Result, bail};
use kube::Client;
use restamp_test_cluster::{Endpoints, Part, process::spawn_tied};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt, fs,
    path::Path,
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(120);
const INTERVAL: Duration = Duration::from_millis(50);
const CHECK: Duration = Duration::from_millis(500);
const STARTS: usize = 3;

/// A cluster, taken down with all its files when dropped.
pub(crate) struct Cluster {
    running: Running,
    client: Client,
    layout: Layout,
    binaries: Binaries,
    /// Nothing if nodes are simulated.
    real: Option<Real>,
    nodes: Option<Nodes>,
    // After `running`: parts end before their files go.
    _scratch: Scratch,
}

/// The processes, by the order in which they were named in [`Part`].
#[derive(Default)]
struct Running(BTreeMap<usize, (Part, Child)>);

/// A part that ended by itself.
#[derive(Debug)]
struct Ended {
    part: Part,
    status: ExitStatus,
    log: String,
}

impl Cluster {
    /// Starts everything, in `dir` or in a temporary folder, and waits until it is ready.
    pub(crate) async fn start(mut binaries: Binaries, dir: Option<&Path>) -> Result<Self> {
        for _ in 1..STARTS {
            match Self::prepare(binaries, dir, None).await {
                Ok(mut cluster) => match cluster.start_all().await {
                    Err(error) if lost_port(&error) => binaries = cluster.binaries,
                    outcome => return outcome.map(|()| cluster),
                },
                Err(error) => return Err(error),
            }
        }
        let mut cluster = Self::prepare(binaries, dir, None).await?;
        cluster.start_all().await?;
        Ok(cluster)
    }

    /// The same with real nodes, in a network of its own.
    pub(crate) async fn with_nodes(binaries: Binaries, real: Real) -> Result<Self> {
        let mut cluster = Self::prepare(binaries, None, Some(real)).await?;
        cluster.start_all().await?;
        Ok(cluster)
    }

    async fn prepare(binaries: Binaries, dir: Option<&Path>, real: Option<Real>) -> Result<Self> {
        let scratch = Scratch::create(dir)?;
        let layout = Layout::create(scratch.path())?;
        Ok(Self {
            running: Running::default(),
            client: probe::client(&layout).await?,
            layout,
            binaries,
            real,
            nodes: None,
            _scratch: scratch,
        })
    }

    async fn start_all(&mut self) -> Result<()> {
        let parts: Vec<_> = self.parts().collect();
        for &part in &parts {
            self.start_part(part).await?;
        }
        match &self.real {
            None => probe::create_nodes(&self.client).await?,
            Some(real) => {
                self.nodes = Some(Nodes::start(real, &self.binaries, &self.layout).await?);
            }
        }
        let client = &self.client.clone();
        let accounts = async || probe::default_service_account(client).await;
        self.until(&parts, accounts).await?;
        let nodes = async || probe::nodes(client).await;
        self.until(&parts, nodes).await
    }

    /// What runs; kwok only where it simulates nodes.
    fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        let is_real = self.real.is_some();
        let parts = Part::ALL.into_iter();
        parts.filter(move |part| !is_real || *part != Part::Kwok)
    }

    pub(crate) fn endpoints(&self) -> Endpoints {
        self.layout.endpoints(&self.binaries)
    }

    /// Starts a part unless it runs, and waits until it serves, if it is one that serves.
    pub(crate) async fn start_part(&mut self, part: Part) -> Result<()> {
        if self.running.ended(part, &self.layout)?.is_none() && self.running.has(part) {
            return Ok(());
        }
        let command = components::command(part, &self.layout, &self.binaries, self.real.as_ref())?;
        let child = spawn_tied(command).with_context(|| format!("cannot start {part}"))?;
        self.running.add(part, child);
        let client = &self.client.clone();
        let port = self.layout.etcd_port;
        match part {
            Part::Etcd => self.until(&[part], async || probe::etcd(port).await).await,
            Part::ApiServer => {
                let ready = async || probe::api_server(client).await;
                self.until(&[part], ready).await
            }
            Part::ControllerManager | Part::Scheduler | Part::Kwok => Ok(()),
        }
    }

    /// Kills a part, as a crash would.
    pub(crate) fn stop_part(&mut self, part: Part) -> Result<()> {
        self.running.stop(part)
    }

    /// Says which parts end by themselves, for as long as it is polled.
    pub(crate) async fn watch(&mut self) -> Infallible {
        loop {
            self.report_ended();
            tokio::time::sleep(CHECK).await;
        }
    }

    fn report_ended(&mut self) {
        for part in Part::ALL {
            match self.running.ended(part, &self.layout) {
                Ok(Some(ended)) => say(ended),
                Ok(None) => {}
                Err(error) => say(format_args!("{error:#}")),
            }
        }
    }

    /// Waits until `ready` succeeds, while `parts` run.
    async fn until(&mut self, parts: &[Part], ready: impl AsyncFn() -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let outcome = ready().await;
            // Asked after `ready`, so that nobody else's server on the port is taken for ours.
            for &part in parts {
                if let Some(ended) = self.running.ended(part, &self.layout)? {
                    return Err(ended.into());
                }
            }
            if let Some(nodes) = &mut self.nodes {
                nodes.check()?;
            }
            let Err(error) = outcome else { return Ok(()) };
            if Instant::now() > deadline {
                bail!(
                    "not ready after {PATIENCE:?}: {error:#}\n{}",
                    self.tails(parts)
                );
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn tails(&self, parts: &[Part]) -> String {
        let tail = |&part| format!("the log of {part} ends:\n{}", tail(&self.layout, part));
        let mut tails: Vec<_> = parts.iter().map(tail).collect();
        tails.extend(self.nodes.as_ref().map(Nodes::tails));
        tails.join("\n")
    }
}

impl Running {
    fn add(&mut self, part: Part, child: Child) {
        self.0.insert(part as usize, (part, child));
    }

    fn has(&self, part: Part) -> bool {
        self.0.contains_key(&(part as usize))
    }

    fn stop(&mut self, part: Part) -> Result<()> {
        let Some((_, mut child)) = self.0.remove(&(part as usize)) else {
            return Ok(());
        };
        child
            .kill()
            .with_context(|| format!("cannot kill {part}"))?;
        child
            .wait()
            .with_context(|| format!("cannot wait for {part}"))?;
        Ok(())
    }

    /// Forgets `part` if it has ended.
    fn ended(&mut self, part: Part, layout: &Layout) -> Result<Option<Ended>> {
        let Some((_, child)) = self.0.get_mut(&(part as usize)) else {
            return Ok(None);
        };
        let Some(status) = child.try_wait()? else {
            return Ok(None);
        };
        self.0.remove(&(part as usize));
        let log = tail(layout, part);
        Ok(Some(Ended { part, status, log }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Clients first; all signals before any wait.
        for (_, child) in self.0.values_mut().rev() {
            child.kill().ok();
        }
        for (_, child) in self.0.values_mut().rev() {
            child.wait().ok();
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, status, log } = self;
        write!(f, "{part} ended by itself ({status}); its log ends:\n{log}")
    }
}

impl std::error::Error for Ended {}

fn lost_port(error: &anyhow::Error) -> bool {
    let ended = error.downcast_ref::<Ended>();
    ended.is_some_and(|ended| ended.log.contains("address already in use"))
}

fn tail(layout: &Layout, part: Part) -> String {
    let bytes = fs::read(layout.log(part)).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&bytes))
}
