//! The files and ports of one cluster.

use crate::{binaries::Binaries, nodes::API_SERVER, ports};
use anyhow::Result;
use restamp_dev_certs::{Authority, Validity};
use restamp_test_cluster::{
    Endpoints, Part,
    kubeconfig::{render, write_private},
};
use serde_json::json;
use std::path::{Path, PathBuf};

const ADMINS: Option<&str> = Some("system:masters");
const NODES: Option<&str> = Some("system:nodes");
/// For the cluster's own waiting, so that the audit log of `test-admin` is the tests' alone.
const SUPERVISOR: &str = "supervisor";

/// Who gets a kubeconfig: its file, the user name, the group.
const USERS: [(&str, &str, Option<&str>); 8] = [
    ("admin", "test-admin", ADMINS),
    (SUPERVISOR, "test-supervisor", ADMINS),
    ("kwok", "kwok", ADMINS),
    (
        "kube-controller-manager",
        "system:kube-controller-manager",
        None,
    ),
    ("kube-scheduler", "system:kube-scheduler", None),
    ("kube-proxy", "system:kube-proxy", None),
    ("node-1", "system:node:node-1", NODES),
    ("node-2", "system:node:node-2", NODES),
];

const API_HOSTS: [&str; 5] = [
    "127.0.0.1",
    API_SERVER,
    "localhost",
    "kubernetes.default.svc",
    "10.96.0.1",
];
const TOKEN_SIGNER: &str = "service-accounts";

pub(crate) struct Layout {
    dir: PathBuf,
    pub(crate) etcd_port: u16,
    pub(crate) api_port: u16,
}

impl Layout {
    /// Chooses the ports and writes the files that the parts need to start.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let layout = Self {
            dir: dir.to_owned(),
            etcd_port: ports::free()?,
            api_port: ports::free()?,
        };
        layout.write_certificates()?;
        for (user, ..) in USERS {
            layout.write_kubeconfig(user)?;
        }
        layout.write_audit_policy()?;
        Ok(layout)
    }

    pub(crate) fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_port)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn pki(&self, name: &str) -> PathBuf {
        self.pki_dir().join(name)
    }

    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.file(&format!("{user}.kubeconfig"))
    }

    pub(crate) fn supervisor_kubeconfig(&self) -> PathBuf {
        self.kubeconfig(SUPERVISOR)
    }

    pub(crate) fn log(&self, part: Part) -> PathBuf {
        self.file(&format!("{part}.log"))
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.file("audit.log")
    }

    pub(crate) fn audit_policy(&self) -> PathBuf {
        self.file("audit-policy.json")
    }

    pub(crate) fn endpoints(&self, binaries: &Binaries) -> Endpoints {
        Endpoints {
            kubeconfig: self.kubeconfig("admin"),
            audit_log: self.audit_log(),
            kubectl: binaries.path("kubectl"),
            dir: self.dir.clone(),
        }
    }

    fn pki_dir(&self) -> PathBuf {
        self.dir.join("pki")
    }

    fn write_certificates(&self) -> Result<()> {
        let dir = self.pki_dir();
        let authority = Authority::open(&dir)?;
        let validity = Validity::for_days(365);
        let server = authority.server(&API_HOSTS, validity)?;
        server.write(&dir, "kube-apiserver")?;
        for (file, user, group) in USERS {
            authority.client(user, group, validity)?.write(&dir, file)?;
        }
        // Tokens are signed with its key; the API server finds the public one in the certificate.
        let signer = authority.client(TOKEN_SIGNER, None, validity)?;
        signer.write(&dir, TOKEN_SIGNER)?;
        Ok(())
    }

    fn write_kubeconfig(&self, user: &str) -> Result<()> {
        let cluster = json!({
            "server": format!("https://127.0.0.1:{}", self.api_port),
            "certificate-authority": self.pki("ca.crt"),
        });
        let identity = json!({
            "client-certificate": self.pki(&format!("{user}.crt")),
            "client-key": self.pki(&format!("{user}.key")),
        });
        let config = render(cluster, identity).to_string();
        write_private(&self.kubeconfig(user), config)
    }

    fn write_audit_policy(&self) -> Result<()> {
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata"}],
        });
        write_private(&self.audit_policy(), policy.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::config::{KubeConfigOptions, Kubeconfig};

    #[tokio::test]
    async fn every_user_gets_a_kubeconfig_that_a_client_accepts() {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        for (user, ..) in USERS {
            let config = Kubeconfig::read_from(layout.kubeconfig(user)).unwrap();
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(config, &options);
            let mut config = config.await.unwrap();
            config.proxy_url = None;
            let port = config.cluster_url.port_u16();
            assert_eq!(port, Some(layout.api_port));
            kube::Client::try_from(config).unwrap();
        }
        for part in ["kube-controller-manager", "kube-scheduler", "kwok"] {
            assert!(layout.kubeconfig(part).exists(), "{part}");
        }
    }
}
