//! A webhook as a process, and the API server told to call it.

use std::{env, path::Path};

use restamp_dev_certs::{Authority, Validity};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    ground::{Ground, SYSTEM, free_port},
    replica::Replica,
    shop::{Shop, pod, workload},
    wait::until,
};

/// A running webhook that the API server calls.
pub struct Webhook {
    /// Its process.
    pub replica: Replica,
    /// Who issues its certificates.
    pub authority: Authority,
    host: String,
    certs: TempDir,
}

impl Webhook {
    /// Where the API server reaches this machine; nothing if that is not known.
    pub fn host() -> Option<String> {
        let given = env::var("E2E_WEBHOOK_HOST").ok();
        let ours = env::var_os("E2E_CLUSTER_BIN").map(|_| "127.0.0.1".to_owned());
        given.or(ours)
    }

    /// Gives it another certificate, as a renewal does.
    pub fn renew_certificate(&self) {
        let host = std::slice::from_ref(&self.host);
        let identity = self.authority.server(host, Validity::for_days(1));
        let identity = identity.expect("a certificate");
        identity.write(self.certs.path(), "tls").expect("its files");
    }
}

fn start(ground: &Ground, listen: &str, certs: &TempDir, kubeconfig: &Path) -> Replica {
    let dir = certs.path().to_str().expect("a path in UTF-8");
    let args = ["webhook", "--listen", listen, "--cert-dir", dir];
    Replica::start(&args, kubeconfig, &ground.new_log("webhook"))
}

impl Ground {
    /// Starts a webhook under its own ServiceAccount, and waits until the API server calls it.
    pub async fn webhook(&self, host: &str) -> Webhook {
        let port = free_port();
        let address = match host {
            "127.0.0.1" => host,
            _ => "0.0.0.0",
        };
        let authority = Authority::generate().expect("a CA");
        let certs = tempfile::Builder::new()
            .prefix("restamp-e2e-certs-")
            .tempdir()
            .expect("a temporary folder");
        let kubeconfig = self.kubeconfig_of(SYSTEM, "restamp-webhook").await;
        let listen = format!("{address}:{port}");
        let webhook = Webhook {
            replica: start(self, &listen, &certs, &kubeconfig),
            authority,
            host: host.to_owned(),
            certs,
        };
        webhook.renew_certificate();
        webhook.replica.until_ready().await;
        let url = format!("https://{host}:{port}{}", restamp::webhook::PATH);
        self.send_reviews_to(&url, webhook.authority.certificate())
            .await;
        self.until_called().await;
        webhook
    }

    /// Waits until the API server has taken in the webhook's configuration.
    async fn until_called(&self) {
        let shop = Shop::empty(
            self,
            "webhook-probe",
            json!({ "restamp.dev/inject": "enabled" }),
        )
        .await;
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
