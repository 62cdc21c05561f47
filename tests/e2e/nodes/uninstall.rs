//! What `helm uninstall` leaves, and what is left of that after the commands of docs/install.md.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt, api::ListParams};
use restamp::stamp::annotations::AUTO;
use serde_json::json;

use super::objects::Objects;
use crate::{
    certificates::documented::{INSTALL, Repository, commands},
    support::{
        Ground, Shop,
        rollouts::each,
        shop::{WEB, web_pod, workload},
        wait::until,
    },
};

/// What is documented to stay.
const LEFT: [&str; 5] = [
    "leases.coordination.k8s.io restamp-system/restamp-watcher",
    "namespaces /restamp-system",
    "secrets restamp-system/restamp-key",
    "secrets restamp-system/restamp-webhook-tls",
    "secrets restamp-system/restamp-webhook-tls-ca",
];

/// Takes Restamp away, with nothing but commands of the documentation. `before` is what was there without it.
pub async fn leaves_what_is_documented(ground: &Ground, shop: &Shop, before: &Objects) {
    let [uninstall, clean_up] = commands(INSTALL, "## Uninstall");
    let clone = Repository::copied();
    let client = &shop.client;

    shop.until_quiet().await;
    let (revisions, pods) = (shop.revisions().await, super::pods_of(shop).await);
    clone.run(ground, &uninstall).await;
    until_new(client, before, &LEFT).await;
    until_nothing_is_being_deleted(client).await;
    let marked = Objects::of(client).await.marked();
    assert!(!marked.is_empty(), "workloads have the memory");

    clone.run(ground, &clean_up).await;
    until_new(client, before, &[]).await;
    until("no object has anything of Restamp", async || {
        let marked = Objects::of(client).await.marked();
        marked.is_empty().then_some(()).ok_or(marked)
    })
    .await;
    shop.until_rolled_out().await;
    assert_eq!(shop.revisions().await, revisions, "nothing rolls");
    assert_eq!(super::pods_of(shop).await, pods, "nothing is started again");
    users_go_on(shop).await;
}

/// A deploy is one rollout by itself, and takes the stamp off if it replaces what is there.
async fn users_go_on(shop: &Shop) {
    let before = shop.revisions().await;
    for name in WEB {
        assert!(shop.stamp(name).await.is_some(), "{name:?}");
        let mut object = workload(name, &json!({ AUTO: "true" }), &web_pod());
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:1");
        shop.kubectl(&["replace", "-f", "-"], &object).await;
        assert_eq!(shop.stamp(name).await, None, "{name:?}");
    }
    shop.until_rolled_out().await;
    let after = shop.revisions().await;
    for (workload, count) in each(1) {
        assert_eq!(after[&workload], before[&workload] + count, "{workload}");
    }
}

async fn until_new(client: &Client, before: &Objects, expected: &[&str]) {
    let expected: BTreeSet<_> = expected.iter().map(|id| (*id).to_owned()).collect();
    until("nothing else is left", async || {
        let left = Objects::of(client).await.new_since(before);
        if left == expected { Ok(()) } else { Err(left) }
    })
    .await;
}

/// Other tests' namespaces, in which commands for all objects would find some that are gone a moment later.
async fn until_nothing_is_being_deleted(client: &Client) {
    let api: Api<Namespace> = Api::all(client.clone());
    until("no namespace is being deleted", async || {
        let mut namespaces = api
            .list(&ListParams::default())
            .await
            .expect("a list")
            .items;
        namespaces.retain(|it| it.metadata.deletion_timestamp.is_some());
        let names: Vec<_> = namespaces.iter().map(ResourceExt::name_any).collect();
        names.is_empty().then_some(()).ok_or(names)
    })
    .await;
}
