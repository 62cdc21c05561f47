//! The installation key, lost and rotated. Each on a cluster of its own: all workloads depend on it.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{Ground, Shop, ground::SYSTEM, rollouts::each, shop::WEB, wait::until};

const KEY: &str = "restamp-key";

fn secrets(shop: &Shop) -> Api<Secret> {
    Api::namespaced(shop.client.clone(), SYSTEM)
}

async fn key_id(shop: &Shop) -> Value {
    shop.observed(WEB[0]).await.unwrap_or_default()["key"].clone()
}

async fn until_key_differs(shop: &Shop, from: &Value) {
    until("the records are under another key", async || {
        let now = key_id(shop).await;
        if now.is_string() && now != *from {
            Ok(())
        } else {
            Err(now)
        }
    })
    .await;
}

#[tokio::test]
async fn a_rotated_key_neither_rolls_nor_loses_a_change() {
    let Some(ground) = Ground::own("rotating the key").await else {
        return;
    };
    let watcher = ground.leading_watcher("rotate").await;
    let shop = Shop::stocked(&ground, "rotate").await;
    assert_eq!(shop.rollouts(shop.set_password("two")).await, each(1));
    let before = key_id(&shop).await;
    let rotate = async {
        let secret = secrets(&shop).get(KEY).await.expect("the key");
        let old = secret.data.expect("data").remove("key").expect("a key");
        let data = json!({ "data": { "key": ByteString(vec![7; 32]), "previous-key": old } });
        let patch = Patch::Merge(data);
        secrets(&shop)
            .patch(KEY, &PatchParams::default(), &patch)
            .await
            .expect("rotated");
        until_key_differs(&shop, &before).await;
    };
    assert_eq!(shop.rollouts(rotate).await, each(0));
    assert_eq!(
        shop.rollouts(shop.set_password("three")).await,
        each(1),
        "{}",
        watcher.log()
    );
}

#[tokio::test]
async fn a_change_during_a_rotation_while_the_watcher_is_down_is_not_lost() {
    let Some(ground) = Ground::own("rotating the key while down").await else {
        return;
    };
    let watcher = ground.leading_watcher("first").await;
    let shop = Shop::stocked(&ground, "rotate-down").await;
    watcher.stop().await;
    let secret = secrets(&shop).get(KEY).await.expect("the key");
    let old = secret.data.expect("data").remove("key").expect("a key");
    let patch =
        Patch::Merge(json!({ "data": { "key": ByteString(vec![8; 32]), "previous-key": old } }));
    let down = async {
        secrets(&shop)
            .patch(KEY, &PatchParams::default(), &patch)
            .await
            .expect("rotated");
        shop.set_password("two").await;
    };
    let mut watchers = Vec::new();
    let rolled = shop.rollouts(async {
        down.await;
        watchers.push(ground.leading_watcher("second").await);
    });
    assert_eq!(rolled.await, each(1));
}

#[tokio::test]
async fn a_lost_key_means_adoption() {
    let Some(ground) = Ground::own("losing the key").await else {
        return;
    };
    let watcher = ground.leading_watcher("before").await;
    let shop = Shop::stocked(&ground, "lost").await;
    assert_eq!(shop.rollouts(shop.set_password("two")).await, each(1));
    let before = key_id(&shop).await;
    watcher.stop().await;
    let mut watchers = Vec::new();
    let lose = async {
        secrets(&shop)
            .delete(KEY, &DeleteParams::default())
            .await
            .expect("it was there");
        watchers.push(ground.leading_watcher("after").await);
        until_key_differs(&shop, &before).await;
    };
    assert_eq!(shop.rollouts(lose).await, each(0));
    assert_eq!(shop.rollouts(shop.set_password("three")).await, each(1));

    // Deleted under a running watcher, the key in use lives on as the previous one: nothing is lost.
    let before = key_id(&shop).await;
    let delete = async {
        secrets(&shop)
            .delete(KEY, &DeleteParams::default())
            .await
            .expect("it was there");
        until_key_differs(&shop, &before).await;
    };
    assert_eq!(shop.rollouts(delete).await, each(0));
    let log = watchers.remove(0).log();
    assert!(
        log.contains("reason=Rekeyed") && !log.contains("panicked"),
        "{log}"
    );
}
