//! Which namespaces are followed, in the watcher and in the webhook.

use std::process::Command;

use restamp::stamp::{
    annotations::{PAUSED_AT, STAMP},
    reason::Reason,
    scope::Namespaces,
    settings::PolicySettings,
};
use serde_json::{Value, json};

use super::{
    HOME, World, config_map, deployment, secret,
    settings::watching,
    until,
    world::{lease, rotate_key},
};
use crate::{
    fake_api::{Effect, FakeApi, key},
    logs::Logs,
    webhook::{Webhook, follow_key},
};

const MALL: &str = "mall";
const YARD: &str = "yard";

fn following(namespaces: Namespaces) -> PolicySettings {
    PolicySettings {
        namespaces,
        ..PolicySettings::default()
    }
}

fn only(names: &[&'static str]) -> PolicySettings {
    following(Namespaces::Only(names.iter().copied().collect()))
}

fn but(name: &'static str) -> PolicySettings {
    following(Namespaces::Cluster {
        ignored: [name].into(),
        selector: None,
    })
}

fn with_label(selector: &str) -> PolicySettings {
    following(Namespaces::Cluster {
        ignored: [].into(),
        selector: Some(selector.parse().unwrap()),
    })
}

fn within(namespace: &str, mut object: Value) -> Value {
    object["metadata"]["namespace"] = namespace.into();
    object
}

/// A Deployment `web` and its Secret in each namespace.
fn stock(namespaces: &[&str]) -> Vec<Value> {
    let of_one = |namespace: &&str| {
        let objects = [secret("login", "one"), deployment("web", &["login"], &[])];
        objects.map(|object| within(namespace, object))
    };
    namespaces.iter().flat_map(of_one).collect()
}

fn namespace(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": name, "labels": labels },
    })
}

fn change(world: &World, namespace: &str, value: &str) {
    let login = within(namespace, secret("login", value));
    world.api.put("kubectl", &login);
}

/// How often `web` of the namespace was rolled out; nothing if nothing was ever recorded on it.
fn rollouts(world: &World, namespace: &str) -> Option<u64> {
    let web = world
        .api
        .get(&key("deployments", namespace, "web"))
        .unwrap();
    let generation = web["metadata"]["generation"].as_u64().unwrap();
    let annotations = &web["metadata"]["annotations"];
    annotations["restamp.dev/observed"]
        .is_string()
        .then(|| generation - 1)
}

/// How often it was decided to leave a workload alone for its namespace.
fn left_alone(world: &World) -> u64 {
    let reason = Reason::NamespaceNotSelected.as_str();
    let decisions = &world.metrics.decisions;
    decisions.with_label_values(&[reason]).get()
}

async fn until_rolled(world: &World, namespace: &str, times: u64) {
    let what = format!("web of {namespace} is rolled out {times} times");
    until(&what, || rollouts(world, namespace) == Some(times)).await;
}

