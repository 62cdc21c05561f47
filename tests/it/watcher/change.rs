//! What a change of a source leads to, and what leads to nothing.

use std::time::Duration;

use restamp::stamp::annotations::{OBSERVED, STAMP};
use serde_json::json;
use tokio::time::sleep;

use super::{
    World, config_map, deployment, name, secret,
    world::{SHOP, installation_key, rotate_key},
};
use crate::fake_api::{Key, key};

fn spoken(world: &World) -> Vec<(&'static str, Key)> {
    // A watch is resumed every minute.
    let calls = world
        .calls()
        .into_iter()
        .filter(|call| call.verb != "watch");
    calls.map(|call| (call.verb, call.key)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_changed_secret_costs_one_read_one_patch_and_one_event() {
    let world = World::with(&[
        secret("login", "one"),
        secret("unrelated", "one"),
        deployment("web", &["login"], &[]),
    ])
    .await;
    world.api.put("kubectl", &secret("unrelated", "two"));
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
    world.quiet().await;
    assert_eq!(
        spoken(&world),
        [
            ("get", name("secrets", "login")),
            ("patch", name("deployments", "web")),
            ("create", key("events", SHOP, "")),
        ]
    );
    assert_eq!(world.rollouts("web"), 1);
    let event = &world.events("Reloaded")[0];
    assert!(
        event.contains("Changes detected in 'login' of type 'SECRET'"),
        "{event}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_restamp_is_a_merge_patch_of_two_annotations_bound_to_a_version() {
    let world = World::with(&[secret("login", "one"), deployment("web", &["login"], &[])]).await;
    let before = world.deployment("web");
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
    let calls = world.calls();
    let patch = calls.iter().find(|call| call.verb == "patch").unwrap();
    assert_eq!(patch.content_type, "application/merge-patch+json");
    assert_eq!(patch.manager(), "restamp");
    let after = world.deployment("web");
    let observed = &after["metadata"]["annotations"][OBSERVED];
    let stamp = &after["spec"]["template"]["metadata"]["annotations"][STAMP];
    assert_eq!(
        patch.body,
        json!({
            "metadata": {
                "resourceVersion": before["metadata"]["resourceVersion"],
                "annotations": { OBSERVED: observed },
            },
            "spec": { "template": { "metadata": { "annotations": { STAMP: stamp } } } },
        })
    );
}

#[tokio::test(start_paused = true)]
async fn only_metadata_of_sources_is_listed_and_watched() {
    let api = World::with(&[secret("login", "one"), deployment("web", &["login"], &[])])
        .await
        .stop()
        .await;
    let world = World::start(&api).await;
    world.quiet().await;
    for call in world.calls() {
        let of_sources = ["secrets", "configmaps"].contains(&&*call.key.resource);
        if of_sources && ["list", "watch"].contains(&call.verb) {
            assert!(call.metadata, "{call:?}");
        }
    }
    assert_eq!(world.count("get", "secrets", "login"), 1);
}

#[tokio::test(start_paused = true)]
async fn sources_that_change_within_the_settle_window_cost_one_rollout() {
    let world = World::with(&[
        secret("login", "one"),
        config_map("pages", "one"),
        deployment("web", &["login"], &["pages"]),
    ])
    .await;
    world.api.put("kubectl", &secret("login", "two"));
    sleep(Duration::from_secs(1)).await;
    world.api.put("kubectl", &config_map("pages", "two"));
    world.until_rolled("web", 1).await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
    assert_eq!(world.count("patch", "deployments", "web"), 1);
}

#[tokio::test(start_paused = true)]
async fn one_read_serves_every_workload_that_uses_the_source() {
    let world = World::with(&[
        secret("login", "one"),
        deployment("web", &["login"], &[]),
        deployment("api", &["login"], &[]),
    ])
    .await;
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
    world.until_rolled("api", 1).await;
    world.quiet().await;
    assert_eq!(world.count("get", "secrets", "login"), 1);
    assert_eq!(world.count("patch", "deployments", "web"), 1);
    assert_eq!(world.count("patch", "deployments", "api"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_without_an_end_to_its_changes_does_not_postpone_the_restart_for_ever() {
    let world = World::with(&[secret("login", "0"), deployment("web", &["login"], &[])]).await;
    for second in 1..=21 {
        world
            .api
            .put("kubectl", &secret("login", &second.to_string()));
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(
        world.rollouts("web"),
        1,
        "one restart after ten settle windows"
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_content_again_writes_nothing() {
    let world = World::with(&[secret("login", "one"), deployment("web", &["login"], &[])]).await;
    let login = name("secrets", "login");
    world.api.edit("kubectl", &login, |secret| {
        secret["metadata"]["labels"] = json!({ "a": "b" })
    });
    world.quiet().await;
    world.api.delete(&login);
    world.quiet().await;
    world.api.put("kubectl", &secret("login", "one"));
    world.quiet().await;
    assert_eq!(world.count("patch", "deployments", "web"), 0);
    world.api.delete(&login);
    world.quiet().await;
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_appears_after_its_absence_was_recorded_is_recorded() {
    let world = World::with(&[]).await;
    world
        .api
        .put("kubectl", &deployment("web", &["login"], &[]));
    world.until_recorded().await;
    assert!(world.recorded("web", "Secret/login").is_null());
    world.api.put("kubectl", &secret("login", "one"));
    super::until("the arrival is recorded", || {
        world.recorded("web", "Secret/login").is_string()
    })
    .await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 0);
    let arrived = world
        .metrics
        .decisions
        .with_label_values(&["SourceArrived"]);
    assert_eq!(arrived.get(), 1);
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
}

/// It may have been there when the pods started, with other content.
#[tokio::test(start_paused = true)]
async fn a_source_that_appears_for_a_workload_from_before_the_watcher_is_stale() {
    let world = World::with(&[deployment("web", &["login"], &[])]).await;
    assert!(world.recorded("web", "Secret/login").is_null());
    world.api.put("kubectl", &secret("login", "one"));
    world.until_rolled("web", 1).await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_appears_while_nobody_watches_is_stale() {
    let world = World::with(&[deployment("web", &["login"], &[])]).await;
    let api = world.stop().await;
    api.put("kubectl", &secret("login", "one"));
    let world = World::start(&api).await;
    world.until_rolled("web", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_while_nobody_watches_is_acted_upon_once_and_nothing_else_is() {
    let api = World::with(&[
        secret("login", "one"),
        deployment("web", &["login"], &[]),
        deployment("other", &["unrelated"], &[]),
    ])
    .await
    .kill()
    .await;
    api.put("kubectl", &secret("login", "two"));
    let world = World::start(&api).await;
    world.until_rolled("web", 1).await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
    let api = world.stop().await;
    api.forget_calls();
    let world = World::start(&api).await;
    world.quiet().await;
    assert_eq!(world.count("patch", "deployments", "web"), 0);
    assert_eq!(world.count("patch", "deployments", "other"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_taken_over_without_a_rollout() {
    let world = World::with(&[secret("login", "one"), deployment("web", &["login"], &[])]).await;
    let before = world.recorded("web", "Secret/login");
    rotate_key(&world.api);
    super::until("digests are made anew", || {
        world.recorded("web", "Secret/login") != before
    })
    .await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 0);
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_key_is_made_again_and_the_one_in_use_stays_known() {
    let world = World::with(&[secret("login", "one"), deployment("web", &["login"], &[])]).await;
    let before = world.recorded("web", "Secret/login");
    world.api.delete(&installation_key());
    super::until("digests are made anew", || {
        world.recorded("web", "Secret/login") != before
    })
    .await;
    let count = |reason| world.metrics.decisions.with_label_values(&[reason]).get();
    assert_eq!((count("Rekeyed"), count("AdoptedUnverified")), (1, 1));
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
}
