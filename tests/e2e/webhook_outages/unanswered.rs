//! A webhook that is down, or that does not get at what it has to read.

use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use restamp::stamp::annotations::AUTO;
use serde_json::{Value, json};

use super::{manifest, shop_with_sources, until_current, web};
use crate::support::{
    Ground, Shop,
    deploys::with_image,
    detour::{Detour, Way},
    ground::SYSTEM,
    rollouts::each,
    shop::{DEPLOYER, WEB, web_pod},
    wait::until,
    webhook::Webhook,
};

/// The API server gives up after that, so whoever waits longer was not answered.
const PATIENCE: Duration = Duration::from_secs(3);

async fn apply_all(shop: &Shop, image: &str) {
    for name in WEB {
        let manifest = with_image(&manifest(name), image);
        shop.kubectl(&["apply", "-f", "-"], &manifest).await;
    }
}

async fn put_all(shop: &Shop, image: &str) {
    for name in WEB {
        shop.put_workload(name, &with_image(&manifest(name), image))
            .await;
    }
}

async fn stamps(shop: &Shop) -> Vec<Option<String>> {
    join_all(WEB.map(|name| shop.stamp(name))).await
}

#[tokio::test]
async fn p5_without_the_webhook_deploys_work_and_the_watcher_repairs_what_writers_undo() {
    let Some((ground, _watcher, mut webhook)) = Ground::own_with_both("stopping the webhook").await
    else {
        return;
    };
    let shop = shop_with_sources(&ground, "without").await;
    apply_all(&shop, "app:1").await;
    shop.until_quiet().await;
    assert!(stamps(&shop).await.iter().all(Option::is_some));

    webhook.replica.kill();
    let deploy = apply_all(&shop, "app:2");
    assert_eq!(shop.rollouts(deploy).await, each(1), "a deploy");
    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, each(1), "a change");
    until_current(&shop, &web()).await;

    let strip = json!({ "spec": { "template": { "metadata": { "annotations": null } } } });
    let strip_all = async {
        for name in WEB {
            shop.patch_workload(name, DEPLOYER, strip.clone()).await;
        }
        until_stamped(&shop).await;
    };
    let rollouts = shop.rollouts(strip_all).await;
    assert_eq!(
        rollouts,
        each(2),
        "by the writer, and one more by the watcher"
    );
    until_current(&shop, &web()).await;

    // A full update takes the record away as well; what is live is what its pods start on.
    let put = async {
        put_all(&shop, "app:2").await;
        shop.until_recorded(&WEB).await;
    };
    assert_eq!(shop.rollouts(put).await, each(1), "by the writer alone");
    until_current(&shop, &web()).await;

    webhook.restart().await;
    let before = stamps(&shop).await;
    let again = put_all(&shop, "app:2");
    assert_eq!(shop.rollouts(again).await, each(0), "the next one");
    assert_eq!(stamps(&shop).await, before);
    let deploy = put_all(&shop, "app:3");
    assert_eq!(shop.rollouts(deploy).await, each(1), "the next deploy");
    assert!(stamps(&shop).await.iter().all(Option::is_some));
    until_current(&shop, &web()).await;
}

async fn until_stamped(shop: &Shop) {
    until("the watcher has stamped them again", async || {
        let stamps = stamps(shop).await;
        match stamps.iter().all(Option::is_some) {
            true => Ok(()),
            false => Err(stamps),
        }
    })
    .await;
}

/// Makes every workload while the webhook cannot read, and deletes them when the watcher is done.
async fn create_unstamped(shop: &Shop, webhook: &Webhook, what: &str) {
    let failed_open = shop.ground.failed_open().await;
    let unread = "restamp_admissions_total{reason=\"Unreadable\"}";
    let before = webhook.replica.metric(unread).await;
    for name in WEB {
        let start = Instant::now();
        shop.create_workload(name, json!({ AUTO: "true" }), web_pod())
            .await;
        let waited = start.elapsed();
        assert!(waited < PATIENCE, "{what}: {name:?} after {waited:?}");
    }
    let log = webhook.replica.log();
    assert_eq!(stamps(shop).await, [None, None, None], "{what}: {log}");
    // It answered, rather than having the API server wait in vain.
    assert_eq!(
        shop.ground.failed_open().await,
        failed_open,
        "{what}: {log}"
    );
    assert_eq!(webhook.replica.metric(unread).await, before + 3.0, "{what}");
    shop.until_quiet().await;
    until_current(shop, &web()).await;
    assert_eq!(shop.revisions().await, each(1), "{what}");
    for (kind, name) in WEB {
        let resource = format!("{kind}/{name}");
        let args = ["delete", &resource];
        shop.kubectl(&args, &Value::Null).await;
    }
}

#[tokio::test]
async fn p5_a_webhook_that_cannot_reach_the_api_server_lets_every_write_pass() {
    let test = "an API server that does not answer";
    let Some(ground) = Ground::own(test).await else {
        return;
    };
    let api_server = ground.api_server();
    let detour = Detour::to(api_server).await;
    let kubeconfig = ground
        .kubeconfig_via(&detour.address(), SYSTEM, "restamp-webhook")
        .await;
    let _watcher = ground.leading_watcher("only").await;
    let webhook = Webhook::start(&ground, "127.0.0.1", kubeconfig).await;
    webhook.be_called_at(&webhook.address).await;
    let shop = shop_with_sources(&ground, "unreachable").await;
    for way in [Way::Closed, Way::Silent] {
        detour.turn(way);
        create_unstamped(&shop, &webhook, &format!("{way:?}")).await;
        detour.turn(Way::To(api_server));
        until_dry_run(&shop, true).await;
    }
}

async fn until_dry_run(shop: &Shop, stamped: bool) {
    let object = manifest(("Deployment", "probe"));
    until("a dry run is stamped, or not", async || {
        match shop.dry_run(&object).await {
            stamp if stamp.is_some() == stamped => Ok(()),
            stamp => Err(stamp),
        }
    })
    .await;
}

#[tokio::test]
async fn p5_a_webhook_without_a_right_lets_every_write_pass_and_names_the_right() {
    let Some((ground, _watcher, webhook)) = Ground::own_with_both("taking rights away").await
    else {
        return;
    };
    let shop = shop_with_sources(&ground, "no-right").await;
    let roles: Api<ClusterRole> = Api::all(ground.client().await);
    let role = roles.get("restamp-webhook").await.expect("the role");
    let set = async |rules: Value| {
        let patch = Patch::Merge(json!({ "rules": rules }));
        let params = PatchParams::default();
        let set = roles.patch("restamp-webhook", &params, &patch).await;
        set.expect("the rules");
    };
    let poor = json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] });
    set(json!([poor])).await;
    until_dry_run(&shop, false).await;

    create_unstamped(&shop, &webhook, "no right").await;
    let log = webhook.replica.log();
    let told = format!(
        "may not get secrets \"db\" in namespace {:?}: grant this right",
        shop.namespace
    );
    assert!(log.contains(&told), "{log}");

    set(json!(role.rules)).await;
    until_dry_run(&shop, true).await;
}
