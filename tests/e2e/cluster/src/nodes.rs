//! Real nodes: containerd, kubelet and kube-proxy, all of them beside the control plane in its namespaces.

pub(crate) mod isolation;
pub(crate) mod requirements;

use crate::{
    binaries::{self, Binaries},
    layout::Layout,
    nodes::{isolation::Isolation, requirements::CNI_PLUGINS},
    progress::last_lines,
};
use anyhow::{Context, Result, ensure};
use restamp_test_cluster::{install::Process, kubeconfig::write_private};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What keeps the namespaces of a pod open, and does nothing else.
const SANDBOX_IMAGE: &str = "docker.io/library/pause:restamp";

/// Programs that run until the end, and their kubeconfigs in [`Layout`].
const PROXY: &str = "kube-proxy";

/// A node: what is not the same for all of them.
struct Node {
    name: &'static str,
    address: &'static str,
    bridge: &'static str,
    pods: &'static str,
}

/// Enough to drain one.
const NODES: [Node; 2] = [
    Node {
        name: "node-1",
        address: "172.30.0.1",
        bridge: "restamp1",
        pods: "10.244.1.0/24",
    },
    Node {
        name: "node-2",
        address: "172.30.0.2",
        bridge: "restamp2",
        pods: "10.244.2.0/24",
    },
];

/// Where the API server is for pods: at the first node.
pub(crate) const API_SERVER: &str = NODES[0].address;

/// The names of all nodes.
fn names() -> impl Iterator<Item = &'static str> {
    NODES.iter().map(|node| node.name)
}

/// The addresses of all nodes.
fn addresses() -> impl Iterator<Item = &'static str> {
    NODES.iter().map(|node| node.address)
}

/// What nodes are made of.
pub(crate) struct Real {
    pub(crate) containerd: Binaries,
    pub(crate) isolation: Isolation,
    /// Archives of images that every node has.
    pub(crate) images: Vec<PathBuf>,
}

/// The processes of all nodes, which end with this.
pub(crate) struct Nodes {
    processes: Vec<(String, Process)>,
}

impl Nodes {
    /// Starts them. They register themselves, and are ready some seconds later.
    pub(crate) async fn start(real: &Real, kubernetes: &Binaries, layout: &Layout) -> Result<Self> {
        let mut nodes = Self {
            processes: Vec::new(),
        };
        for node in &NODES {
            let place = Place::create(layout, node)?;
            let mut containerd = Command::new(real.containerd.path("containerd"));
            // Where it finds the shim.
            let folders = vec![real.containerd.dir().to_owned()];
            containerd.env("PATH", binaries::in_path(folders)?);
            containerd.arg("--config").arg(place.write_containerd()?);
            nodes.run(format!("containerd-{}", node.name), containerd, layout)?;
            place.import(real).await?;
            let mut kubelet = Command::new(kubernetes.path("kubelet"));
            kubelet.args(place.kubelet(layout, &real.isolation)?);
            nodes.run(format!("kubelet-{}", node.name), kubelet, layout)?;
        }
        let mut proxy = Command::new(kubernetes.path(PROXY));
        let kubeconfig = layout.kubeconfig(PROXY);
        proxy.arg("--kubeconfig").arg(kubeconfig).args([
            "--proxy-mode=iptables",
            "--conntrack-max-per-core=0",
            &format!("--hostname-override={}", NODES[0].name),
        ]);
        nodes.run(PROXY.to_owned(), proxy, layout)?;
        Ok(nodes)
    }

    /// Fails when one of them has ended, with the end of its log.
    pub(crate) fn check(&mut self) -> Result<()> {
        for (name, process) in &mut self.processes {
            let log = process.log();
            ensure!(
                process.is_running(),
                "{name} ended by itself:\n{}",
                last_lines(&log)
            );
        }
        Ok(())
    }

    /// The ends of all logs.
    pub(crate) fn tails(&self) -> String {
        let tail = |(name, process): &(String, Process)| {
            format!("the log of {name} ends:\n{}", last_lines(&process.log()))
        };
        self.processes
            .iter()
            .map(tail)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn run(&mut self, name: String, command: Command, layout: &Layout) -> Result<()> {
        let process = Process::start(command, &layout.file(&format!("{name}.log")))?;
        self.processes.push((name, process));
        Ok(())
    }
}

/// The folder of a node.
struct Place<'a> {
    node: &'a Node,
    dir: PathBuf,
}

