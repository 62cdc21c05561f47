//! Writers that keep undoing what Restamp writes.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    Ground, Shop,
    shop::{DEPLOYER, each},
};

const WEB: (&str, &str) = ("Deployment", "web");

#[tokio::test]
async fn a_writer_that_fights_every_second_is_met_with_backoff_an_event_and_a_metric() {
    let (ground, watcher) = Ground::shared_with_watcher().await;
    let shop = Shop::stocked(&ground, "fight").await;
    let change = shop.set_secret("db", &[("user", "app"), ("password", "two")]);
    assert_eq!(shop.rollouts(change).await, each(1));
    let before = watcher.metric("restamp_fights_total").await;

    let strip = json!({ "spec": { "template": { "metadata": { "annotations": null } } } });
    let (mut stripped, end) = (0, Instant::now() + Duration::from_secs(30));
    let mut stamps = std::collections::BTreeSet::new();
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    while Instant::now() < end {
        every_second.tick().await;
        if let Some(stamp) = shop.stamp(WEB).await {
            stamps.insert(stamp);
            shop.patch_workload(WEB, DEPLOYER, strip.clone()).await;
            stripped += 1;
        }
    }
    // Repairs after 1 + 2 + 4 + 8 + 16 seconds, and the settle window before each.
    assert!(
        (3..=6).contains(&stamps.len()),
        "{stripped} strips, {stamps:?}"
    );
    assert!(watcher.metric("restamp_fights_total").await > before);
    let events = shop.events(WEB, "Fighting").await;
    assert!(
        !events.is_empty() && events.iter().all(|text| text.contains("\"shop-operator\"")),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_writer_that_puts_the_whole_object_is_not_answered_every_time() {
    let (ground, _) = Ground::shared_with_watcher().await;
    let shop = Shop::stocked(&ground, "fight-put").await;
    let strip = json!({ "metadata": { "annotations": { "restamp.dev/observed": null } } });
    let end = Instant::now() + Duration::from_secs(15);
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    let mut adopted = 0;
    while Instant::now() < end {
        every_second.tick().await;
        if shop.observed(WEB).await.is_some() {
            adopted += 1;
            shop.patch_workload(WEB, DEPLOYER, strip.clone()).await;
        }
    }
    assert!((2..=5).contains(&adopted), "{adopted}");
    assert_eq!(
        shop.rollouts(async {}).await,
        each(0),
        "adoption rolls nothing"
    );
}
