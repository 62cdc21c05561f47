//! An installation that looks after its certificates.

use std::{path::PathBuf, sync::Arc};

use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret};
use kube::{Api, Client, api::DeleteParams};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::mount::Mount;
use crate::support::{
    Ground,
    detour::{Detour, Way},
    ground::{SYSTEM, free_port},
    replica::Replica,
    wait::until,
};

/// The Secrets.
pub const SERVING: &str = "restamp-webhook-tls";
pub const AUTHORITY: &str = "restamp-webhook-tls-ca";
pub const AUTHORITY_OF_CERT_MANAGER: &str = "restamp-ca";
/// The Service, as the API server calls it.
pub const SERVICE: &str = "restamp-webhook.restamp-system.svc";
/// The configuration.
pub const CONFIGURATION: &str = "restamp";

/// Where it is, and the way to it.
pub struct Site {
    pub ground: Ground,
    pub client: Client,
    times: String,
    /// Flags of watcher and webhook.
    pub flags: Vec<String>,
}

/// A replica of the webhook.
pub struct Server {
    pub replica: Replica,
    port: u16,
    /// By which the API server knows it.
    host: String,
    _mount: Option<Mount>,
}

impl Site {
    /// The manifests for it, without any process. `times` are for a CA, for a serving certificate, and to learn of each.
    pub async fn new(test: &str, times: &str) -> Option<Site> {
        let ground = Ground::own(test).await?;
        apply(&ground, "manifests/default", &[]).await;
        Some(Self::on(ground, times).await)
    }

    /// What is on a ground already.
    pub async fn on(ground: Ground, times: &str) -> Site {
        Site {
            client: ground.client().await,
            ground,
            times: format!("--certificate-times={times}"),
            flags: Vec::new(),
        }
    }

    pub async fn watcher(&self, name: &str) -> Replica {
        let kubeconfig = self.ground.kubeconfig_of(SYSTEM, "restamp-watcher").await;
        let ours = ["--webhook-configuration", CONFIGURATION, &self.times];
        let flags: Vec<_> = ours.into_iter().chain(self.flags()).collect();
        self.ground.watcher_with(name, &kubeconfig, &flags)
    }

    pub async fn webhook(&self) -> Server {
        let from = ["--cert-secret", SERVING];
        self.serve("127.0.0.1", from, None).await
    }

    /// As [`Site::webhook`], as pods are that have the Secret mounted: they start when it is there.
    pub async fn webhook_with_mount(&self) -> Server {
        let mount = Mount::of(self.secrets(), SERVING).await;
        let folder = mount.folder().to_str().expect("a path in UTF-8").to_owned();
        let from = ["--cert-dir", &folder];
        self.serve(SERVICE, from, Some(mount)).await
    }

    /// A replica that is called by that name.
    pub async fn serve(&self, host: &str, from: [&str; 2], mount: Option<Mount>) -> Server {
        let kubeconfig = self.ground.kubeconfig_of(SYSTEM, "restamp-webhook").await;
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let args = ["webhook", "--listen", &listen];
        let args: Vec<_> = args.into_iter().chain(from).chain(self.flags()).collect();
        let log = self.ground.new_log("webhook");
        Server {
            replica: Replica::start(&args, &kubeconfig, &log),
            port,
            host: host.to_owned(),
            _mount: mount,
        }
    }

    fn flags(&self) -> impl Iterator<Item = &str> {
        self.flags.iter().map(String::as_str)
    }

    /// Has the API server call the webhook by a way that leads to a replica of it.
    pub async fn lead_to(&self, server: &Server) -> Detour {
        let detour = Detour::to(server.address()).await;
        let url = format!("https://{}{}", detour.address(), restamp::webhook::PATH);
        let patch = json!([{ "op": "replace", "path": "/webhooks/0/clientConfig", "value": { "url": url } }]);
        self.patch_configuration(&patch).await;
        detour
    }

