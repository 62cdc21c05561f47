//! Events that are late, lost, or in another order than what they tell of.

use std::time::Duration;

use serde_json::Value;

use super::{World, deployment, name, next_image, secret, world::rotate_key};
use crate::{fake_api::Effect, webhook::Webhook};

async fn shop() -> World {
    World::with(&[secret("login", "one"), deployment("web", &["login"], &[])]).await
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_off_is_resumed_where_it_ended() {
    let world = shop().await;
    world.api.cut("secrets");
    world.api.cut("deployments");
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
    assert_eq!(world.count("list", "secrets", ""), 0);
    assert_eq!(world.count("list", "deployments", ""), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_cannot_start_from_an_expired_version_lists_again() {
    let world = shop().await;
    world.api.cut("secrets");
    world.api.put("kubectl", &secret("login", "two"));
    world.api.compact();
    world.until_rolled("web", 1).await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
    assert_eq!(world.count("list", "secrets", ""), 1);
    assert_eq!(world.count("patch", "deployments", "web"), 1);
    assert_eq!(world.api.watches("secrets"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_expires_lists_again() {
    let world = shop().await;
    world.api.hold("secrets");
    world.api.put("kubectl", &secret("login", "two"));
    world.api.expire("secrets");
    world.api.compact();
    world.api.release("secrets");
    world.until_rolled("web", 1).await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
    assert_eq!(world.count("list", "secrets", ""), 1);
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_is_deleted_while_the_watch_is_down_is_forgotten() {
    let world = shop().await;
    assert_eq!(world.metrics.workloads.get(), 1);
    world.api.cut("deployments");
    world.api.delete(&name("deployments", "web"));
    world.api.compact();
    super::until("it is forgotten", || world.metrics.workloads.get() == 0).await;
    world.api.put("kubectl", &secret("login", "two"));
    world.quiet().await;
    assert_eq!(world.count("get", "secrets", "login"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_newer_stamp_than_the_source_watch_has_shown_is_left_alone() {
    let world = shop().await;
    world.api.hold("secrets");
    world.api.put("kubectl", &secret("login", "two"));
    let webhook = Webhook::start(&world.api).await;
    let stored = world.deployment("web");
    let web = webhook.admit(&next_image(&stored), Some(&stored)).await;
    world.api.forget_calls();
    world.api.put("kubectl", &web.object);
    let stamp = world.stamp("web");
    assert!(stamp.is_some());
    world.quiet().await;
    world.api.release("secrets");
    world.quiet().await;
    assert_eq!(world.count("patch", "deployments", "web"), 0);
    assert_eq!(world.stamp("web"), stamp);
    assert_eq!(
        world.count("get", "secrets", "login"),
        1,
        "it looked before it left it alone"
    );
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_brings_its_own_stamp_within_the_settle_window_is_one_rollout() {
    let world = shop().await;
    world.api.put("kubectl", &secret("login", "two"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (webhook, web) = (Webhook::start(&world.api).await, name("deployments", "web"));
    let next = |stored: Option<&Value>| next_image(stored.unwrap());
    webhook.write(&world.api, "kubectl", &web, next).await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
    assert_eq!(world.count("patch", "deployments", "web"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_record_under_a_key_that_is_news_is_compared_under_it() {
    let world = shop().await;
    world.api.hold("secrets");
    rotate_key(&world.api);
    let (webhook, web) = (Webhook::start(&world.api).await, name("deployments", "web"));
    let next = |stored: Option<&Value>| next_image(stored.unwrap());
    webhook.write(&world.api, "kubectl", &web, next).await;
    world.api.put("kubectl", &secret("login", "two"));
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 2, "the pods started on one");
    world.api.release("secrets");
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_overtaken_by_the_next_change_is_not_the_last_word() {
    let world = shop().await;
    let late = Effect::AnswerLate(Duration::from_secs(4));
    world.api.fail("get", &name("secrets", "login"), 1, late);
    world.api.put("kubectl", &secret("login", "two"));
    super::until("the read is under way", || {
        world.count("get", "secrets", "login") == 1
    })
    .await;
    world.api.put("kubectl", &secret("login", "three"));
    world.until_rolled("web", 1).await;
    let stamped = world.recorded("web", "Secret/login");
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
    assert_eq!(world.recorded("web", "Secret/login"), stamped);
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 2).await;
    assert_ne!(
        world.recorded("web", "Secret/login"),
        stamped,
        "three was stamped, not two"
    );
}

#[tokio::test(start_paused = true)]
async fn content_that_comes_back_gets_a_stamp_of_its_own() {
    let world = shop().await;
    let mut stamps = Vec::new();
    for (times, value) in (1..).zip(["two", "one", "two"]) {
        world.api.put("kubectl", &secret("login", value));
        world.until_rolled("web", times).await;
        stamps.push(world.stamp("web").unwrap());
    }
    let digest = |stamp: &str| stamp.rsplit_once('.').unwrap().0.to_owned();
    assert_eq!(digest(&stamps[0]), digest(&stamps[2]));
    assert_ne!(stamps[0], stamps[2]);
}
