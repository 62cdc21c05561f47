//! The files and ports of one cluster.

use crate::{binaries::Binaries, pki::Pki, ports};
use anyhow::{Context, Result};
use restamp_test_cluster::{
    Endpoints, Part,
    kubeconfig::{render, write_private},
};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

const ADMINS: Option<&str> = Some("system:masters");
/// For the cluster's own waiting, so that the audit log of `test-admin` is the tests' alone.
const SUPERVISOR: &str = "supervisor";

/// Who gets a kubeconfig: its file, the user name, the group.
const USERS: [(&str, &str, Option<&str>); 5] = [
    ("admin", "test-admin", ADMINS),
    (SUPERVISOR, "test-supervisor", ADMINS),
    ("kwok", "kwok", ADMINS),
    (
        "kube-controller-manager",
        "system:kube-controller-manager",
        None,
    ),
    ("kube-scheduler", "system:kube-scheduler", None),
];

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
        fs::create_dir(layout.pki_dir()).context("cannot create the folder of certificates")?;
        let pki = Pki::create(&layout.pki_dir())?;
        let hosts = [
            "127.0.0.1",
            "localhost",
            "kubernetes.default.svc",
            "10.96.0.1",
        ];
        pki.server("kube-apiserver", &hosts)?;
        pki.keys("service-accounts")?;
        for (file, user, group) in USERS {
            pki.client(file, user, group)?;
            layout.write_kubeconfig(file)?;
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