    /// In the place of the namespaces that manifests/namespaced names.
    pub async fn have_reviewed(&self, namespace: &str) {
        let path = "/webhooks/0/namespaceSelector/matchExpressions";
        let reviewed = json!([{ "key": "kubernetes.io/metadata.name", "operator": "In", "values": [namespace] }]);
        self.patch_configuration(&json!([{ "op": "replace", "path": path, "value": reviewed }]))
            .await;
    }

    /// A JSON patch by somebody.
    pub async fn patch_configuration(&self, patch: &Value) {
        let patch = patch.to_string();
        let args = ["patch", "mutatingwebhookconfiguration", CONFIGURATION];
        let args = [&args[..], &["--type=json", "--patch", &patch]].concat();
        self.ground.kubectl(&args).await;
    }

    /// Takes away whom the API server trusts.
    pub async fn take_bundle_away(&self) {
        let path = "/webhooks/0/clientConfig/caBundle";
        self.patch_configuration(&json!([{ "op": "remove", "path": path }]))
            .await;
    }

    pub async fn configuration(&self) -> MutatingWebhookConfiguration {
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        api.get(CONFIGURATION).await.expect("a configuration")
    }

    /// Whom the API server trusts.
    pub async fn bundle(&self) -> Vec<CertificateDer<'static>> {
        let webhooks = self.configuration().await.webhooks.expect("webhooks");
        let bundle = webhooks[0].client_config.ca_bundle.clone();
        let bundle = bundle.unwrap_or_default().0;
        let certificates = CertificateDer::pem_slice_iter(&bundle);
        certificates.collect::<Result<_, _>>().expect("PEM")
    }

    /// Who writes the bundle.
    pub async fn managers_of_bundle(&self) -> Vec<String> {
        let managers = self.configuration().await.metadata.managed_fields;
        let of_bundle = managers.into_iter().flatten().filter(|entry| {
            let fields = serde_json::to_string(&entry.fields_v1).expect("fields");
            fields.contains("f:caBundle")
        });
        of_bundle.filter_map(|entry| entry.manager).collect()
    }

    /// Waits until the bundle holds so many certificates.
    pub async fn until_bundled(&self, count: usize) -> Vec<CertificateDer<'static>> {
        until("the caBundle holds so many certificates", async || {
            let bundle = self.bundle().await;
            if bundle.len() == count {
                Ok(bundle)
            } else {
                Err(bundle.len())
            }
        })
        .await
    }

    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), SYSTEM)
    }

    pub async fn delete_secret(&self, name: &str) {
        let deleted = self.secrets().delete(name, &DeleteParams::default()).await;
        deleted.expect("it is there");
    }

    /// An entry of a Secret, if it is there.
    pub async fn entry(&self, secret: &str, entry: &str) -> Option<Vec<u8>> {
        let secret = self.secrets().get_opt(secret).await.expect("an answer")?;
        Some(secret.data?.remove(entry)?.0)
    }
}

impl Server {
    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub fn way(&self) -> Way {
        Way::To(self.address())
    }

    /// Whether somebody who trusts these CAs takes it for the webhook.
    pub async fn is_trusted(&self, bundle: &[CertificateDer<'static>]) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        for certificate in bundle {
            roots.add(certificate.clone()).expect("a CA");
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address()).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let name = ServerName::try_from(self.host.clone()).expect("a name or an address");
        let connector = TlsConnector::from(Arc::new(config));
        let connected = connector.connect(name, stream).await;
        connected.map(drop).map_err(|error| error.to_string())
    }
}

/// Applies a folder of manifests.
pub async fn apply(ground: &Ground, relative: &str, options: &[&str]) {
    let folder = folder(relative);
    let folder = folder.to_str().expect("a path in UTF-8");
    let args = ["apply", "--server-side", "-k", folder];
    ground.kubectl(&[&args, options].concat()).await;
}

pub fn folder(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative)
}

pub async fn until_logged(replica: &Replica, text: &str) {
    until("it is logged", async || match replica.log() {
        log if log.contains(text) => Ok(()),
        log => Err(format!("no {text:?} in\n{log}")),
    })
    .await;
}