#[tokio::test(start_paused = true)]
async fn namespaces_that_are_named_are_followed_and_nothing_else_is_asked_for() {
    let api = FakeApi::default();
    for object in stock(&["shop", MALL, YARD]) {
        api.put("kubectl", &object);
    }
    // The last one has nothing in it yet, and need not exist.
    let world = World::start_with(&api, only(&["shop", MALL, "later"])).await;
    world.quiet().await;
    for namespace in ["shop", MALL, YARD] {
        change(&world, namespace, "two");
    }
    until_rolled(&world, "shop", 1).await;
    until_rolled(&world, MALL, 1).await;
    for object in stock(&["later"]) {
        api.put("kubectl", &object);
    }
    world.quiet().await;
    change(&world, "later", "two");
    until_rolled(&world, "later", 1).await;
    world.quiet().await;
    let all = ["shop", MALL, YARD, "later"].map(|namespace| rollouts(&world, namespace));
    assert_eq!(all, [Some(1), Some(1), None, Some(1)]);
    for call in world.calls() {
        let asked = &*call.key.namespace;
        assert!(["shop", MALL, "later", HOME].contains(&asked), "{call:?}");
        let at_home = ["restamp-key", ""].contains(&&*call.key.name);
        assert!(asked != HOME || at_home && call.verb != "list", "{call:?}");
    }
    assert!(world.api.get(&lease()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_list_of_one_namespace_forgets_nothing_of_another() {
    let world = watching(&stock(&["shop", MALL]), &only(&["shop", MALL])).await;
    for resource in ["secrets", "deployments"] {
        world.api.compact();
        world.api.expire(resource);
        world.quiet().await;
    }
    let lists = |namespace: &str, resource: &str| {
        let wanted = key(resource, namespace, "");
        let calls = world.calls().into_iter();
        calls
            .filter(|it| it.verb == "list" && it.key == wanted)
            .count()
    };
    assert!(lists("shop", "deployments") > 0 && lists(MALL, "secrets") > 0);
    assert_eq!(world.metrics.workloads.get(), 2);
    change(&world, MALL, "two");
    until_rolled(&world, MALL, 1).await;
    world.quiet().await;
    assert_eq!(rollouts(&world, "shop"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_may_not_be_listed_holds_up_no_other_and_is_followed_once_it_may() {
    for resource in ["secrets", "deployments"] {
        let api = FakeApi::default();
        stock(&["shop", MALL])
            .iter()
            .for_each(|object| api.put("kubectl", object));
        // Nothing of it wakes its workload, then.
        api.delete(&key("secrets", MALL, "login"));
        let forbidden = key(resource, MALL, "");
        api.fail("list", &forbidden, u32::MAX, Effect::Refused(403));
        let logs = Logs::capture();
        let world = World::start_with(&api, only(&["shop", MALL])).await;
        until("the shop is recorded", || {
            rollouts(&world, "shop") == Some(0)
        })
        .await;
        change(&world, "shop", "two");
        until_rolled(&world, "shop", 1).await;
        assert_eq!(rollouts(&world, MALL), None, "{resource}");
        let said = logs.with(&["cannot follow a resource", "may not list", resource, MALL]);
        assert!(!said.is_empty(), "{resource}");
        api.heal();
        until("the mall is recorded", || rollouts(&world, MALL) == Some(0)).await;
        change(&world, MALL, "two");
        until_rolled(&world, MALL, 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn namespaces_that_are_ignored_are_left_out_by_the_api_server() {
    let world = watching(&stock(&["shop", YARD]), &but(YARD)).await;
    for namespace in ["shop", YARD] {
        change(&world, namespace, "two");
    }
    until_rolled(&world, "shop", 1).await;
    world.quiet().await;
    assert_eq!(rollouts(&world, YARD), None);
    assert_eq!(world.metrics.workloads.get(), 1, "it was never told of");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_gets_or_loses_the_label_is_followed_from_then_on_or_no_more() {
    let mut objects = stock(&["shop", MALL]);
    objects.push(namespace("shop", &json!({ "env": "prod" })));
    objects.push(namespace(MALL, &json!({})));
    let world = watching(&objects, &with_label("env=prod")).await;
    assert_eq!(rollouts(&world, MALL), None);
    assert_eq!(left_alone(&world), 1);

    let both = json!({ "env": "prod", "team": "a" });
    world.api.put("kubectl", &namespace(MALL, &both));
    until("the mall is recorded", || rollouts(&world, MALL) == Some(0)).await;
    change(&world, MALL, "two");
    until_rolled(&world, MALL, 1).await;

    world.api.put("kubectl", &namespace(MALL, &json!({})));
    world.quiet().await;
    change(&world, MALL, "three");
    change(&world, "shop", "two");
    until_rolled(&world, "shop", 1).await;
    world.quiet().await;
    assert_eq!(rollouts(&world, MALL), Some(1));
    assert!(left_alone(&world) > 1);
    let skipped = r#"reloader_skipped_total{reason="ignored_or_not_selected"} 1"#;
    let text = world.metrics.registry.render().unwrap();
    assert!(String::from_utf8(text).unwrap().contains(skipped));

    // State is compared: what changed meanwhile is acted upon.
    let back = namespace(MALL, &json!({ "env": "prod" }));
    world.api.put("kubectl", &back);
    until_rolled(&world, MALL, 2).await;
    world.quiet().await;
    assert_eq!(rollouts(&world, MALL), Some(2));

    // Without a change, coming and going restarts nothing.
    world.api.delete(&key("namespaces", "", "shop"));
    world.quiet().await;
    world
        .api
        .put("kubectl", &namespace("shop", &json!({ "env": "prod" })));
    world.quiet().await;
    assert_eq!(rollouts(&world, "shop"), Some(1));
}

/// Reloader left it paused, long ago.
#[tokio::test(start_paused = true)]
async fn what_is_left_paused_is_resumed_only_where_it_is_followed() {
    let mut objects = stock(&["shop", MALL]);
    for object in &mut objects {
        if object["kind"] == "Deployment" {
            object["spec"]["paused"] = true.into();
            object["metadata"]["annotations"][PAUSED_AT] = "1969-01-01T00:00:00Z".into();
        }
    }
    objects.push(namespace("shop", &json!({ "env": "prod" })));
    let world = watching(&objects, &with_label("env")).await;
    let is_paused = |namespace| {
        let web = world.api.get(&key("deployments", namespace, "web"));
        web.unwrap()["spec"]["paused"] == true
    };
    assert_eq!(["shop", MALL].map(is_paused), [false, true]);
    world
        .api
        .put("kubectl", &namespace(MALL, &json!({ "env": "" })));
    until("it is resumed", || !is_paused(MALL)).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_before_it_is_known_which_namespaces_are_followed() {
    let api = FakeApi::default();
    for object in stock(&["shop"]) {
        api.put("kubectl", &object);
    }
    api.put("kubectl", &namespace("shop", &json!({ "env": "prod" })));
    let forbidden = key("namespaces", "", "");
    api.fail("list", &forbidden, u32::MAX, Effect::Refused(403));
    let world = World::start_with(&api, with_label("env")).await;
    world.quiet().await;
    assert_eq!(rollouts(&world, "shop"), None);
    assert_eq!(world.count("patch", "deployments", "web"), 0);
    assert_eq!(left_alone(&world), 0);
    api.heal();
    until("it is recorded", || rollouts(&world, "shop") == Some(0)).await;
}

/// Our own namespace need not be followed.
#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_found_though_its_namespace_is_not_followed() {
    let labelled = PolicySettings {
        source_labels: Some("!team".parse().unwrap()),
        ..PolicySettings::default()
    };
    for policy in [only(&["shop"]), but(HOME), labelled] {
        let objects = [
            config_map("pages", "one"),
            deployment("web", &[], &["pages"]),
        ];
        let world = watching(&objects, &policy).await;
        let before = world.recorded("web", "ConfigMap/pages");
        rotate_key(&world.api);
        until("digests are made anew", || {
            world.recorded("web", "ConfigMap/pages") != before
        })
        .await;
        assert_eq!(world.rollouts("web"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_webhook_leaves_alone_what_is_in_namespaces_that_are_not_followed() {
    for (policy, is_followed) in [
        (only(&["shop"]), true),
        (only(&[MALL]), false),
        (but(MALL), true),
        (but("shop"), false),
        // Which namespaces these are is for the webhook configuration to say.
        (with_label("env"), true),
    ] {
        let api = FakeApi::default();
        api.put("kubectl", &secret("login", "one"));
        let webhook = Webhook::with(&api, follow_key(&api).await, policy.clone());
        api.forget_calls();
        let web = deployment("web", &["login"], &[]);
        let admitted = webhook.admit(&web, None).await;
        assert_eq!(admitted.patched, is_followed, "{policy:?}");
        if is_followed {
            continue;
        }
        assert_eq!(api.calls(), [], "{policy:?}");
        let mut stored = web.clone();
        stored["spec"]["template"]["metadata"]["annotations"] = json!({ STAMP: "theirs" });
        let written = webhook.admit(&web, Some(&stored)).await;
        assert!(!written.patched, "what others wrote is theirs");
        assert_eq!(webhook.admissions(Reason::NamespaceNotSelected), 2);
    }
}

/// Before anything is asked of an API server.
#[test]
fn the_variable_of_reloader_names_the_namespace_that_is_followed() {
    let output = Command::new(env!("CARGO_BIN_EXE_restamp"))
        .args(["explain", "deployment/web"])
        .env_clear()
        .env("KUBERNETES_NAMESPACE", "Shop")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let told = "KUBERNETES_NAMESPACE: no namespace can be called \"Shop\"";
    assert!(said.contains(told), "{said}");
}
