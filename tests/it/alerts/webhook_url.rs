//! Reloader's webhook mode: a URL is told about changes of sources, and nothing is restarted.

use restamp::{
    alerts::{Config, Receiver},
    stamp::settings::PolicySettings,
};
use serde_json::{Value, json};

use super::{Answer, FakeReceiver};
use crate::{
    fake_api::FakeApi,
    watcher::{World, config_map, csi, deployment, name, secret, until},
};

/// A receiver with a limit that a clock which jumps does not reach.
fn told(by: &FakeReceiver) -> Receiver {
    let config = Config::webhook("--webhook-url", &by.url("/hook")).unwrap();
    let mut receiver = Receiver::new(config).unwrap();
    receiver.pauses.one_try = std::time::Duration::from_secs(1_000_000_000);
    receiver
}

/// What it was told: kind of change and name.
fn changes(hook: &FakeReceiver) -> Vec<String> {
    let change = |body: &str| {
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["webhook"], "update successful", "Reloader's words");
        let word = |key: &str| body[key].as_str().unwrap().to_owned();
        [
            word("change"),
            word("type"),
            word("namespace"),
            word("name"),
        ]
        .join(" ")
    };
    hook.received().iter().map(|it| change(&it.body)).collect()
}

async fn until_told(world: &World, count: u64) {
    let sent = world.metrics.alerts.with_label_values(&["sent"]);
    until("it is told", || sent.get() == count).await;
    world.quiet().await;
}

fn shop() -> FakeApi {
    let api = FakeApi::default();
    api.put("kubectl", &secret("login", "one"));
    api.put("kubectl", &config_map("files", "one"));
    api.put("kubectl", &deployment("web", &["login"], &["files"]));
    api
}

#[tokio::test(start_paused = true)]
async fn a_webhook_is_told_about_changes_and_nothing_is_restarted() {
    let hook = FakeReceiver::that(&[Answer::Status(200)]).await;
    let api = shop();
    let world = World::telling(&api, PolicySettings::default(), told(&hook)).await;
    assert_eq!(changes(&hook), [""; 0], "what is there is no change");

    api.put("kubectl", &secret("login", "two"));
    until_told(&world, 1).await;
    api.put("kubectl", &config_map("unused", "one"));
    api.put("kubectl", &config_map("unused", "two"));
    until_told(&world, 2).await;
    let all = ["updated SECRET shop login", "updated CONFIGMAP shop unused"];
    assert_eq!(changes(&hook), all);

    let mut labelled = secret("login", "two");
    labelled["metadata"]["labels"] = json!({ "a": "b" });
    api.put("kubectl", &labelled);
    world.quiet().await;
    api.delete(&name("configmaps", "unused"));
    world.quiet().await;
    assert_eq!(changes(&hook).len(), 2, "only content counts");
    let request = hook.received().remove(0);
    assert_eq!(request.line, "POST /hook");
    assert_eq!(request.headers["content-type"], "application/json");
    let web = api.get(&name("deployments", "web")).unwrap();
    assert_eq!(
        web["metadata"]["annotations"]["restamp.dev/observed"],
        Value::Null
    );
    assert_eq!(
        world.count("list", "deployments", ""),
        0,
        "no workload is looked at"
    );
}

#[tokio::test(start_paused = true)]
async fn a_webhook_is_told_of_what_comes_and_goes_where_that_is_asked_for() {
    let hook = FakeReceiver::that(&[Answer::Status(500), Answer::Status(200)]).await;
    let api = shop();
    let policy = PolicySettings {
        reload_on_create: true,
        reload_on_delete: true,
        ..PolicySettings::default()
    };
    let world = World::telling(&api, policy, told(&hook)).await;
    api.put("kubectl", &secret("new", "one"));
    until_told(&world, 1).await;
    assert_eq!(hook.received().len(), 2, "it is tried again");
    api.delete(&name("secrets", "new"));
    until_told(&world, 2).await;
    let last = changes(&hook).split_off(1);
    assert_eq!(last, ["created SECRET shop new", "deleted SECRET shop new"]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_is_told_of_a_rotation_once_and_not_of_pods_that_come() {
    let hook = FakeReceiver::that(&[Answer::Status(200)]).await;
    let api = csi::served();
    api.put("kubectl", &csi::class(&json!({})));
    for pod in ["a", "b"] {
        api.put("driver", &csi::status(pod, "1"));
    }
    let world = World::telling(&api, PolicySettings::default(), told(&hook)).await;
    api.put("driver", &csi::status("c", "2"));
    world.quiet().await;
    assert_eq!(changes(&hook), [""; 0], "it has started on that");
    for pod in ["a", "b"] {
        api.put("driver", &csi::status(pod, "2"));
        until_told(&world, 1).await;
    }
    assert_eq!(changes(&hook), ["updated SECRETPROVIDERCLASS shop vault"]);
    let mut labelled = csi::status("b", "2");
    labelled["metadata"]["labels"] = json!({ "a": "b" });
    api.put("driver", &labelled);
    world.quiet().await;
    api.put("driver", &csi::status("a", "1"));
    until_told(&world, 2).await;
}
