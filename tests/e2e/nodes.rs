//! On real nodes, where containers run: `make e2e-nodes` provides them. The tests share one cluster, so this is one story.

mod demo;
mod footprint;
mod issued;
mod leader;
mod objects;
mod printer;
mod processes;
mod release;
mod stream;
mod uninstall;

use crate::support::{Ground, Shop, rollouts::each, shop::WEB};
use objects::Objects;
use processes::Processes;
use release::{IMAGE, NEXT_IMAGE, NEXT_VERSION, Release};
use serde_json::Value;
use stream::Stream;

/// Seconds that a fresh installation may take to be ready.
const READY: u64 = 60;

#[tokio::test]
async fn a_release_from_install_to_uninstall() {
    let Some(ground) = Ground::with_nodes("a_release_from_install_to_uninstall").await else {
        return;
    };
    let before = Objects::of(&ground.client().await).await;
    let release = Release::new(&ground).await;
    let took = release.install().await;
    assert!(took.as_secs() < READY, "ready after {took:?}");
    println!("installed and ready after {took:?}");
    release.until_webhook_is_called().await;
    release.test().await;

    let processes = Processes::of_every_node(&ground).await;
    let shop = Shop::injected_on(&ground, "nodes").await;
    changes_and_deploys(&shop).await;
    demo::comes_true(&ground, &release, &processes).await;
    printer::pods_run_on_what_is_live(&ground).await;
    nothing_is_refused(&ground, &shop, &release).await;
    {
        let crowd = footprint::crowd(&ground).await;
        footprint::roll_out(&crowd).await;
        footprint::memory(&release, &processes, "among many").await;
        leader::dies(&shop, &release, &processes).await;
        footprint::memory(&release, &processes, "after another one leads").await;
        footprint::at_rest(&release).await;
    }
    uninstall::leaves_what_is_documented(&ground, &shop, &before).await;
    println!("uninstalled");
    issued::cert_manager_renews_and_makes_room(&ground).await;
}

/// Of every kind of workload.
async fn changes_and_deploys(shop: &Shop) {
    shop.stock().await;
    shop.until_recorded(&WEB).await;
    shop.until_quiet().await;
    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, each(1), "a Secret changes");
    let deploy = shop.deploy("three", "app:2");
    assert_eq!(shop.rollouts(deploy).await, each(1), "a deploy");
}

/// Whatever is done to Restamp, users go on: nothing that they create is refused, nor left unstamped if the webhook had
/// the time, and nothing that they have is rolled out.
async fn nothing_is_refused(ground: &Ground, users: &Shop, release: &Release<'_>) {
    let shop = Shop::injected_on(ground, "stream").await;
    shop.set_password("one").await;
    shop.set_config_map("app", &[]).await;

    let renewal = async {
        let stream = Stream::during(&shop, "renewal", release.renew_certificates());
        stream.await.assert_all_stamped();
    };
    assert_eq!(users.rollouts(renewal).await, each(0), "a renewal");

    let before = release.runs().await;
    assert_eq!(before.image, IMAGE);
    let upgrade = async {
        let stream = Stream::during(&shop, "upgrade", release.upgrade());
        stream.await.assert_stamped_in_time();
    };
    unnoticed(users, upgrade).await;
    let after = release.runs().await;
    assert_eq!((&*after.version, &*after.image), (NEXT_VERSION, NEXT_IMAGE));
    assert_ne!(after.id, before.id, "the image is another one");

    let rollback = async {
        let stream = Stream::during(&shop, "rollback", release.roll_back());
        stream.await.assert_stamped_in_time();
    };
    unnoticed(users, rollback).await;
    assert_eq!(release.runs().await, before);

    let drain = async {
        let stream = Stream::during(&shop, "drain", release.drain_every_node());
        stream.await.assert_stamped_in_time();
    };
    assert_eq!(users.rollouts(drain).await, each(0), "a drain");

    shop.until_quiet().await;
    let mut revisions = shop.revisions().await.into_iter();
    let rolled = revisions.find(|(_, revision)| *revision != 1);
    assert_eq!(rolled, None, "what was created in between");
}

/// No workload is rolled out by `action`, and no pod is another one, or started again.
async fn unnoticed(users: &Shop, action: impl Future<Output = ()>) {
    let before = pods_of(users).await;
    assert_eq!(users.rollouts(action).await, each(0));
    assert_eq!(pods_of(users).await, before);
}

/// The pods of a stocked shop, and how often their containers have been started again.
async fn pods_of(shop: &Shop) -> Vec<String> {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[*].restartCount}{\"\\n\"}{end}";
    let get = ["get", "pods", "--selector=app=web", "-o", path];
    let said = shop.kubectl(&get, &Value::Null).await.out;
    said.lines().map(str::to_owned).collect()
}
