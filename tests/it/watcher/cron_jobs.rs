//! CronJobs, which run once for each change.

use restamp::stamp::annotations::{AUTO, OBSERVED, STAMP};
use serde_json::{Value, json};

use super::{World, name, secret, until, world::SHOP};
use crate::fake_api::Effect;

fn cron_job(suspend: bool) -> Value {
    let container = json!({ "name": "app", "envFrom": [{ "secretRef": { "name": "login" } }] });
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": { "namespace": SHOP, "name": "report", "annotations": { AUTO: "true" } },
        "spec": { "suspend": suspend, "schedule": "@daily", "jobTemplate": { "spec": {
            "template": { "spec": { "containers": [container] } },
        }}},
    })
}

/// A watcher that has recorded the CronJob.
async fn world(suspend: bool) -> World {
    let world = World::with(&[secret("login", "one"), cron_job(suspend)]).await;
    let recorded = || stored(&world)["metadata"]["annotations"][OBSERVED].is_string();
    until("it is recorded", recorded).await;
    world.quiet().await;
    assert_eq!(world.api.all("jobs"), [Value::Null; 0]);
    world
}

fn stored(world: &World) -> Value {
    world.api.get(&name("cronjobs", "report")).unwrap()
}

fn stamp(object: &Value) -> &Value {
    &object["metadata"]["annotations"][STAMP]
}

/// The stamp on the CronJob's template.
fn stamped(world: &World) -> Value {
    stamp(&stored(world)["spec"]["jobTemplate"]["spec"]["template"]).clone()
}

async fn change(world: &World, content: &str) {
    let before = stamped(world);
    world.api.put("kubectl", &secret("login", content));
    until("it is stamped", || stamped(world) != before).await;
    world.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_runs_it_once_and_the_same_content_never() {
    let world = world(false).await;
    change(&world, "two").await;
    let jobs = world.api.all("jobs");
    assert_eq!(jobs.len(), 1);
    assert_eq!(*stamp(&jobs[0]["spec"]["template"]), stamped(&world));
    assert_eq!(jobs[0]["metadata"]["ownerReferences"][0]["name"], "report");
    world.api.put("kubectl", &secret("login", "two"));
    world.quiet().await;
    assert_eq!(world.api.all("jobs").len(), 1);
    change(&world, "one").await;
    change(&world, "two").await;
    assert_eq!(
        world.api.all("jobs").len(),
        3,
        "content that is back is a change"
    );
}

#[tokio::test(start_paused = true)]
async fn it_runs_once_though_the_answer_to_the_write_or_the_watcher_is_lost() {
    for effect in [Effect::AnswerLost, Effect::Refused(500)] {
        let world = world(false).await;
        let key = name("cronjobs", "report");
        world.api.fail("patch", &key, 1, effect);
        change(&world, "two").await;
        assert_eq!(world.api.all("jobs").len(), 1);
    }
    let world = world(false).await;
    world.api.fail(
        "patch",
        &name("cronjobs", "report"),
        1000,
        Effect::Refused(500),
    );
    world.api.put("kubectl", &secret("login", "two"));
    until("the Job is made", || world.api.all("jobs").len() == 1).await;
    let api = world.kill().await;
    api.heal();
    let world = World::start(&api).await;
    until("it is stamped", || stamped(&world).is_string()).await;
    world.quiet().await;
    assert_eq!(api.all("jobs").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_run_is_not_recorded_as_run() {
    let world = world(false).await;
    let jobs = crate::fake_api::key("jobs", SHOP, "");
    world.api.fail("create", &jobs, 3, Effect::Refused(403));
    world.api.put("kubectl", &secret("login", "two"));
    until("it was tried", || {
        world.calls().iter().any(|call| call.key == jobs)
    })
    .await;
    assert_eq!(stamped(&world), Value::Null);
    until("it is stamped", || stamped(&world).is_string()).await;
    assert_eq!(world.api.all("jobs").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_suspended_is_stamped_and_does_not_run() {
    let world = world(true).await;
    change(&world, "two").await;
    assert_eq!(world.api.all("jobs"), [Value::Null; 0]);
}

#[tokio::test(start_paused = true)]
async fn somebody_else_s_write_does_not_run_it() {
    let world = world(false).await;
    change(&world, "two").await;
    world
        .api
        .edit("kubectl", &name("cronjobs", "report"), |it| {
            it["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["annotations"] =
                json!({ "a": "b" });
        });
    until("the stamp is back", || stamped(&world).is_string()).await;
    world.quiet().await;
    assert_eq!(world.api.all("jobs").len(), 1);
}
