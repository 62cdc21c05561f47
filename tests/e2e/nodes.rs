//! On real nodes, where containers run: `make e2e-nodes` provides them. The tests share one cluster, so this is one story.

mod issued;
mod printer;
mod release;
mod stream;

use crate::support::{Ground, Shop, rollouts::each, shop::WEB, wait::until};
use printer::Printer;
use release::Release;
use restamp::stamp::annotations::AUTO;
use serde_json::json;
use stream::Stream;

/// Seconds that a fresh installation may take to be ready.
const READY: u64 = 60;

#[tokio::test]
async fn a_release_from_install_to_uninstall() {
    let Some(ground) = Ground::with_nodes("a_release_from_install_to_uninstall").await else {
        return;
    };
    let release = Release::new(&ground).await;
    let took = release.install().await;
    assert!(took.as_secs() < READY, "ready after {took:?}");
    println!("installed and ready after {took:?}");
    release.until_webhook_is_called().await;
    release.test().await;

    let shop = Shop::injected_on(&ground, "nodes").await;
    changes_and_deploys(&shop, &release).await;
    pods_run_on_what_is_live(&ground).await;
    let before = shop.revisions().await;
    nothing_is_refused(&ground, &release).await;
    assert_eq!(shop.revisions().await, before, "no workload rolls by that");
    a_leader_dies(&shop, &release).await;
    uninstalled(&shop, &release).await;
    issued::cert_manager_renews_and_makes_room(&ground).await;
}

/// The story of `make demo`, through the Service in the cluster.
async fn changes_and_deploys(shop: &Shop, release: &Release<'_>) {
    shop.stock().await;
    shop.until_recorded(&WEB).await;
    shop.until_quiet().await;

    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, each(1), "a Secret changes");

    let same = async {
        shop.delete_secret("db").await;
        shop.set_password("two").await;
    };
    assert_eq!(shop.rollouts(same).await, each(0), "the same content");

    let deploy = shop.deploy("three", "app:2");
    assert_eq!(shop.rollouts(deploy).await, each(1), "a deploy");
    let again = shop.deploy("three", "app:2");
    assert_eq!(shop.rollouts(again).await, each(0), "the same manifest");

    let outage = async {
        release.scale("restamp-watcher", 0).await;
        shop.set_config_map("app", &[("level", "debug")]).await;
        release.scale("restamp-watcher", 2).await;
    };
    assert_eq!(shop.rollouts(outage).await, each(1), "without a watcher");

    let outage = async {
        release.scale("restamp-webhook", 0).await;
        shop.deploy("four", "app:1").await;
    };
    let rollouts = shop.rollouts(outage).await;
    assert_eq!(rollouts, each(2), "a deploy without a webhook");
    release.scale("restamp-webhook", 2).await;
}

/// P1, as a container sees it.
async fn pods_run_on_what_is_live(ground: &Ground) {
    let shop = Shop::injected_on(ground, "printers").await;
    shop.set_password("password-0").await;
    shop.set_config_map("app", &[("level", "level-0")]).await;
    let printer = Printer::create(&shop, "printer", json!({ AUTO: "true" })).await;
    let bystander = Printer::create(&shop, "bystander", json!({})).await;
    printer.until_all_print("password-0", "level-0").await;
    bystander.until_all_print("password-0", "level-0").await;
    shop.until_quiet().await;
    for n in 1..=3 {
        let (password, level) = (format!("password-{n}"), format!("level-{n}"));
        let before = shop.revisions().await;
        let change = async {
            shop.set_password(&password).await;
            shop.set_config_map("app", &[("level", &level)]).await;
        };
        println!("printer before: {}", printer.logs().await);
        change.await;
        printer.until_all_print(&password, &level).await;
        println!("printer after: {}", printer.logs().await);
        shop.until_quiet().await;
        let after = shop.revisions().await;
        assert_eq!(
            after["Deployment/printer"],
            before["Deployment/printer"] + 1
        );
        assert_eq!(
            after["Deployment/bystander"],
            before["Deployment/bystander"]
        );
    }
    // Without Restamp: the file is renewed in the pod that runs, and the variable is not.
    let log = until("the file changes", async || {
        let log = bystander.logs().await;
        if log.contains("-> level-3") {
            Ok(log)
        } else {
            Err(log)
        }
    })
    .await;
    assert!(
        log.contains("start password=password-0 level=level-0"),
        "{log}"
    );
    println!("bystander: {log}");
}

/// Whatever is done to the webhook, users go on.
async fn nothing_is_refused(ground: &Ground, release: &Release<'_>) {
    let shop = Shop::injected_on(ground, "stream").await;
    shop.set_password("one").await;
    shop.set_config_map("app", &[]).await;

    let stream = Stream::start(&shop, "renewal");
    release.renew_certificates().await;
    stream.stop().await.assert_all_stamped();

    let stream = Stream::start(&shop, "upgrade");
    release.upgrade().await;
    stream.stop().await.assert_all_stamped();

    let stream = Stream::start(&shop, "drain");
    release.drain_every_node().await;
    stream.stop().await.assert_all_stamped();
}

async fn a_leader_dies(shop: &Shop, release: &Release<'_>) {
    let change = async {
        release.kill_leader().await;
        shop.set_password("while nobody leads").await;
    };
    assert_eq!(shop.rollouts(change).await, each(1), "a leader dies");
}

async fn uninstalled(shop: &Shop, release: &Release<'_>) {
    shop.until_quiet().await;
    let before = shop.revisions().await;
    release.uninstall().await;
    shop.deploy("nobody looks", "app:2").await;
    shop.until_rolled_out().await;
    let deploy = each(1);
    for (workload, revision) in shop.revisions().await {
        let came = revision - before[&workload];
        assert_eq!(
            came, deploy[&workload],
            "{workload}: that of the deploy alone"
        );
    }
}
