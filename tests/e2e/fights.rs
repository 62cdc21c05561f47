//! Writers that keep undoing what Restamp writes.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use restamp::stamp::annotations::OBSERVED;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    Ground, Shop,
    rollouts::each,
    shop::{DEPLOYER, Name, WEB},
    wait::until,
};

const DEPLOYMENT: Name<'static> = WEB[0];

/// Strips the stamp every second for half a minute, as an operator does that knows its own template
/// only. Gives the stamps that it met.
async fn strip_every_second(shop: &Shop, name: Name<'_>) -> BTreeSet<String> {
    let strip = json!({ "spec": { "template": { "metadata": { "annotations": null } } } });
    let end = Instant::now() + Duration::from_secs(30);
    let mut stamps = BTreeSet::new();
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    while Instant::now() < end {
        every_second.tick().await;
        if let Some(stamp) = shop.stamp(name).await {
            stamps.insert(stamp);
            shop.patch_workload(name, DEPLOYER, strip.clone()).await;
        }
    }
    stamps
}

#[tokio::test]
async fn a_writer_that_fights_every_second_is_met_with_backoff_an_event_and_a_metric() {
    let (ground, watcher) = Ground::shared_with_watcher().await;
    let shop = Shop::stocked(&ground, "fight").await;
    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, each(1));
    let before = watcher.metric("restamp_fights_total").await;

    let fights = WEB.map(|name| strip_every_second(&shop, name));
    let mut told = 0.0;
    for (name, stamps) in WEB.into_iter().zip(join_all(fights).await) {
        // Repairs after 1 + 2 + 4 + 8 + 16 seconds, and the settle window before each.
        assert!((3..=6).contains(&stamps.len()), "{name:?}: {stamps:?}");
        let events = until("the Event is there", async || {
            let events = shop.events(name, "Fighting").await;
            if events.is_empty() {
                Err(name)
            } else {
                Ok(events)
            }
        })
        .await;
        let named = |text: &String| text.contains("\"shop-operator\"");
        assert!(events.iter().all(named), "{name:?}: {events:?}");
        told += events.len() as f64;
    }
    // Other tests fight too.
    assert!(watcher.metric("restamp_fights_total").await >= before + told);
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
        if shop.observed(DEPLOYMENT).await.is_some() {
            adopted += 1;
            shop.patch_workload(DEPLOYMENT, DEPLOYER, strip.clone())
                .await;
        }
    }
    assert!((2..=5).contains(&adopted), "{adopted}");
    assert_eq!(
        shop.rollouts(async {}).await,
        each(0),
        "adoption rolls nothing"
    );
}

#[tokio::test]
async fn a_manifest_that_carries_an_old_stamp_and_record_is_not_answered_every_time() {
    let (ground, _) = Ground::shared_with_watcher().await;
    let shop = Shop::stocked(&ground, "fight-export").await;
    let exported = shop.workload(DEPLOYMENT).await;
    let old = json!({
        "metadata": { "annotations": { OBSERVED: exported.metadata.annotations.unwrap_or_default()[OBSERVED] } },
        "spec": { "template": { "metadata": { "annotations": null } } },
    });
    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, each(1));
    let (mut restamps, end) = (0, Instant::now() + Duration::from_secs(15));
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    while Instant::now() < end {
        every_second.tick().await;
        if shop.stamp(DEPLOYMENT).await.is_some() {
            restamps += 1;
            shop.patch_workload(DEPLOYMENT, DEPLOYER, old.clone()).await;
        }
    }
    assert!((2..=5).contains(&restamps), "{restamps}");
}
