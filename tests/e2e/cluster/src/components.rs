//! How each part is run.

use crate::{
    binaries::Binaries,
    layout::Layout,
    nodes::{API_SERVER, Real},
};
use anyhow::{Context, Result};
use restamp_test_cluster::Part;
use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Virtual: nothing routes to it.
const SERVICES: &str = "10.96.0.0/16";
const PODS: &str = "10.244.0.0/16";
const ISSUER: &str = "https://kubernetes.default.svc";

/// Nodes with this annotation are simulated.
pub(crate) const FAKE_NODE: (&str, &str) = ("kwok.x-k8s.io/node", "fake");

/// The command that runs `part`, its output appended to the part's log.
pub(crate) fn command(
    part: Part,
    layout: &Layout,
    binaries: &Binaries,
    real: Option<&Real>,
) -> Result<Command> {
    let path = layout.log(part);
    let log = File::options().create(true).append(true).open(&path);
    let log = log.with_context(|| format!("cannot open {}", path.display()))?;
    let mut command = Command::new(binaries.path(part.name()));
    command
        .args(arguments(part, layout, binaries, real)?)
        // Of its own, so that Ctrl-C reaches only us and we end the parts in order.
        .process_group(0)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(command)
}

fn arguments(
    part: Part,
    layout: &Layout,
    binaries: &Binaries,
    real: Option<&Real>,
) -> Result<Vec<String>> {
    Ok(match part {
        Part::Etcd => etcd(layout),
        Part::ApiServer => {
            let mut arguments = api_server(layout);
            arguments.extend(match real {
                None => on_loopback(),
                Some(_) => beside_nodes(layout),
            });
            arguments
        }
        Part::ControllerManager => controller_manager(layout),
        Part::Scheduler => client_of(layout, part),
        Part::Kwok => {
            let stages = binaries.files().context("kwok has no Stage files")?;
            kwok(layout, &stage_files(&stages)?)
        }
    })
}

fn etcd(layout: &Layout) -> Vec<String> {
    let url = layout.etcd_url();
    vec![
        option("data-dir", layout.file("etcd").display()),
        option("listen-client-urls", &url),
        option("advertise-client-urls", &url),
        option("listen-peer-urls", "http://127.0.0.1:0"),
        option("log-level", "warn"),
        "--unsafe-no-fsync".to_owned(),
    ]
}

fn api_server(layout: &Layout) -> Vec<String> {
    let pki = |name: &str| layout.pki(name).display().to_string();
    vec![
        option("etcd-servers", layout.etcd_url()),
        option("secure-port", layout.api_port),
        option("cert-dir", layout.file("pki").display()),
        option("tls-cert-file", pki("kube-apiserver.crt")),
        option("tls-private-key-file", pki("kube-apiserver.key")),
        option("client-ca-file", pki("ca.crt")),
        option("authorization-mode", "Node,RBAC"),
        option("service-cluster-ip-range", SERVICES),
        option("api-audiences", ISSUER),
        option("service-account-issuer", ISSUER),
        option("service-account-key-file", pki("service-accounts.crt")),
        option(
            "service-account-signing-key-file",
            pki("service-accounts.key"),
        ),
        option("service-account-max-token-expiration", "8760h"),
        option("audit-policy-file", layout.audit_policy().display()),
        option("audit-log-path", layout.audit_log().display()),
        option("audit-log-mode", "blocking"),
        // No rotation: tests count requests in one file.
        option("audit-log-maxsize", 0),
    ]
}

fn on_loopback() -> Vec<String> {
    vec![
        option("bind-address", "127.0.0.1"),
        option("advertise-address", "127.0.0.1"),
        option("endpoint-reconciler-type", "none"),
    ]
}

/// Within reach of pods, and reaching them.
fn beside_nodes(layout: &Layout) -> Vec<String> {
    vec![
        option("bind-address", "0.0.0.0"),
        option("advertise-address", API_SERVER),
        // The Services of webhooks lead to their pods.
        option("enable-aggregator-routing", true),
        option("kubelet-preferred-address-types", "InternalIP"),
        option(
            "kubelet-client-certificate",
            layout.pki("admin.crt").display(),
        ),
        option("kubelet-client-key", layout.pki("admin.key").display()),
    ]
}

fn controller_manager(layout: &Layout) -> Vec<String> {
    let keys = layout.pki("service-accounts.key");
    let mut arguments = client_of(layout, Part::ControllerManager);
    arguments.extend([
        "--use-service-account-credentials".to_owned(),
        option("service-account-private-key-file", keys.display()),
        option("root-ca-file", layout.pki("ca.crt").display()),
        option("concurrent-deployment-syncs", 20),
        option("concurrent-replicaset-syncs", 20),
        // Kwok's heartbeat comes every ten minutes, and a stopped kwok is not to evict every pod.
        option("node-monitor-grace-period", "24h"),
    ]);
    arguments
}

/// Without the usual throttle, which is what a test at scale would measure instead.
fn client_of(layout: &Layout, part: Part) -> Vec<String> {
    vec![
        option("kubeconfig", layout.kubeconfig(part.name()).display()),
        option("leader-elect", false),
        option("secure-port", 0),
        option("kube-api-qps", 2000),
        option("kube-api-burst", 3000),
    ]
}

fn kwok(layout: &Layout, stages: &[PathBuf]) -> Vec<String> {
    let (annotation, value) = FAKE_NODE;
    let selector = format!("{annotation}={value}");
    let mut arguments = vec![
        option("kubeconfig", layout.kubeconfig("kwok").display()),
        option("manage-nodes-with-annotation-selector", selector),
        // No leases: a restarted kwok would wait until those of the one before it have expired.
        option("node-lease-duration-seconds", 0),
        option("cidr", PODS),
    ];
    arguments.extend(stages.iter().map(|file| option("config", file.display())));
    arguments
}

fn stage_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut files: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    Ok(files)
}

fn option(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}
