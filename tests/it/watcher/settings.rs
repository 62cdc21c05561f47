//! What flags change for every workload, in the watcher and in the webhook.

use restamp::stamp::{annotations::PolicyKeys, settings::PolicySettings, source::SourceKind};
use serde_json::{Value, json};

use super::{World, config_map, deployment, name, secret};
use crate::{
    fake_api::FakeApi,
    webhook::{Webhook, follow_key},
};

/// A watcher with these settings that has looked at everything.
pub async fn watching(objects: &[Value], policy: &PolicySettings) -> World {
    let api = FakeApi::default();
    objects.iter().for_each(|object| api.put("kubectl", object));
    let world = World::start_with(&api, policy.clone()).await;
    world.quiet().await;
    api.forget_calls();
    world
}

/// A Deployment without any annotation.
fn silent() -> Value {
    let mut web = deployment("web", &["login"], &["pages"]);
    web["metadata"]["annotations"] = json!({});
    web
}

fn shop(web: Value) -> [Value; 3] {
    [secret("login", "one"), config_map("pages", "one"), web]
}

#[tokio::test(start_paused = true)]
async fn with_auto_reload_all_what_says_nothing_is_followed() {
    let policy = PolicySettings {
        auto_reload_all: true,
        ..PolicySettings::default()
    };
    let world = watching(&shop(silent()), &policy).await;
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
}

#[tokio::test(start_paused = true)]
async fn with_auto_reload_all_the_webhook_stamps_what_says_nothing() {
    let policy = PolicySettings {
        auto_reload_all: true,
        ..PolicySettings::default()
    };
    let api = FakeApi::default();
    shop(silent())
        .iter()
        .for_each(|object| api.put("kubectl", object));
    let webhook = Webhook::with(&api, follow_key(&api).await, policy);
    let stamped = webhook.admit(&silent(), None).await.object;
    assert!(
        stamped["spec"]["template"]["metadata"]["annotations"]["restamp.dev/config-hash"]
            .is_string()
    );
}

#[tokio::test(start_paused = true)]
async fn annotations_under_other_names_count_and_those_under_the_old_ones_do_not() {
    let keys = PolicyKeys {
        auto: "example.com/auto",
        ignore: "example.com/ignore",
        ..PolicyKeys::default()
    };
    let policy = PolicySettings {
        keys,
        ..PolicySettings::default()
    };
    let mut web = deployment("web", &["login", "mail"], &[]);
    web["metadata"]["annotations"] = json!({ "example.com/auto": "true" });
    let mut mail = secret("mail", "one");
    mail["metadata"]["annotations"] = json!({ "example.com/ignore": "true" });
    let old = deployment("old", &["login"], &[]);
    let world = watching(&[secret("login", "one"), mail.clone(), web, old], &policy).await;
    mail["data"] = secret("mail", "two")["data"].clone();
    world.api.put("kubectl", &mail);
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
    world.quiet().await;
    assert_eq!((world.rollouts("web"), world.rollouts("old")), (1, 0));
    assert_eq!(world.count("get", "secrets", "mail"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_kind_of_source_that_is_ignored_is_neither_watched_nor_read() {
    for (ignored, changed, left) in [
        (SourceKind::ConfigMap, "secrets", "configmaps"),
        (SourceKind::Secret, "configmaps", "secrets"),
    ] {
        let policy = PolicySettings {
            ignored: [ignored].into(),
            ..PolicySettings::default()
        };
        let world = watching(&shop(deployment("web", &["login"], &["pages"])), &policy).await;
        assert_eq!(world.api.watches(left), 0, "{left}");
        world.api.put("kubectl", &secret("login", "two"));
        world.api.put("kubectl", &config_map("pages", "two"));
        world.until_rolled("web", 1).await;
        world.quiet().await;
        assert_eq!(world.rollouts("web"), 1, "for {changed} alone");
        let of_shop = ["login", "pages"].map(|source| world.count("get", left, source));
        assert_eq!(of_shop, [0, 0], "{left}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_reload_on_create_an_arrival_is_a_change() {
    for (reload_on_create, rollouts) in [(false, 0), (true, 1)] {
        let policy = PolicySettings {
            reload_on_create,
            ..PolicySettings::default()
        };
        let world = watching(&[], &policy).await;
        let web = deployment("web", &["login"], &[]);
        world.api.put("kubectl", &web);
        world.until_recorded().await;
        world.api.put("kubectl", &secret("login", "one"));
        world.quiet().await;
        assert_eq!(world.rollouts("web"), rollouts, "{reload_on_create}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_reload_on_delete_a_deletion_is_a_change() {
    for (reload_on_delete, rollouts) in [(false, 0), (true, 1)] {
        let policy = PolicySettings {
            reload_on_delete,
            ..PolicySettings::default()
        };
        let web = deployment("web", &["login"], &[]);
        let world = watching(&[secret("login", "one"), web], &policy).await;
        world.api.delete(&name("secrets", "login"));
        world.quiet().await;
        assert_eq!(world.rollouts("web"), rollouts, "{reload_on_delete}");
    }
}

/// The watch of Secrets would tell of a new key.
#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_found_though_secrets_are_not_watched() {
    let policy = PolicySettings {
        ignored: [SourceKind::Secret].into(),
        ..PolicySettings::default()
    };
    let web = deployment("web", &[], &["pages"]);
    let world = watching(&[config_map("pages", "one"), web], &policy).await;
    let before = world.recorded("web", "ConfigMap/pages");
    super::world::rotate_key(&world.api);
    super::until("digests are made anew", || {
        world.recorded("web", "ConfigMap/pages") != before
    })
    .await;
    assert_eq!(world.rollouts("web"), 0);
}
