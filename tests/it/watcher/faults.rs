//! Requests that fail, in every way that matters.

use std::time::Duration;

use restamp::stamp::annotations::SETTLE;
use serde_json::json;
use tokio::time::Instant;

use super::{World, deployment, name, secret, until};
use crate::fake_api::{Effect, key};

async fn shop() -> World {
    World::with(&[secret("login", "one"), deployment("web", &["login"], &[])]).await
}

/// Changes the Secret and expects one rollout, whatever it takes.
async fn expect_one_rollout(world: &World) {
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
    world.quiet().await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
    assert!(world.stamp("web").unwrap().ends_with(".1"));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_decided_again_on_the_workload_as_it_is() {
    let mut hasty = deployment("web", &["login"], &[]);
    hasty["metadata"]["annotations"][SETTLE] = json!("0s");
    let world = World::with(&[secret("login", "one"), hasty]).await;
    world.api.hold("deployments");
    world
        .api
        .edit("kubectl", &name("deployments", "web"), |web| {
            web["metadata"]["labels"] = json!({ "a": "b" });
        });
    expect_one_rollout(&world).await;
    assert_eq!(world.count("patch", "deployments", "web"), 2);
    assert_eq!(world.count("get", "deployments", "web"), 1);
    assert_eq!(world.deployment("web")["metadata"]["labels"]["a"], "b");
    world.api.release("deployments");
    world.quiet().await;
    assert_eq!(world.count("patch", "deployments", "web"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_patch_whose_answer_is_lost_is_not_made_twice() {
    for effect in [Effect::AnswerLost, Effect::NoAnswer] {
        let world = shop().await;
        world
            .api
            .fail("patch", &name("deployments", "web"), 1, effect);
        expect_one_rollout(&world).await;
        assert_eq!(world.count("patch", "deployments", "web"), 1, "{effect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_patch_whose_answer_and_event_are_lost_is_not_made_twice() {
    let world = shop().await;
    world.api.hold("deployments");
    world
        .api
        .fail("patch", &name("deployments", "web"), 1, Effect::AnswerLost);
    expect_one_rollout(&world).await;
    world.api.release("deployments");
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
}

#[tokio::test(start_paused = true)]
async fn reads_and_writes_that_fail_are_tried_again_less_and_less_often() {
    for (verb, resource, object) in [("get", "secrets", "login"), ("patch", "deployments", "web")] {
        let world = shop().await;
        world
            .api
            .fail(verb, &name(resource, object), 5, Effect::Refused(500));
        let began = Instant::now();
        expect_one_rollout(&world).await;
        assert_eq!(world.count(verb, resource, object), 6);
        assert!(
            began.elapsed() > Duration::from_secs(1 + 2 + 4 + 8 + 16),
            "{verb}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_read_without_an_answer_is_tried_again() {
    for effect in [Effect::AnswerLost, Effect::NoAnswer] {
        let world = shop().await;
        world.api.fail("get", &name("secrets", "login"), 2, effect);
        expect_one_rollout(&world).await;
        assert_eq!(world.count("get", "secrets", "login"), 3, "{effect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_published_changes_nothing() {
    let world = shop().await;
    let events = crate::fake_api::key("events", super::world::SHOP, "");
    world.api.fail("create", &events, 9, Effect::Refused(403));
    expect_one_rollout(&world).await;
    let failed = world.metrics.events.with_label_values(&["forbidden"]);
    assert_eq!(failed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_may_not_be_read_holds_up_nothing_else_and_is_not_forgotten() {
    let world = World::with(&[
        secret("locked", "one"),
        secret("login", "one"),
        deployment("both", &["locked", "login"], &[]),
        deployment("web", &["login"], &[]),
    ])
    .await;
    let locked = name("secrets", "locked");
    let recorded = world.recorded("both", "Secret/locked");
    world.api.fail("get", &locked, 99, Effect::Refused(403));
    world.api.put("kubectl", &secret("locked", "two"));
    world.quiet().await;
    assert_eq!(world.rollouts("both"), 0);
    let forbidden = world.metrics.reads.with_label_values(&["forbidden"]);
    let tries = forbidden.get();
    assert!(
        (1..=6).contains(&tries),
        "{tries} reads of what is forbidden"
    );

    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("both", 1).await;
    world.until_rolled("web", 1).await;
    assert_eq!(
        world.recorded("both", "Secret/locked"),
        recorded,
        "nothing is concluded"
    );

    world.api.heal();
    world.until_rolled("both", 2).await;
    assert_ne!(world.recorded("both", "Secret/locked"), recorded);
    assert_eq!(world.rollouts("web"), 1);
}

#[tokio::test(start_paused = true)]
async fn workloads_that_are_gone_when_they_are_written_hold_up_nothing() {
    let world = World::with(&[
        secret("login", "one"),
        deployment("gone", &["login"], &[]),
        deployment("web", &["login"], &[]),
    ])
    .await;
    world.api.hold("deployments");
    world.api.delete(&name("deployments", "gone"));
    expect_one_rollout(&world).await;
    let gone = world
        .metrics
        .writes
        .with_label_values(&["restamp", "not_found"]);
    assert!(gone.get() >= 1);
    let tries = world.count("patch", "deployments", "gone");
    assert!(tries <= 8, "{tries} tries while the watch lags");
    world.api.release("deployments");
    until("it is forgotten", || world.metrics.workloads.get() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_was_made_again_is_not_written_over_and_over_until_that_is_heard_of() {
    let world = shop().await;
    let web = name("deployments", "web");
    world.api.hold("deployments");
    world.api.delete(&web);
    world
        .api
        .put("kubectl", &deployment("web", &["login"], &[]));
    world.api.put("kubectl", &secret("login", "two"));
    world.quiet().await;
    let tries = world.count("patch", "deployments", "web");
    assert!(tries <= 8, "{tries} tries while the watch lags");
    world.api.release("deployments");
    world.until_recorded().await;
    world.api.put("kubectl", &secret("login", "three"));
    world.until_rolled("web", 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_refuses_every_list_is_waited_for() {
    let api = crate::fake_api::FakeApi::default();
    api.put("kubectl", &secret("login", "one"));
    api.put("kubectl", &deployment("web", &["login"], &[]));
    for resource in ["secrets", "deployments"] {
        api.fail(
            "list",
            &crate::fake_api::key(resource, "", ""),
            6,
            Effect::Refused(500),
        );
    }
    let world = World::start(&api).await;
    world.until_recorded().await;
    assert_eq!(
        world
            .metrics
            .watch_errors
            .with_label_values(&["secrets"])
            .get(),
        6
    );
    expect_one_rollout(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_read_stops_all_writes_until_it_can() {
    let api = shop().await.stop().await;
    let key = super::world::installation_key();
    api.fail("get", &key, 3, Effect::Refused(500));
    api.put("kubectl", &secret("login", "two"));
    let world = World::start(&api).await;
    world.until_rolled("web", 1).await;
    assert_eq!(world.rollouts("web"), 1);
    assert_eq!(
        api.get(&key).unwrap()["metadata"]["generation"],
        1,
        "it was not made anew"
    );
}

/// A watcher that finds `login` changed while the watch of Secrets cannot be resumed.
async fn unheard() -> World {
    let mut web = deployment("web", &["login", "mail"], &[]);
    web["metadata"]["annotations"][SETTLE] = json!("0s");
    let world = World::with(&[secret("login", "one"), secret("mail", "one"), web]).await;
    let login = name("secrets", "login");
    world.api.fail("get", &login, 1, Effect::Refused(500));
    world.api.put("kubectl", &secret("login", "two"));
    until("its read fails", || {
        world.count("get", "secrets", "login") == 1
    })
    .await;
    let watches = key("secrets", "", "");
    world.api.fail("watch", &watches, 5, Effect::Refused(500));
    world.api.cut("secrets");
    until("the watch cannot be resumed", || {
        world.count("watch", "secrets", "") > 0
    })
    .await;
    world
}

/// What came while nothing could be heard is live, too: the pods of the restart start on it.
#[tokio::test(start_paused = true)]
async fn a_restart_while_a_watch_is_broken_rests_on_all_that_is_live() {
    let world = unheard().await;
    world.api.put("kubectl", &secret("mail", "two"));
    world.until_rolled("web", 1).await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
    assert_eq!(world.count("get", "secrets", "mail"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_is_tried_again_while_a_watch_is_broken_does_so_too() {
    let world = unheard().await;
    let web = name("deployments", "web");
    world.api.fail("patch", &web, 1, Effect::Refused(500));
    until("it was tried", || {
        world.count("patch", "deployments", "web") == 1
    })
    .await;
    world.api.put("kubectl", &secret("mail", "two"));
    world.until_rolled("web", 1).await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_is_told_on_the_workload() {
    let world = shop().await;
    let web = name("deployments", "web");
    world.api.fail("patch", &web, 2, Effect::Refused(500));
    expect_one_rollout(&world).await;
    let told = world.events("ReloadFail");
    assert_eq!(told.len(), 2, "once for each try: {told:?}");
    let start =
        "Update for 'web' of type 'Deployment' in namespace 'shop' failed with error cannot patch";
    assert!(told[0].starts_with(start), "{}", told[0]);
    assert_eq!(world.events("Reloaded").len(), 1);
}
