//! One replica acts, the others are ready to.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{World, deployment, name, secret, until, world::lease};
use crate::fake_api::{Effect, FakeApi};

fn lease_of(holder: &str) -> Value {
    let lease = lease();
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "namespace": lease.namespace, "name": lease.name },
        "spec": {
            "holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 1,
            "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z",
        },
    })
}

/// Another replica holds the lease and renews it for a while.
async fn other_leads(api: &FakeApi, seconds: u32) {
    for second in 0..seconds {
        let renewed = format!(
            "2026-01-01T00:{:02}:{:02}.000000Z",
            second / 60,
            second % 60
        );
        api.edit("other", &lease(), |lease| {
            lease["spec"]["renewTime"] = renewed.into()
        });
        sleep(Duration::from_secs(1)).await;
    }
}

/// A shop whose Deployment is recorded with content `one`, and whose Secret has content `two`.
async fn stale_shop() -> FakeApi {
    let world = World::with(&[secret("login", "one"), deployment("web", &["login"], &[])]).await;
    let api = world.stop().await;
    api.put("kubectl", &secret("login", "two"));
    api.forget_calls();
    api
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_reads_no_payload_and_writes_nothing() {
    let api = stale_shop().await;
    api.put("other", &lease_of("other"));
    let world = World::start(&api).await;
    other_leads(&api, 90).await;
    api.put("kubectl", &secret("login", "three"));
    other_leads(&api, 90).await;
    assert_eq!(world.metrics.leader.get(), 0);
    let acted = |call: &&crate::fake_api::Call| !["list", "watch"].contains(&call.verb);
    let calls = world.calls();
    assert_eq!(
        calls.iter().filter(acted).collect::<Vec<_>>(),
        Vec::<&crate::fake_api::Call>::new()
    );
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_compares_everything() {
    let api = stale_shop().await;
    api.put("other", &lease_of("other"));
    let world = World::start(&api).await;
    other_leads(&api, 30).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(
        world.metrics.leader.get(),
        0,
        "the lease has not run out yet"
    );
    world.until_rolled("web", 1).await;
    assert_eq!(world.metrics.leader.get(), 1);
    assert_eq!(world.count("list", "secrets", ""), 1, "it was warm");
    assert_eq!(api.get(&lease()).unwrap()["spec"]["holderIdentity"], "us");
    assert_eq!(api.get(&lease()).unwrap()["spec"]["leaseTransitions"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_back_is_taken_at_once() {
    let api = stale_shop().await;
    assert_eq!(api.get(&lease()).unwrap()["spec"]["holderIdentity"], "");
    let world = World::start(&api).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.metrics.leader.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_stops_in_time_and_starts_again_when_it_can() {
    for effect in [Effect::Refused(500), Effect::NoAnswer, Effect::AnswerLost] {
        let world =
            World::with(&[secret("login", "one"), deployment("web", &["login"], &[])]).await;
        for verb in ["get", "update"] {
            world.api.fail(verb, &lease(), 10_000, effect);
        }
        sleep(Duration::from_secs(13)).await;
        assert_eq!(world.metrics.leader.get(), 0, "{effect:?}");
        world.api.put("kubectl", &secret("login", "two"));
        world.quiet().await;
        assert_eq!(world.count("get", "secrets", "login"), 0);
        assert_eq!(world.rollouts("web"), 0);
        world.api.heal();
        world.until_rolled("web", 1).await;
        world.quiet().await;
        assert_eq!(world.rollouts("web"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_under_way_when_the_lease_is_lost_is_not_repeated() {
    let world = World::with(&[secret("login", "one"), deployment("web", &["login"], &[])]).await;
    world
        .api
        .fail("patch", &name("deployments", "web"), 1, Effect::NoAnswer);
    world.api.put("kubectl", &secret("login", "two"));
    until("it is written", || world.rollouts("web") == 1).await;
    world.api.put("other", &lease_of("other"));
    until("it no longer leads", || world.metrics.leader.get() == 0).await;
    until("it leads again", || world.metrics.leader.get() == 1).await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
    assert_eq!(world.count("patch", "deployments", "web"), 1);
}
