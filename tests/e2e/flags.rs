//! Flags that hold for every workload, on a cluster of its own: the shared watcher has none of them.

use std::collections::BTreeMap;

use restamp::stamp::annotations::AUTO;
use serde_json::{Value, json};

use crate::support::{
    Ground, Shop,
    ground::SYSTEM,
    rollouts::Rollouts,
    shop::{Name, pod},
};

const SILENT: Name<'static> = ("Deployment", "silent");
const NAMED: Name<'static> = ("StatefulSet", "named");
const OUT: Name<'static> = ("DaemonSet", "out");

/// A watcher with flags that leads, and its shop.
async fn shop_of(
    ground: &Ground,
    name: &str,
    flags: &[&str],
) -> (crate::support::replica::Replica, Shop) {
    let kubeconfig = ground.kubeconfig_of(SYSTEM, "restamp-watcher").await;
    let watcher = ground.watcher_with(name, &kubeconfig, flags);
    watcher.until_leading().await;
    let shop = Shop::open(ground, name).await;
    for secret in ["db", "other"] {
        shop.set_secret(secret, &[("password", "one")]).await;
    }
    let uses_db = || pod(json!({ "envFrom": [{ "secretRef": { "name": "db" } }] }));
    let named = json!({ AUTO: "false", "example.com/secrets": "other" });
    let workloads: [(Name<'_>, Value); 3] = [
        (SILENT, json!({})),
        (NAMED, named),
        (OUT, json!({ AUTO: "false" })),
    ];
    for (name, annotations) in workloads {
        shop.create_workload(name, annotations, uses_db()).await;
    }
    (watcher, shop)
}

fn each(silent: u64, named: u64, out: u64) -> Rollouts {
    let counts = [(SILENT, silent), (NAMED, named), (OUT, out)];
    let counts = counts.map(|((kind, name), count)| (format!("{kind}/{name}"), count));
    BTreeMap::from(counts)
}

#[tokio::test]
async fn flags_say_what_is_followed() {
    let Some(ground) = Ground::own("flags").await else {
        return;
    };
    let flags = [
        "--auto-reload-all",
        "--secret-annotation=example.com/secrets",
        "--ignore-annotation",
        "example.com/ignore",
    ];
    let (watcher, shop) = shop_of(&ground, "flags", &flags).await;
    shop.until_recorded(&[SILENT, NAMED]).await;
    shop.until_quiet().await;
    let of_db = shop.set_secret("db", &[("password", "two")]);
    assert_eq!(
        shop.rollouts(of_db).await,
        each(1, 0, 0),
        "{}",
        watcher.log()
    );
    let of_other = shop.set_secret("other", &[("password", "two")]);
    assert_eq!(shop.rollouts(of_other).await, each(0, 1, 0));
    let ignored = json!({ "example.com/ignore": "true" });
    let of_ignored = shop.set_annotated_secret("db", ignored, &[("password", "three")]);
    assert_eq!(shop.rollouts(of_ignored).await, each(0, 0, 0));
    assert_eq!(shop.observed(OUT).await, None);
}
