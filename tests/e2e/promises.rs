//! P1 (no change is missed) and P2 (no needless rollout), for every kind, counted by revision.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{Ground, Shop, rollouts::each, shop::WEB, wait::until};

async fn shop(name: &str) -> Shop {
    Shop::stocked(&Ground::shared().await, name).await
}

#[tokio::test]
async fn p1_a_change_of_content_is_one_rollout() {
    let shop = shop("p1-change").await;
    let password = shop.set_password("two");
    assert_eq!(shop.rollouts(password).await, each(1));
    let level = shop.set_config_map("app", &[("level", "debug")]);
    assert_eq!(shop.rollouts(level).await, each(1));
    for name in WEB {
        let messages = shop.events(name, "Reloaded").await;
        let secret = format!(
            "Changes detected in 'db' of type 'SECRET' in namespace '{0}', Updated 'web' of type '{1}' in namespace '{0}'",
            shop.namespace, name.0
        );
        assert!(messages.contains(&secret), "{messages:?}");
        assert_eq!(messages.len(), 2, "{messages:?}");
    }
}

#[tokio::test]
async fn p2_two_sources_within_the_settle_window_are_one_rollout() {
    let shop = shop("p2-settle").await;
    let both = async {
        shop.set_password("two").await;
        shop.set_config_map("app", &[("level", "debug")]).await;
    };
    assert_eq!(shop.rollouts(both).await, each(1));
}

#[tokio::test]
async fn p2_the_same_content_is_no_rollout() {
    let shop = shop("p2-same").await;
    let label = shop.annotate_secret(
        "db",
        json!({ "labels": { "team": "a" }, "annotations": { "note": "b" } }),
    );
    assert_eq!(shop.rollouts(label).await, each(0), "metadata only");
    let written = shop.set_password("one");
    assert_eq!(
        shop.rollouts(written).await,
        each(0),
        "the same content again"
    );
    let unused = shop.set_secret(
        "db",
        &[("user", "somebody"), ("password", "one"), ("more", "x")],
    );
    assert_eq!(
        shop.rollouts(unused).await,
        each(0),
        "keys that nobody uses"
    );
    for name in WEB {
        assert_eq!(shop.stamp(name).await, None, "adopted, so never stamped");
    }
}

#[tokio::test]
async fn p2_deleted_and_made_again_with_the_same_content_is_no_rollout() {
    let shop = shop("p2-recreate").await;
    let again = async {
        shop.delete_secret("db").await;
        shop.until_quiet().await;
        shop.set_password("one").await;
    };
    assert_eq!(shop.rollouts(again).await, each(0));
    let other = async {
        shop.delete_secret("db").await;
        shop.until_quiet().await;
        shop.set_password("two").await;
    };
    assert_eq!(shop.rollouts(other).await, each(1), "with other content");
}

#[tokio::test]
async fn p1_going_back_is_a_rollout_to_a_template_never_used_before() {
    let shop = shop("p1-aba").await;
    let mut stamps = BTreeSet::new();
    for password in ["two", "one", "two"] {
        let change = shop.set_password(password);
        assert_eq!(shop.rollouts(change).await, each(1));
        for name in WEB {
            stamps.insert((name, shop.stamp(name).await));
        }
    }
    assert_eq!(stamps.len(), 3 * WEB.len(), "{stamps:?}");
    for (kind, _) in WEB {
        let history = match kind {
            "Deployment" => "replicasets",
            _ => "controllerrevisions",
        };
        let selector = format!("app=web,kind={kind}");
        let args = [
            "-n",
            &shop.namespace,
            "get",
            history,
            "-l",
            &selector,
            "-o",
            "name",
        ];
        let templates = shop.ground.kubectl(&args).await;
        assert_eq!(
            templates.lines().count(),
            4,
            "no template was selected again: {templates}"
        );
    }
}

#[tokio::test]
async fn p1_a_source_that_was_missing_rolls_nothing_when_it_arrives_and_is_followed_then() {
    let ground = Ground::shared().await;
    let shop = Shop::open(&ground, "p1-missing").await;
    for name in WEB {
        let auto = json!({ "reloader.stakater.com/auto": "true" });
        shop.create_workload(name, auto, crate::support::shop::web_pod())
            .await;
    }
    shop.until_recorded(&WEB).await;
    shop.until_quiet().await;
    let arrive = async {
        shop.set_secret("db", &[("password", "one")]).await;
        shop.set_config_map("app", &[("level", "info")]).await;
    };
    assert_eq!(shop.rollouts(arrive).await, each(0));
    let change = shop.set_secret("db", &[("password", "two")]);
    assert_eq!(shop.rollouts(change).await, each(1));
}

#[tokio::test]
async fn p2_opting_out_is_no_rollout_and_nothing_is_followed_then() {
    let shop = shop("p2-opt-out").await;
    let opt_out = async {
        for name in WEB {
            let annotations =
                json!({ "metadata": { "annotations": { "reloader.stakater.com/auto": null } } });
            shop.patch_workload(name, "somebody", annotations).await;
        }
        shop.until_quiet().await;
        shop.set_password("two").await;
    };
    assert_eq!(shop.rollouts(opt_out).await, each(0));
}

#[tokio::test]
async fn p1_a_template_put_back_by_a_writer_that_keeps_metadata_is_restamped() {
    let shop = shop("p1-moved").await;
    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, each(1));
    for name in WEB {
        let before = shop.stamp(name).await;
        let strip = json!({ "spec": { "template": { "metadata": { "annotations": null } } } });
        shop.patch_workload(name, "operator", strip).await;
        until("it is restamped", async || match shop.stamp(name).await {
            Some(stamp) if Some(&stamp) != before.as_ref() => Ok(()),
            other => Err(other),
        })
        .await;
    }
    shop.until_quiet().await;
    let change = shop.set_password("three");
    assert_eq!(shop.rollouts(change).await, each(1));
}

#[tokio::test]
async fn p2_a_running_cluster_is_adopted_without_a_rollout() {
    let shop = shop("p2-adopt").await;
    for name in WEB {
        let observed = shop.observed(name).await.expect("recorded");
        assert_eq!(
            observed["sources"]["Secret/db"]["keys"],
            json!(["password"]),
            "{observed}"
        );
        assert!(
            observed["sources"]["ConfigMap/app"]["digest"].is_string(),
            "{observed}"
        );
    }
    assert_eq!(shop.revisions().await, each(1));
}

#[tokio::test]
async fn p1_a_searched_source_that_is_deleted_and_comes_back_different_is_one_rollout() {
    let shop = Shop::open(&Ground::shared().await, "p1-search").await;
    let marked = json!({ "reloader.stakater.com/match": "true" });
    shop.set_annotated_secret("db", marked.clone(), &[("password", "one")])
        .await;
    shop.set_config_map("app", &[("level", "info")]).await;
    for name in WEB {
        let search = json!({ "reloader.stakater.com/search": "true" });
        shop.create_workload(name, search, crate::support::shop::web_pod())
            .await;
    }
    shop.until_recorded(&WEB).await;
    shop.until_quiet().await;
    let unmarked = shop.set_config_map("app", &[("level", "debug")]);
    assert_eq!(shop.rollouts(unmarked).await, each(0));
    let back = async {
        shop.delete_secret("db").await;
        shop.until_quiet().await;
        shop.set_annotated_secret("db", marked, &[("password", "two")])
            .await;
    };
    assert_eq!(shop.rollouts(back).await, each(1));
}
