//! Restamp's own annotations, edited, cut short, or written by a version that does not exist yet.

use restamp::stamp::annotations::{AUTO, OBSERVED, STAMP};
use serde_json::{Value, json};

use super::{WEB, annotate, assert_unharmed, rolled, shop, until_warned};
use crate::support::{Shop, wait::until};

async fn recorded_shop(name: &str) -> Shop {
    let shop = shop(name, json!({ AUTO: "true" })).await;
    shop.until_recorded(&[WEB]).await;
    shop
}

/// A shop whose workload carries a stamp.
async fn stamped_shop(name: &str) -> (Shop, String) {
    let shop = recorded_shop(name).await;
    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, rolled(1));
    let stamp = shop.stamp(WEB).await.expect("stamped");
    (shop, stamp)
}

/// Puts another stamp on the template, and waits until Restamp has answered with one of its own.
async fn edit_stamp(shop: &Shop, stamp: &str) {
    let template = json!({ "metadata": { "annotations": { STAMP: stamp } } });
    let patch = json!({ "spec": { "template": template } });
    shop.patch_workload(WEB, "somebody", patch).await;
    until("it is restamped", async || match shop.stamp(WEB).await {
        Some(now) if now != stamp => Ok(()),
        other => Err(other),
    })
    .await;
}

/// Writes `text` where Restamp keeps its memory, and waits until there is a good one again.
async fn edit_observed(shop: &Shop, text: &str) {
    annotate(shop, OBSERVED, text).await;
    until("it is recorded anew", async || {
        match shop.observed(WEB).await {
            Some(observed) if is_whole(&observed) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

fn is_whole(observed: &Value) -> bool {
    observed["v"] == 1 && observed["sources"]["Secret/db"]["digest"].is_string()
}

#[tokio::test]
async fn an_edited_stamp_is_replaced_once() {
    let (shop, stamp) = stamped_shop("bad-stamp").await;
    let parts: Vec<_> = stamp.split('.').collect();
    let [_, key, digest, n] = parts[..] else {
        panic!("{stamp}");
    };
    let zero = "0".repeat(digest.len());
    for (edited, told) in [
        (format!("v1.{key}.{zero}.{n}"), None),
        (
            format!("v1.{key}.{}", &digest[..7]),
            Some("was not written by Restamp"),
        ),
        (
            format!("v2.{key}.{digest}.{n}"),
            Some("was not written by Restamp"),
        ),
    ] {
        // The edit is a new template, and so is the answer to it.
        let rollouts = shop.rollouts(edit_stamp(&shop, &edited)).await;
        assert_eq!(rollouts, rolled(2), "{edited}");
        if let Some(told) = told {
            until_warned(&shop, &format!("\"{}\" {told}", shown(&edited))).await;
        }
    }
    let change = shop.set_password("three");
    assert_eq!(
        shop.rollouts(change).await,
        rolled(1),
        "a change afterwards"
    );
    assert_unharmed().await;
}

/// Messages repeat the first 60 characters of a value.
fn shown(value: &str) -> String {
    if value.len() <= 60 {
        return value.to_owned();
    }
    format!("{}...", &value[..60])
}

#[tokio::test]
async fn a_stamp_with_the_largest_number_is_followed_by_others() {
    let (shop, stamp) = stamped_shop("bad-number").await;
    let (rest, _) = stamp.rsplit_once('.').expect("a number");
    let largest = format!("{rest}.{}", u64::MAX);
    let edit = edit_stamp(&shop, &largest);
    assert_eq!(shop.rollouts(edit).await, rolled(2));
    for password in ["three", "four"] {
        let change = shop.set_password(password);
        assert_eq!(shop.rollouts(change).await, rolled(1), "{password}");
    }
    assert_unharmed().await;
}

#[tokio::test]
async fn an_observed_that_cannot_be_read_is_written_anew_without_a_rollout() {
    let shop = recorded_shop("bad-observed").await;
    let good = shop.observed(WEB).await.expect("recorded").to_string();
    for (bad, told) in [
        ("by hand", "cannot be read and is written anew"),
        (
            &good[..good.len() / 2],
            "is not the JSON that Restamp writes",
        ),
        (&good.replace("\"v\":1", "\"v\":2"), "it is of version 2"),
    ] {
        let edit = edit_observed(&shop, bad);
        assert_eq!(shop.rollouts(edit).await, rolled(0), "{bad}");
        until("the Event", async || {
            let events = shop.events(WEB, "InvalidAnnotation").await;
            let told = events.iter().any(|event| event.contains(told));
            if told { Ok(()) } else { Err(events) }
        })
        .await;
    }
    let change = shop.set_password("two");
    assert_eq!(
        shop.rollouts(change).await,
        rolled(1),
        "a change afterwards"
    );
    assert_unharmed().await;
}

#[tokio::test]
async fn a_memory_that_was_copied_from_another_namespace_is_not_believed() {
    let shop = recorded_shop("bad-copied").await;
    let good = shop.observed(WEB).await.expect("recorded").to_string();
    let copied = good.replace(&shop.namespace, "elsewhere");
    let copy = async {
        annotate(&shop, OBSERVED, &copied).await;
        until("it is recorded anew", async || {
            let observed = shop.observed(WEB).await.unwrap_or_default();
            if observed["ns"] == *shop.namespace {
                Ok(())
            } else {
                Err(observed)
            }
        })
        .await;
    };
    assert_eq!(shop.rollouts(copy).await, rolled(0));
    let change = shop.set_password("two");
    assert_eq!(
        shop.rollouts(change).await,
        rolled(1),
        "a change afterwards"
    );
}

#[tokio::test]
async fn a_stamp_proves_what_an_unreadable_observed_cannot() {
    let (shop, stamp) = stamped_shop("bad-proof").await;
    let edit = edit_observed(&shop, "{}");
    assert_eq!(shop.rollouts(edit).await, rolled(0), "the same content");
    assert_eq!(shop.stamp(WEB).await, Some(stamp));

    let change_and_edit = async {
        shop.set_password("three").await;
        edit_observed(&shop, "{}").await;
    };
    assert_eq!(
        shop.rollouts(change_and_edit).await,
        rolled(1),
        "other content"
    );
    assert_unharmed().await;
}
