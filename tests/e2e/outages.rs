//! P1 and P2 while something is down: the watcher, the leader, the API server.

use restamp_test_cluster::Part;
use serde_json::json;

use crate::support::{
    Ground, Shop,
    rollouts::each,
    shop::{WEB, web_pod},
    wait::until,
};

#[tokio::test]
async fn the_watcher_down_and_started_again() {
    let Some(ground) = Ground::own("stopping the watcher").await else {
        return;
    };
    let mut watcher = Some(ground.leading_watcher("first").await);
    let shop = Shop::stocked(&ground, "down").await;

    let restart = async {
        watcher.take().expect("running").stop().await;
        watcher = Some(ground.leading_watcher("second").await);
    };
    assert_eq!(shop.rollouts(restart).await, each(0), "P2: a restart");

    let change_while_down = async {
        watcher.take().expect("running").stop().await;
        shop.set_password("two").await;
        watcher = Some(ground.leading_watcher("third").await);
    };
    assert_eq!(
        shop.rollouts(change_while_down).await,
        each(1),
        "P1: a change while it is down"
    );

    let there_and_back_while_down = async {
        watcher.take().expect("running").stop().await;
        shop.set_password("three").await;
        shop.set_password("two").await;
        watcher = Some(ground.leading_watcher("fourth").await);
    };
    assert_eq!(
        shop.rollouts(there_and_back_while_down).await,
        each(0),
        "P2: the same content again"
    );
    let recreate_while_down = async {
        watcher.take().expect("running").stop().await;
        shop.delete_secret("db").await;
        shop.set_password("four").await;
        watcher = Some(ground.leading_watcher("fifth").await);
    };
    assert_eq!(
        shop.rollouts(recreate_while_down).await,
        each(1),
        "P1: deleted and made again"
    );
}

#[tokio::test]
async fn the_leader_dies_and_the_standby_takes_over() {
    let Some(ground) = Ground::own("killing the leader").await else {
        return;
    };
    let mut leader = ground.leading_watcher("leader").await;
    let standby = ground.watcher("standby").await;
    standby.until_ready().await;
    let shop = Shop::stocked(&ground, "leader").await;
    assert_eq!(
        standby.metric("restamp_source_reads_total").await,
        0.0,
        "a standby reads no payload"
    );
    assert_eq!(
        standby.metric("restamp_writes_total").await,
        0.0,
        "and writes nothing"
    );
    assert_eq!(standby.metric("restamp_leader").await, 0.0);

    let crash = async {
        leader.kill();
        shop.set_password("two").await;
        standby.until_leading().await;
    };
    assert_eq!(shop.rollouts(crash).await, each(1), "{}", standby.log());
}

#[tokio::test]
async fn the_api_server_restarts() {
    let Some(ground) = Ground::own("restarting the API server").await else {
        return;
    };
    let watcher = ground.leading_watcher("only").await;
    let shop = Shop::stocked(&ground, "api").await;
    let nothing_but_restart = async {
        restart(&ground, Part::ApiServer).await;
        watcher.until_leading().await;
    };
    assert_eq!(
        shop.rollouts(nothing_but_restart).await,
        each(0),
        "P2: {}",
        watcher.log()
    );

    let change_and_restart = async {
        shop.set_password("two").await;
        restart(&ground, Part::ApiServer).await;
        watcher.until_leading().await;
    };
    assert_eq!(
        shop.rollouts(change_and_restart).await,
        each(1),
        "P1: {}",
        watcher.log()
    );

    let store_too = async {
        shop.set_password("three").await;
        restart(&ground, Part::Etcd).await;
        restart(&ground, Part::ApiServer).await;
        watcher.until_leading().await;
    };
    assert_eq!(
        shop.rollouts(store_too).await,
        each(1),
        "P1: {}",
        watcher.log()
    );
    for name in WEB {
        until("the record is whole", async || {
            shop.observed(name).await.ok_or(name)
        })
        .await;
    }
}

async fn restart(ground: &Ground, part: Part) {
    let ground = ground.clone();
    let restart = move || ground.cluster().restart(part).expect("it comes back");
    tokio::task::spawn_blocking(restart)
        .await
        .expect("restarting does not panic");
}

#[tokio::test]
async fn p2_a_running_cluster_is_adopted_without_a_rollout_and_followed_from_then_on() {
    let Some(ground) = Ground::own("adopting a running cluster").await else {
        return;
    };
    let shop = Shop::open(&ground, "adopt").await;
    shop.set_password("one").await;
    shop.set_config_map("app", &[("level", "info")]).await;
    for name in WEB {
        let auto = json!({ "reloader.stakater.com/auto": "true" });
        shop.create_workload(name, auto, web_pod()).await;
    }
    shop.until_rolled_out().await;
    shop.set_password("two").await;
    let mut watcher = None;
    let adopt = async {
        watcher = Some(ground.leading_watcher("first").await);
        shop.until_recorded(&WEB).await;
    };
    assert_eq!(shop.rollouts(adopt).await, each(0));
    assert_eq!(shop.rollouts(shop.set_password("three")).await, each(1));
}
