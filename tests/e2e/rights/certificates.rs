//! Rights for certificates that Restamp makes itself.

use serde_json::json;

use super::{Missed, Right, Roles, WATCHER, WEBHOOK};
use crate::{
    certificates::{
        problems::cut_short,
        rotation::until_stamped,
        site::{CONFIGURATION, SERVING, Site, apply},
    },
    scope::take_cluster_rights,
    support::{Shop, ground::SYSTEM},
};

const OF_WEBHOOK: Right = Right::new("Role/restamp-webhook-certificates", "get", ("", "secrets"));

/// Of the watcher, each with what it is for.
fn of_watcher() -> impl Iterator<Item = (Right, String)> {
    let resource = (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    );
    let of_configuration = ["get", "list", "watch", "patch"].map(|verb| {
        let right = Right::new("ClusterRole/restamp-watcher-certificates", verb, resource);
        (right, format!("{CONFIGURATION:?}"))
    });
    let of_secrets = ["get", "list", "watch", "update"].map(|verb| {
        let right = Right::new("Role/restamp-watcher-certificates", verb, ("", "secrets"));
        // Or that of the CA, whose name goes on.
        (right, format!("\"{SERVING}"))
    });
    of_configuration.into_iter().chain(of_secrets)
}

pub(super) fn rights() -> Vec<Right> {
    let rights = of_watcher().map(|(right, _)| right);
    rights.chain([OF_WEBHOOK]).collect()
}

/// In some namespaces: in a whole cluster, others make up for some of them.
#[tokio::test]
async fn rights_in_some_namespaces_suffice_and_each_for_certificates_is_missed() {
    let Some(mut site) = Site::new("certificates", "20m,10m,1s,2s").await else {
        return;
    };
    take_cluster_rights(&site.ground).await;
    let inject = json!({ "restamp.dev/inject": "enabled" });
    let shop = Shop::empty(&site.ground, "certificates", inject).await;
    let options = ["-n", &shop.namespace];
    apply(&site.ground, "manifests/namespaced/followed", &options).await;
    site.flags = vec![format!("--namespaces={}", shop.namespace)];
    let webhook = site.webhook().await;
    let _way = site.lead_to(&webhook).await;
    site.have_reviewed(&shop.namespace).await;
    let watcher = site.watcher("only").await;
    until_stamped(&shop).await;
    for log in [watcher.log(), webhook.replica.log()] {
        assert!(!log.contains("grant this right"), "{log}");
    }
    watcher.stop().await;

    let roles = Roles::of(&site.ground, WATCHER).await;
    for (right, what) in of_watcher() {
        roles.all_but(right).await;
        let poor = site.watcher(&format!("without-{}", right.verb)).await;
        match right.verb {
            "patch" => site.take_bundle_away().await,
            "update" => cut_short(&site, SERVING, "tls.key").await,
            _ => {}
        }
        Missed::ever(&poor, right).until_not_ready(&what).await;
        roles.all().await;
        poor.until_ready().await;
        site.until_bundled(1).await;
        poor.stop().await;
    }

    let roles = Roles::of(&site.ground, WEBHOOK).await;
    let missed = Missed::from_now_on(&webhook.replica, OF_WEBHOOK).await;
    roles.all_but(OF_WEBHOOK).await;
    let what = format!("{SERVING:?} in namespace {SYSTEM:?}");
    missed.until_told(&what).await;
    webhook.replica.until_ready().await;
    let poor = site.webhook().await;
    Missed::ever(&poor.replica, OF_WEBHOOK)
        .until_not_ready(&what)
        .await;
    roles.all().await;
    poor.replica.until_ready().await;
}
