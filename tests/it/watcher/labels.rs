//! Sources that are followed only with a label: what comes and goes with it restarts nothing, and what lacks it is
//! never read.

use restamp::stamp::{annotations::SECRET_RELOAD, settings::PolicySettings};
use serde_json::{Value, json};

use super::{World, deployment, name, next_image, secret, settings::watching};
use crate::{
    fake_api::FakeApi,
    webhook::{Webhook, follow_key},
};

fn labelled() -> PolicySettings {
    PolicySettings {
        source_labels: Some("team=a".parse().unwrap()),
        ..PolicySettings::default()
    }
}

/// Secret `login` with the label.
fn login(value: &str) -> Value {
    let mut login = unlabelled(value);
    login["metadata"]["labels"] = json!({ "team": "a" });
    login
}

fn unlabelled(value: &str) -> Value {
    secret("login", value)
}

fn web() -> Value {
    deployment("web", &["login"], &[])
}

/// Puts Secret `login`, and says how often `web` was rolled out once all is quiet.
async fn after(world: &World, login: &Value) -> u64 {
    world.api.put("kubectl", login);
    world.quiet().await;
    world.rollouts("web")
}

/// How often the payload of Secret `login` was asked for.
fn reads(api: &FakeApi) -> usize {
    let login = name("secrets", "login");
    let calls = api.calls().into_iter();
    let of_login = calls.filter(|call| call.verb == "get" && call.key == login);
    of_login.filter(|call| !call.metadata).count()
}

fn is_recorded(world: &World) -> bool {
    !world.recorded("web", "Secret/login").is_null()
}

#[tokio::test(start_paused = true)]
async fn a_label_that_comes_and_goes_restarts_nothing_and_a_change_restarts_once() {
    let world = watching(&[login("one"), web()], &labelled()).await;
    assert!(is_recorded(&world));
    assert_eq!(after(&world, &login("two")).await, 1, "a change");
    assert_eq!(after(&world, &unlabelled("two")).await, 1, "without it");
    assert!(is_recorded(&world));
    let read = reads(&world.api);
    assert_eq!(after(&world, &unlabelled("three")).await, 1, "not followed");
    assert_eq!(after(&world, &unlabelled("two")).await, 1);
    assert_eq!(reads(&world.api), read, "and not read");
    assert_eq!(after(&world, &login("two")).await, 1, "with it again");
    world.api.delete(&name("secrets", "login"));
    assert_eq!(after(&world, &login("two")).await, 1, "made again");
    world.api.delete(&name("secrets", "login"));
    world.quiet().await;
    assert_eq!(after(&world, &login("three")).await, 2, "made anew");
    world.api.put("kubectl", &unlabelled("three"));
    assert_eq!(after(&world, &login("four")).await, 3, "changed meanwhile");
}

#[tokio::test(start_paused = true)]
async fn what_never_had_the_label_is_neither_read_nor_recorded_and_is_adopted_with_it() {
    for annotations in [json!(null), json!({ SECRET_RELOAD: "login,log.*" })] {
        let mut web = web();
        if annotations.is_object() {
            web["metadata"]["annotations"] = annotations.clone();
        }
        let world = watching(&[unlabelled("one"), web], &labelled()).await;
        assert_eq!(reads(&world.api), 0, "{annotations}");
        assert!(world.events("InvalidAnnotation").is_empty());
        assert_eq!(after(&world, &unlabelled("two")).await, 0);
        assert_eq!(after(&world, &login("two")).await, 0, "{annotations}");
        assert!(is_recorded(&world), "{annotations}");
        assert_eq!(after(&world, &login("three")).await, 1, "{annotations}");
    }
}

/// A restart for another source, and one of the watcher, while a source lacks its label.
#[tokio::test(start_paused = true)]
async fn what_is_recorded_of_a_source_stays_while_it_lacks_the_label() {
    let mut other = secret("other", "one");
    other["metadata"]["labels"] = json!({ "team": "a" });
    let web = deployment("web", &["login", "other"], &[]);
    let world = watching(&[login("one"), other.clone(), web], &labelled()).await;
    let before = world.recorded("web", "Secret/login");
    assert_eq!(after(&world, &unlabelled("one")).await, 0);
    other["data"]["value"] = json!("dHdv");
    assert_eq!(after(&world, &other).await, 1);
    assert_eq!(world.recorded("web", "Secret/login"), before);
    let read = reads(&world.api);
    let api = world.stop().await;
    let world = World::start_with(&api, labelled()).await;
    world.quiet().await;
    assert_eq!((world.rollouts("web"), reads(&api)), (1, read));
    assert_eq!(after(&world, &login("one")).await, 1);
    assert_eq!(world.recorded("web", "Secret/login"), before);
}

#[tokio::test(start_paused = true)]
async fn with_reload_on_create_a_label_that_comes_is_a_source_that_comes() {
    for (reload_on_create, rollouts) in [(false, 0), (true, 1)] {
        let policy = PolicySettings {
            reload_on_create,
            ..labelled()
        };
        let world = watching(&[unlabelled("one"), web()], &policy).await;
        assert_eq!(after(&world, &login("one")).await, rollouts);
        assert_eq!(after(&world, &login("one")).await, rollouts);
    }
}

#[tokio::test(start_paused = true)]
async fn with_reload_on_delete_a_label_that_goes_is_a_source_that_goes() {
    for (reload_on_delete, rollouts) in [(false, 0), (true, 1)] {
        let policy = PolicySettings {
            reload_on_delete,
            ..labelled()
        };
        let world = watching(&[login("one"), web()], &policy).await;
        assert_eq!(after(&world, &unlabelled("one")).await, rollouts);
    }
}

#[tokio::test(start_paused = true)]
async fn the_webhook_reads_no_payload_without_the_label_and_records_none() {
    let api = FakeApi::default();
    let webhook = Webhook::with(&api, follow_key(&api).await, labelled());
    let recorded = async || {
        let web = webhook.admit(&web(), None).await.object;
        let observed = web["metadata"]["annotations"]["restamp.dev/observed"].clone();
        observed.as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(recorded().await, "", "there is none");
    api.put("kubectl", &unlabelled("one"));
    assert_eq!(recorded().await, "");
    assert_eq!(reads(&api), 0);
    api.put("kubectl", &login("one"));
    assert!(recorded().await.contains("Secret/login"));
    assert_eq!(reads(&api), 1);
}

/// A deploy while the label is away, and then the label is back: pods have started on what was there.
#[tokio::test(start_paused = true)]
async fn a_deploy_without_the_label_and_the_label_after_it_is_one_rollout() {
    let world = watching(&[login("one"), web()], &labelled()).await;
    let webhook = Webhook::with(&world.api, follow_key(&world.api).await, labelled());
    assert_eq!(after(&world, &unlabelled("two")).await, 0);
    let deployed = name("deployments", "web");
    let deploy = |stored: Option<&Value>| next_image(stored.unwrap());
    webhook
        .write(&world.api, "kubectl", &deployed, deploy)
        .await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
    assert_eq!(after(&world, &login("two")).await, 1);
    assert_eq!(after(&world, &login("three")).await, 2);
}
