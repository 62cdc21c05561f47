//! What keeps Restamp from looking after certificates is said, and does not end it.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::site::{AUTHORITY, CONFIGURATION, SERVING, Site, until_logged};
use crate::support::{replica::Replica, wait::until};

async fn until_not_ready(watcher: &Replica, why: &str) {
    until("it is not ready", async || {
        match watcher.http("/readyz").await {
            Ok((503, body)) if body.contains(why) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_in_the_way_is_named_and_made_good_once_it_is_gone() {
    let Some(site) = Site::new("certificates", "20m,10m,1s,2s").await else {
        return;
    };
    let ground = &site.ground;
    let webhook = site.webhook().await;
    until_logged(
        &webhook.replica,
        "there is no Secret restamp-system/restamp-webhook-tls",
    )
    .await;

    // Somebody else's.
    let foreign = json!({ "metadata": { "name": SERVING }, "type": "kubernetes.io/tls", "stringData": { "tls.crt": "", "tls.key": "" } });
    let foreign: Secret = serde_json::from_value(foreign).expect("a Secret");
    let created = site
        .secrets()
        .create(&PostParams::default(), &foreign)
        .await;
    created.expect("it is made");
    let watcher = site.watcher("only").await;
    until_logged(
        &watcher,
        "Secret restamp-system/restamp-webhook-tls was not made by Restamp",
    )
    .await;
    until_not_ready(
        &watcher,
        "certificates: Secret restamp-system/restamp-webhook-tls was not made",
    )
    .await;
    assert_eq!(site.entry(SERVING, "tls.crt").await, Some(vec![]));
    site.delete_secret(SERVING).await;
    watcher.until_ready().await;
    webhook.replica.until_ready().await;

    // Nothing to trust us.
    let file = ground
        .kubectl(&[
            "get",
            "mutatingwebhookconfiguration",
            CONFIGURATION,
            "-o",
            "yaml",
        ])
        .await;
    let file = ground.file("configuration.yaml", &file);
    ground
        .kubectl(&["delete", "mutatingwebhookconfiguration", CONFIGURATION])
        .await;
    let missing = "cannot get mutatingwebhookconfigurations.admissionregistration.k8s.io \"restamp\": it does not exist";
    until_not_ready(&watcher, missing).await;
    ground
        .kubectl(&["create", "-f", file.to_str().expect("a path in UTF-8")])
        .await;
    watcher.until_ready().await;
}

#[tokio::test]
async fn secrets_that_are_cut_short_are_made_anew() {
    let Some(site) = Site::new("certificates", "20m,10m,1s,2s").await else {
        return;
    };
    let _watcher = site.watcher("only").await;
    let bundle = site.until_bundled(1).await;
    until("there is a certificate", async || {
        site.entry(SERVING, "tls.crt").await.ok_or("none")
    })
    .await;
    let whole = site.entry(SERVING, "tls.crt").await.expect("a certificate");
    for (secret, entry) in [(SERVING, "tls.key"), (AUTHORITY, "ca.key")] {
        cut_short(&site, secret, entry).await;
        until("it is made anew", async || {
            match site.entry(secret, entry).await {
                Some(value) if value.len() > 100 => Ok(()),
                other => Err(other.map(|value| value.len())),
            }
        })
        .await;
    }
    assert_ne!(site.entry(SERVING, "tls.crt").await, Some(whole));
    until("another CA alone is trusted", async || {
        match site.bundle().await {
            now if now.len() == 1 && now != bundle => Ok(()),
            now => Err(now.len()),
        }
    })
    .await;
}

/// Leaves the beginning of an entry.
pub async fn cut_short(site: &Site, secret: &str, entry: &str) {
    let cut = json!({ "stringData": { entry: "-----BEGIN PRIVATE KEY-----\nMIG" } });
    let patch = Patch::Merge(cut);
    let cut = site
        .secrets()
        .patch(secret, &PatchParams::default(), &patch)
        .await;
    cut.expect("it is cut short");
}
