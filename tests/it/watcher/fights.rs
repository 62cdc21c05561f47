//! Writers that keep undoing what the watcher writes.

use std::time::Duration;

use restamp::stamp::annotations::{OBSERVED, STAMP};
use serde_json::Value;
use tokio::time::sleep;

use super::{World, deployment, name, secret};

async fn stamped_shop() -> World {
    let world = World::with(&[secret("login", "one"), deployment("web", &["login"], &[])]).await;
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
    world.quiet().await;
    world.api.forget_calls();
    world
}

/// An operator that puts the Deployment as it knows it, every second.
async fn operator(world: &World, seconds: u32, known: impl Fn(&mut Value)) {
    for _ in 0..seconds {
        world
            .api
            .edit("operator", &name("deployments", "web"), &known);
        sleep(Duration::from_secs(1)).await;
    }
}

fn without_stamp(web: &mut Value) {
    if let Some(annotations) = web.pointer_mut("/spec/template/metadata/annotations") {
        annotations.as_object_mut().unwrap().remove(STAMP);
    }
}

fn without_memory(web: &mut Value) {
    let annotations = &mut web["metadata"]["annotations"];
    annotations.as_object_mut().unwrap().remove(OBSERVED);
}

#[tokio::test(start_paused = true)]
async fn a_stamp_that_is_removed_once_is_restored_without_a_word() {
    let world = stamped_shop().await;
    operator(&world, 1, without_stamp).await;
    world.until_rolled("web", 3).await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 3);
    assert_eq!(world.metrics.fights.get(), 0);
    assert!(world.events("Fighting").is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_keeps_removing_the_stamp_is_named_and_met_less_and_less_often() {
    let world = stamped_shop().await;
    operator(&world, 60, without_stamp).await;
    let after_a_minute = world.count("patch", "deployments", "web");
    assert!(
        (3..=6).contains(&after_a_minute),
        "{after_a_minute} patches"
    );
    operator(&world, 1200, without_stamp).await;
    let later = world.count("patch", "deployments", "web");
    assert!(later <= after_a_minute + 8, "{later} patches");
    let fights = world.events("Fighting");
    assert_eq!(
        u64::try_from(fights.len()).unwrap(),
        world.metrics.fights.get()
    );
    assert!(
        fights.len() <= later,
        "no more than one word for each repair"
    );
    assert!(!fights.is_empty());
    for message in fights {
        assert!(message.contains("\"operator\""), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_keeps_removing_the_memory_is_met_less_and_less_often_and_causes_no_rollout() {
    let world = stamped_shop().await;
    operator(&world, 1200, without_memory).await;
    let patches = world.count("patch", "deployments", "web");
    assert!((3..=14).contains(&patches), "{patches} patches");
    assert_eq!(world.rollouts("web"), 1);
    assert!(world.metrics.fights.get() >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_content_is_not_held_up_by_a_fight_that_is_over() {
    let world = stamped_shop().await;
    operator(&world, 60, without_stamp).await;
    sleep(Duration::from_secs(1800)).await;
    let before = world.rollouts("web");
    world.api.put("kubectl", &secret("login", "three"));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.rollouts("web"), before + 1);
}
