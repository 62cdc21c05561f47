//! A webhook as a process, and the API server told to call it.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use restamp_dev_certs::{Authority, Validity};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    ground::{Ground, SYSTEM, free_port},
    replica::Replica,
    shop::{Shop, pod, workload},
    wait::until,
};

/// A running webhook.
pub struct Webhook {
    /// Its process.
    pub replica: Replica,
    /// Who issues its certificates.
    pub authority: Arc<Authority>,
    /// Where the API server reaches it: host and port.
    pub address: String,
    ground: Ground,
    host: String,
    kubeconfig: PathBuf,
    certs: Arc<TempDir>,
    flags: &'static [&'static str],
}

impl Webhook {
    /// Where the API server reaches this machine; nothing if that is not known.
    pub fn host() -> Option<String> {
        let given = env::var("E2E_WEBHOOK_HOST").ok();
        let ours = env::var_os("E2E_CLUSTER_BIN").map(|_| "127.0.0.1".to_owned());
        given.or(ours)
    }

    /// Starts one with somebody's rights. Nobody calls it yet.
    pub async fn start(ground: &Ground, host: &str, kubeconfig: PathBuf) -> Webhook {
        Self::start_with(ground, host, kubeconfig, &[]).await
    }

    /// The same with more flags.
    pub async fn start_with(
        ground: &Ground,
        host: &str,
        kubeconfig: PathBuf,
        flags: &'static [&'static str],
    ) -> Webhook {
        let authority = Authority::generate().expect("a CA");
        let certs = tempfile::Builder::new()
            .prefix("restamp-e2e-certs-")
            .tempdir()
            .expect("a temporary folder");
        write_certificate(&authority, host, &certs);
        let (authority, certs) = (authority.into(), certs.into());
        let webhook = Self::at_free_port(ground, host, kubeconfig, authority, certs, flags);
        webhook.replica.until_ready().await;
        webhook
    }

    /// Starts another one with the same rights and certificate.
    pub async fn another(&self) -> Webhook {
        let (authority, certs) = (self.authority.clone(), self.certs.clone());
        let kubeconfig = self.kubeconfig.clone();
        let (ground, host) = (&self.ground, &self.host);
        let webhook = Self::at_free_port(ground, host, kubeconfig, authority, certs, self.flags);
        webhook.replica.until_ready().await;
        webhook
    }

    fn at_free_port(
        ground: &Ground,
        host: &str,
        kubeconfig: PathBuf,
        authority: Arc<Authority>,
        certs: Arc<TempDir>,
        flags: &'static [&'static str],
    ) -> Webhook {
        let address = format!("{host}:{}", free_port());
        Webhook {
            replica: process(ground, &address, &kubeconfig, &certs, flags),
            authority,
            address,
            ground: ground.clone(),
            host: host.to_owned(),
            kubeconfig,
            certs,
            flags,
        }
    }

    /// Starts it again, at the same place.
    pub async fn restart(&mut self) {
        self.replica.kill();
        let (address, kubeconfig) = (&self.address, &self.kubeconfig);
        self.replica = process(&self.ground, address, kubeconfig, &self.certs, self.flags);
        self.replica.until_ready().await;
    }

    /// Gives it another certificate, as a renewal does.
    pub fn renew_certificate(&self) {
        write_certificate(&self.authority, &self.host, &self.certs);
    }

    /// Has the API server call it at an address that leads to it, and waits until it does.
    pub async fn be_called_at(&self, address: &str) {
        let url = format!("https://{address}{}", restamp::webhook::PATH);
        let ca = self.authority.certificate();
        self.ground.send_reviews_to(&url, ca).await;
        self.ground.until_called().await;
    }
}

fn process(
    ground: &Ground,
    address: &str,
    kubeconfig: &Path,
    certs: &TempDir,
    flags: &[&str],
) -> Replica {
    let dir = certs.path().to_str().expect("a path in UTF-8");
    let (host, port) = address.rsplit_once(':').expect("a port");
    let listen = match host {
        "127.0.0.1" => address.to_owned(),
        _ => format!("0.0.0.0:{port}"),
    };
    let args = ["webhook", "--listen", &listen, "--cert-dir", dir];
    Replica::start(
        &[&args, flags].concat(),
        kubeconfig,
        &ground.new_log("webhook"),
    )
}

fn write_certificate(authority: &Authority, host: &str, certs: &TempDir) {
    let identity = authority.server(&[host], Validity::for_days(1));
    let identity = identity.expect("a certificate");
    identity.write(certs.path(), "tls").expect("its files");
}

impl Ground {
    /// Starts a webhook under its own ServiceAccount, and waits until the API server calls it.
    pub async fn webhook(&self, host: &str) -> Webhook {
        let kubeconfig = self.kubeconfig_of(SYSTEM, "restamp-webhook").await;
        let webhook = Webhook::start(self, host, kubeconfig).await;
        webhook.be_called_at(&webhook.address).await;
        webhook
    }

    /// A cluster of one's own with a watcher that leads, and a webhook; nothing where there is none.
    pub async fn own_with_both(test: &str) -> Option<(Ground, Replica, Webhook)> {
        let ground = Ground::own(test).await?;
        // It makes the installation key.
        let watcher = ground.leading_watcher("only").await;
        let webhook = ground.webhook("127.0.0.1").await;
        Some((ground, watcher, webhook))
    }

    /// Waits until the API server has taken in the webhook's configuration.
    async fn until_called(&self) {
        let inject = json!({ "restamp.dev/inject": "enabled" });
        let shop = Shop::empty(self, "webhook-probe", inject).await;
        let env = json!({ "envFrom": [{ "configMapRef": { "name": "kube-root-ca.crt" } }] });
        let auto = json!({ "reloader.stakater.com/auto": "true" });
        let object: Value = workload(("Deployment", "probe"), &auto, &pod(env));
        until("the API server calls the webhook", async || {
            match shop.dry_run(&object).await {
                Some(_) => Ok(()),
                None => Err("a dry run is not stamped"),
            }
        })
        .await;
    }
}
