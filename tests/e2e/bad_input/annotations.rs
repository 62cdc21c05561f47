//! Annotations that cannot be followed.

use restamp::stamp::annotations::{AUTO, SECRET_EXCLUDE, SECRET_RELOAD, SETTLE};
use serde_json::{Value, json};

use super::{WEB, annotate, assert_unharmed, rolled, shop, until_warned};
use crate::support::shop::pod;

/// A workload with one bad thing in its annotations is told, and followed as far as the rest goes.
async fn is_told_and_followed(name: &str, annotations: Value, told: &str) {
    let shop = shop(name, annotations).await;
    shop.until_recorded(&[WEB]).await;
    until_warned(&shop, told).await;
    let same = shop.set_password("one");
    assert_eq!(shop.rollouts(same).await, rolled(0), "nothing changed");
    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, rolled(1), "a change");
    until_warned(&shop, told).await;
    assert_unharmed().await;
}

#[tokio::test]
async fn a_bad_regex_does_not_hide_the_good_name_beside_it() {
    let list = json!({ SECRET_RELOAD: "db([,db" });
    is_told_and_followed("bad-regex", list, "\"db([\" is skipped").await;
}

#[tokio::test]
async fn an_empty_name_in_a_list_is_skipped() {
    let list = json!({ SECRET_RELOAD: "db,,other" });
    is_told_and_followed("bad-empty", list, "an empty name matches nothing").await;
}

#[tokio::test]
async fn a_settle_window_that_is_no_duration_is_the_default() {
    let soon = json!({ AUTO: "true", SETTLE: "soon" });
    is_told_and_followed("bad-settle", soon, "\"soon\" is not used").await;
}

#[tokio::test]
async fn auto_yes_is_told_and_does_not_opt_in() {
    let shop = shop("bad-auto", json!({ AUTO: "yes" })).await;
    until_warned(&shop, "\"yes\" counts as false").await;
    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, rolled(0));
    assert_eq!(shop.observed(WEB).await, None, "not opted in");

    annotate(&shop, AUTO, "true").await;
    shop.until_recorded(&[WEB]).await;
    let change = shop.set_password("three");
    assert_eq!(shop.rollouts(change).await, rolled(1), "corrected");
    assert_unharmed().await;
}

#[tokio::test]
async fn named_and_excluded_is_excluded_and_told() {
    let both = json!({ AUTO: "true", SECRET_RELOAD: "db", SECRET_EXCLUDE: "db" });
    let shop = shop("bad-both", both).await;
    shop.until_recorded(&[WEB]).await;
    until_warned(&shop, "Secret/db is both named for reload and excluded").await;
    let excluded = shop.set_password("two");
    assert_eq!(shop.rollouts(excluded).await, rolled(0));
    let other = shop.set_config_map("app", &[("level", "debug")]);
    assert_eq!(shop.rollouts(other).await, rolled(1), "the other source");

    annotate(&shop, SECRET_EXCLUDE, "").await;
    shop.until_quiet().await;
    let change = shop.set_password("three");
    assert_eq!(shop.rollouts(change).await, rolled(1), "corrected");
    assert_unharmed().await;
}

#[tokio::test]
async fn the_api_server_refuses_a_template_without_containers() {
    let shop = shop("bad-pod", json!({})).await;
    let mut template = pod(json!({}));
    template["metadata"]["labels"] = json!({ "app": "web" });
    template["spec"]["containers"] = json!([]);
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "empty" },
        "spec": { "selector": { "matchLabels": { "app": "web" } }, "template": template },
    });
    let object = serde_json::from_value(object).expect("an object");
    let created = shop
        .workloads(WEB.0)
        .create(&kube::api::PostParams::default(), &object)
        .await;
    let error = created.expect_err("refused").to_string();
    assert!(error.contains("spec.template.spec.containers"), "{error}");
}
