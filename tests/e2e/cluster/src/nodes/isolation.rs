//! Namespaces for real nodes: their own network, mounts and processes, which all end with the first process in them.

use anyhow::{Context, Result, bail, ensure};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use super::{addresses, names};
use crate::scratch::{PREFIX, Scratch};

const CGROUPS: &str = "/sys/fs/cgroup";
const PATIENCE: Duration = Duration::from_secs(30);

/// Folders of the machine that kubelet and container runtimes write to, whatever they are told.
const WRITTEN: [&str; 2] = ["/var/lib", "/var/log"];

/// What there is of the namespaces on the machine itself: a folder, and groups of its name. Gone when dropped.
pub(crate) struct Outside {
    scratch: Scratch,
    cgroups: Vec<PathBuf>,
}

impl Outside {
    pub(crate) fn create() -> Result<Self> {
        let scratch = Scratch::create(None)?;
        let name = scratch.path().file_name();
        let name = name.context("a folder without a name")?;
        let parent = scratch.path().parent().unwrap_or(Path::new("/"));
        let mut cgroups = Vec::new();
        for hierarchy in hierarchies()? {
            sweep(&hierarchy, parent);
            let cgroup = hierarchy.join(name);
            // One for each kubelet: it ends what it does not know in its own. Two names may be of one hierarchy.
            for node in names() {
                let cgroup = cgroup.join(node);
                let shown = cgroup.display();
                fs::create_dir_all(&cgroup).with_context(|| format!("cannot create {shown}"))?;
            }
            cgroups.push(cgroup);
        }
        Ok(Self { scratch, cgroups })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.scratch.path()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for cgroup in &self.cgroups {
            remove_groups(cgroup);
        }
    }
}

/// With version 2 there is one hierarchy, with version 1 one for each controller.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new(CGROUPS);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let entries = fs::read_dir(root).with_context(|| format!("cannot read {CGROUPS}"))?;
    let folders = entries.map(|entry| entry.map(|entry| entry.path()));
    let folders: Vec<_> = folders.collect::<io::Result<_>>()?;
    Ok(folders.into_iter().filter(|path| path.is_dir()).collect())
}

/// Removes the groups of folders that are gone.
fn sweep(hierarchy: &Path, folders: &Path) {
    for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_string_lossy().starts_with(PREFIX);
        if ours && !folders.join(&name).exists() {
            remove_groups(&entry.path());
        }
    }
}

/// Their files go with them.
fn remove_groups(cgroup: &Path) {
    let children = fs::read_dir(cgroup).into_iter().flatten().flatten();
    for child in children
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
    {
        remove_groups(&child);
    }
    fs::remove_dir(cgroup).ok();
}

/// Runs `program` with `arguments` as the first process of new namespaces.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command.arg("--").arg(program);
    command
}

/// The namespaces, seen from the inside.
pub(crate) struct Isolation {
    dir: PathBuf,
}

impl Isolation {
    /// Prepares the namespaces that this process is the first one of.
    pub(crate) fn enter(dir: &Path) -> Result<Self> {
        ensure!(
            std::process::id() == 1,
            "not the first process of its namespace"
        );
        let isolation = Self {
            dir: dir.to_owned(),
        };
        run("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
        for folder in WRITTEN {
            isolation.overlay(folder)?;
        }
        network()?;
        Ok(isolation)
    }

    /// The parent of all groups of a node, as kubelet takes it.
    pub(crate) fn cgroup(&self, node: &str) -> String {
        let name = self.dir.file_name().unwrap_or_default();
        format!("/{}/{node}", name.display())
    }

    /// What is written to the folder goes elsewhere.
    fn overlay(&self, folder: &str) -> Result<()> {
        let own = self
            .dir
            .join(folder.trim_start_matches('/').replace('/', "-"));
        let [upper, work] = ["upper", "work"].map(|name| own.join(name));
        for made in [&upper, &work] {
            fs::create_dir_all(made)
                .with_context(|| format!("cannot create {}", made.display()))?;
        }
        let (upper, work) = (upper.display(), work.display());
        let options = format!("lowerdir={folder},upperdir={upper},workdir={work}");
        run(
            "mount",
            &["-t", "overlay", "overlay", "-o", &options, folder],
        )
    }
}

/// A network without a way out: loopback, and a link with the addresses of the nodes and the default route.
fn network() -> Result<()> {
    run("ip", &["link", "set", "lo", "up"])?;
    run(
        "ip",
        &[
            "link", "add", "nodes", "type", "veth", "peer", "name", "nowhere",
        ],
    )?;
    for address in addresses() {
        run(
            "ip",
            &["address", "add", &format!("{address}/24"), "dev", "nodes"],
        )?;
    }
    for link in ["nodes", "nowhere"] {
        run("ip", &["link", "set", link, "up"])?;
    }
    run("ip", &["route", "add", "default", "dev", "nodes"])?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot have packets forwarded")
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let shown = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {}", shown()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", shown(), said.trim_end());
    Ok(())
}

/// Waits for a file.
pub(crate) async fn until_exists(path: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        if Instant::now() > deadline {
            bail!("there is no {} after {PATIENCE:?}", path.display());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
