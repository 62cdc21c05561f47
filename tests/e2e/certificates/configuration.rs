//! What others do to the webhook configuration, and what they see of ours.

use k8s_openapi::ByteString;
use restamp::certificates::material;
use rustls::pki_types::CertificateDer;
use serde_json::json;

use super::site::{CONFIGURATION, SERVING, Site, folder};
use crate::support::{replica::Replica, wait::until};

impl Site {
    /// Waits until the bundle is that again.
    pub async fn until_trusted_again(&self, bundle: &[CertificateDer<'static>]) {
        until("the caBundle is put back", async || {
            match self.bundle().await {
                now if now == bundle => Ok(()),
                now => Err(now.len()),
            }
        })
        .await;
    }

    /// Waits until there is a serving certificate for a host.
    async fn until_served_for(&self, host: &str) {
        until("a certificate is for the host", async || {
            let certificate = self.entry(SERVING, "tls.crt").await.ok_or("none")?;
            let key = self.entry(SERVING, "tls.key").await.ok_or("no key")?;
            let serving = material::serving(&certificate, &key).ok_or("no pair")?;
            material::is_for(&serving, host).then_some(()).ok_or(host)
        })
        .await;
    }

    pub async fn generation(&self) -> i64 {
        let generation = self.configuration().await.metadata.generation;
        generation.expect("a generation")
    }
}

type Bundle = Vec<CertificateDer<'static>>;

/// A watcher, and whom the API server then trusts.
async fn trusted(site: &Site) -> (Replica, Bundle) {
    let watcher = site.watcher("only").await;
    watcher.until_leading().await;
    let bundle = site.until_bundled(1).await;
    let host = "restamp-webhook.restamp-system.svc";
    site.until_served_for(host).await;
    site.until_served_for(&format!("{host}.cluster.local"))
        .await;
    (watcher, bundle)
}

fn file() -> String {
    let file = folder("manifests/base/webhook-configuration.yaml");
    file.to_str().expect("a path in UTF-8").to_owned()
}

#[tokio::test]
async fn appliers_see_no_drift_and_keep_what_is_theirs() {
    let Some(site) = Site::new("certificates", "20m,10m,1s,2s").await else {
        return;
    };
    let (_watcher, bundle) = trusted(&site).await;
    let (ground, file) = (&site.ground, file());
    let before = site.generation().await;
    // As the one who made it, and as another one, who has to force nothing.
    for args in [
        &["apply", "--server-side"][..],
        &[
            "apply",
            "--server-side",
            "--field-manager=argocd-controller",
        ],
        &["apply"],
    ] {
        ground.kubectl(&[args, &["-f", &file]].concat()).await;
        assert_eq!(site.bundle().await, bundle, "{args:?}");
        assert_eq!(site.generation().await, before, "{args:?}");
        let how = args.iter().skip(1).copied();
        let diff: Vec<_> = ["diff", "-f", &file].into_iter().chain(how).collect();
        assert_eq!(ground.kubectl(&diff).await, "", "{args:?}");
    }
    let managers = site.configuration().await.metadata.managed_fields;
    let ours: Vec<_> = managers
        .iter()
        .flatten()
        .filter(|entry| entry.manager.as_deref() == Some("restamp"))
        .map(|entry| serde_json::to_value(&entry.fields_v1).expect("fields"))
        .collect();
    let fields = json!({ ".": {}, "f:clientConfig": { "f:caBundle": {} }, "f:name": {} });
    let only = json!({ "f:webhooks": { "k:{\"name\":\"workloads.restamp.dev\"}": fields } });
    assert_eq!(ours, [only], "of all fields, this one alone is ours");
}

#[tokio::test]
async fn a_bundle_that_is_taken_away_or_altered_is_put_back() {
    let Some(site) = Site::new("certificates", "20m,10m,1s,2s").await else {
        return;
    };
    let (watcher, bundle) = trusted(&site).await;
    let (ground, file) = (&site.ground, file());
    ground.kubectl(&["replace", "-f", &file]).await;
    site.until_trusted_again(&bundle).await;
    site.take_bundle_away().await;
    site.until_trusted_again(&bundle).await;
    let path = "/webhooks/0/clientConfig/caBundle";
    let other = restamp_dev_certs::Authority::generate().expect("a CA");
    let other = ByteString(other.certificate().as_bytes().to_vec());
    site.patch_configuration(&json!([{ "op": "replace", "path": path, "value": other }]))
        .await;
    site.until_trusted_again(&bundle).await;
    ground
        .kubectl(&["delete", "mutatingwebhookconfiguration", CONFIGURATION])
        .await;
    ground.kubectl(&["create", "-f", &file]).await;
    site.until_trusted_again(&bundle).await;
    let made = "restamp_certificate_steps_total{reason=\"NoAuthority\"";
    assert_eq!(watcher.metric(made).await, 1.0, "the CA is the same");
}
