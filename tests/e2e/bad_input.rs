//! What people and machines get wrong: a clear message, no panic, no needless rollout, nothing lost.
//!
//! Elsewhere: two watchers and a Lease held by a dead one (outages), a missing right (rights).

mod admission;
mod annotations;
mod memory;
mod processes;
mod sources;

use serde_json::Value;

use crate::support::{
    Ground, Shop,
    rollouts::Rollouts,
    shop::{Name, web_pod},
    wait::until,
};

const WEB: Name<'static> = ("Deployment", "web");

/// So many rollouts of the one workload.
fn rolled(count: u64) -> Rollouts {
    Rollouts::from([("Deployment/web".to_owned(), count)])
}

/// A shop with the Secret `db` and the ConfigMap `app`, and one workload that uses both.
async fn shop(name: &str, annotations: Value) -> Shop {
    let shop = Shop::open(&Ground::shared().await, name).await;
    shop.set_password("one").await;
    shop.set_config_map("app", &[("level", "info")]).await;
    shop.create_workload(WEB, annotations, web_pod()).await;
    shop.until_quiet().await;
    shop
}

async fn annotate(shop: &Shop, key: &str, value: &str) {
    let patch = serde_json::json!({ "metadata": { "annotations": { key: value } } });
    shop.patch_workload(WEB, "somebody", patch).await;
}

/// Waits for the Event that says what is wrong with the annotations; there is one for each thing.
async fn until_warned(shop: &Shop, text: &str) {
    until("the Event about the annotation", async || {
        let events = shop.events(WEB, "InvalidAnnotation").await;
        let told = events.iter().filter(|event| event.contains(text)).count();
        if told == 1 { Ok(()) } else { Err(events) }
    })
    .await;
}

/// Waits until the shared watcher has logged a line that holds all of `parts`.
async fn until_logged(parts: &[&str]) {
    let (_, watcher) = Ground::shared_with_watcher().await;
    until("the log line", async || {
        let log = watcher.log();
        let said = log
            .lines()
            .any(|line| parts.iter().all(|part| line.contains(part)));
        if said { Ok(()) } else { Err(parts) }
    })
    .await;
}

/// The watcher that all tests share still works.
async fn assert_unharmed() {
    let (_, watcher) = Ground::shared_with_watcher().await;
    assert!(matches!(watcher.http("/readyz").await, Ok((200, _))));
    assert_eq!(watcher.metric("restamp_leader").await, 1.0);
    let log = watcher.log();
    let panicked = log.contains("panicked") || log.contains(" ERROR ");
    assert!(!panicked, "{log}");
}
