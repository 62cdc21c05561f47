//! What keeps Restamp from looking after certificates is said, and does not end it.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::{
    rotation::until_stamped,
    site::{AUTHORITY, CONFIGURATION, SERVING, Site, apply, until_logged},
};
use crate::support::{Ground, Shop, ground::SYSTEM, replica::Replica, wait::until};

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

#[tokio::test]
async fn a_right_for_certificates_that_is_missing_is_named() {
    let Some(site) = Site::new("certificates", "20m,10m,1s,2s").await else {
        return;
    };
    let ground = &site.ground;
    let role = |verbs: &[&str]| {
        json!({ "rules": [{
            "apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"],
            "resourceNames": [CONFIGURATION], "verbs": verbs,
        }] })
        .to_string()
    };
    let all = ["get", "list", "watch", "patch"];
    let name = "restamp-watcher-certificates";
    let resource = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
    let patch = async |rules: &str| {
        ground
            .kubectl(&["patch", "clusterrole", name, "--patch", rules])
            .await;
    };
    let rich = site.watcher("rich").await;
    site.until_bundled(1).await;
    rich.stop().await;
    for verb in all {
        let others: Vec<_> = all.into_iter().filter(|other| *other != verb).collect();
        patch(&role(&others)).await;
        let poor = site.watcher(&format!("without-{verb}")).await;
        if verb == "patch" {
            let path = "/webhooks/0/clientConfig/caBundle";
            site.patch_configuration(&json!([{ "op": "remove", "path": path }]))
                .await;
        }
        let told = format!("may not {verb} {resource} \"restamp\": grant this right");
        until_logged(&poor, &told).await;
        until_not_ready(&poor, &told).await;
        assert_eq!(poor.log().matches(&told).count(), 1, "it is said once");
        patch(&role(&all)).await;
        poor.until_ready().await;
        site.until_bundled(1).await;
        poor.stop().await;
    }
}

#[tokio::test]
async fn rights_in_some_namespaces_suffice_and_each_to_the_secrets_is_missed() {
    let Some(mut site) = Site::new("certificates", "20m,10m,1s,2s").await else {
        return;
    };
    for kind in ["clusterrole", "clusterrolebinding"] {
        let args = ["delete", kind, "restamp-watcher", "restamp-webhook"];
        site.ground.kubectl(&args).await;
    }
    apply(&site.ground, "manifests/namespaced", &[]).await;
    let inject = json!({ "restamp.dev/inject": "enabled" });
    let shop = Shop::empty(&site.ground, "certificates", inject).await;
    let options = ["-n", &shop.namespace];
    apply(&site.ground, "manifests/namespaced/followed", &options).await;
    site.flags = vec![format!("--namespaces={}", shop.namespace)];
    let webhook = site.webhook().await;
    let _way = site.lead_to(&webhook).await;
    let watcher = site.watcher("only").await;
    until_stamped(&shop).await;
    for log in [watcher.log(), webhook.replica.log()] {
        assert!(!log.contains("grant this right"), "{log}");
    }
    watcher.stop().await;
    // Listing, the notes about Jobs need anyway.
    for verb in ["get", "watch", "update"] {
        set_verbs(&site.ground, |other| other != verb).await;
        let poor = site.watcher(&format!("without-{verb}")).await;
        if verb == "update" {
            cut_short(&site, SERVING, "tls.key").await;
        }
        let told = format!("may not {verb} secrets \"{SERVING}");
        until_logged(&poor, &told).await;
        until_not_ready(&poor, &told).await;
        set_verbs(&site.ground, |_| true).await;
        poor.until_ready().await;
        poor.stop().await;
    }
}

/// What the watcher may do with the Secrets of certificates.
async fn set_verbs(ground: &Ground, has: impl Fn(&str) -> bool) {
    let mut verbs = vec!["get", "list", "watch", "update"];
    verbs.retain(|verb| has(verb));
    let rule = json!({
        "apiGroups": [""], "resources": ["secrets"], "resourceNames": [SERVING, AUTHORITY], "verbs": verbs,
    });
    let rules = json!({ "rules": [rule] }).to_string();
    let role = [
        "-n",
        SYSTEM,
        "patch",
        "role",
        "restamp-watcher-certificates",
    ];
    ground
        .kubectl(&[&role[..], &["--patch", &rules]].concat())
        .await;
}

async fn cut_short(site: &Site, secret: &str, entry: &str) {
    let cut = json!({ "stringData": { entry: "-----BEGIN PRIVATE KEY-----\nMIG" } });
    let patch = Patch::Merge(cut);
    let cut = site
        .secrets()
        .patch(secret, &PatchParams::default(), &patch)
        .await;
    cut.expect("it is cut short");
}