impl<'a> Place<'a> {
    fn create(layout: &Layout, node: &'a Node) -> Result<Self> {
        let dir = layout.file(node.name);
        for folder in ["", "network", "kubelet", "certificates"] {
            let folder = dir.join(folder);
            fs::create_dir(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(Self { node, dir })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn socket(&self) -> PathBuf {
        self.file("containerd.sock")
    }

    fn write_containerd(&self) -> Result<PathBuf> {
        let network = json!({
            "cniVersion": "1.0.0",
            "name": self.node.bridge,
            "plugins": [{
                "type": "bridge",
                "bridge": self.node.bridge,
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": self.file("addresses"),
                    "ranges": [[{"subnet": self.node.pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }],
        });
        write_private(&self.file("network/bridge.conflist"), network.to_string())?;
        let path = |name: &str| toml(&self.file(name));
        let config = format!(
            "version = 3\n\
             root = {root}\n\
             state = {state}\n\
             [grpc]\n\
             address = {socket}\n\
             [ttrpc]\n\
             address = {ttrpc}\n\
             [plugins.'io.containerd.nri.v1.nri']\n\
             disable = true\n\
             [plugins.'io.containerd.cri.v1.images'.pinned_images]\n\
             sandbox = '{SANDBOX_IMAGE}'\n\
             [plugins.'io.containerd.cri.v1.runtime']\n\
             # Processes of a container may not lower what its parent has.\n\
             restrict_oom_score_adj = true\n\
             [plugins.'io.containerd.cri.v1.runtime'.cni]\n\
             bin_dirs = ['{CNI_PLUGINS}']\n\
             conf_dir = {network}\n",
            root = path("containerd"),
            state = path("state"),
            socket = toml(&self.socket()),
            ttrpc = path("ttrpc.sock"),
            network = path("network"),
        );
        let file = self.file("containerd.toml");
        write_private(&file, config)?;
        Ok(file)
    }

    /// Waits for containerd, and gives it every image.
    async fn import(&self, real: &Real) -> Result<()> {
        let ctr = |args: &[&str]| {
            let mut command = tokio::process::Command::new(real.containerd.path("ctr"));
            command.arg("--address").arg(self.socket());
            command.args(["--namespace", "k8s.io", "--connect-timeout", "30s"]);
            command.args(args).kill_on_drop(true);
            command
        };
        isolation::until_exists(&self.socket()).await?;
        for image in &real.images {
            let shown = image.display();
            let output = ctr(&["images", "import"]).arg(image).output().await?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "cannot import {shown}: {said}");
        }
        Ok(())
    }

    fn kubelet(&self, layout: &Layout, isolation: &Isolation) -> Result<[String; 6]> {
        let config = self.file("kubelet.json");
        let resolver = self.file("resolv.conf");
        write_private(&resolver, "")?;
        write_private(
            &config,
            self.configuration(layout, isolation, &resolver).to_string(),
        )?;
        let Node { name, address, .. } = self.node;
        Ok([
            format!("--config={}", config.display()),
            format!("--kubeconfig={}", layout.kubeconfig(name).display()),
            format!("--hostname-override={name}"),
            format!("--node-ip={address}"),
            format!("--root-dir={}", self.file("kubelet").display()),
            format!("--cert-dir={}", self.file("certificates").display()),
        ])
    }

    fn configuration(&self, layout: &Layout, isolation: &Isolation, resolver: &Path) -> Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.node.address,
            "healthzBindAddress": self.node.address,
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": false},
                "x509": {"clientCAFile": layout.pki("ca.crt")},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": isolation.cgroup(self.node.name),
            "failCgroupV1": false,
            "failSwapOn": false,
            "containerRuntimeEndpoint": format!("unix://{}", self.socket().display()),
            "podLogsDir": self.file("logs"),
            "volumePluginDir": self.file("plugins"),
            "resolvConf": resolver,
            // Whatever else the machine does is not to evict the pods of a test.
            "evictionHard": {
                "memory.available": "50Mi",
                "nodefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "1%",
            },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
        })
    }
}

/// A path as TOML has it.
fn toml(path: &Path) -> String {
    format!("'{}'", path.display())
}
