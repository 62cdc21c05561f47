//! The rights that the manifests give: each one, when it is taken away, is missed aloud, and all together suffice.

mod home;
mod roles;
mod watches;
mod webhook;
mod workloads;

use std::collections::BTreeSet;

use crate::support::{Ground, Shop, replica::Replica, rollouts::each, wait::until};
use roles::{Right, Roles};

const WATCHER: &str = "restamp-watcher";
const WEBHOOK: &str = "restamp-webhook";

/// What has to be there for every right to be used.
const CRDS: [&str; 4] = [
    "rollouts.argoproj.io",
    "deploymentconfigs.apps.openshift.io",
    "secretproviderclasses.secrets-store.csi.x-k8s.io",
    "secretproviderclasspodstatuses.secrets-store.csi.x-k8s.io",
];

/// A cluster of one's own that serves every kind.
async fn ground(test: &str) -> Option<Ground> {
    let ground = Ground::own(test).await?;
    for crd in CRDS {
        ground.serve(crd).await;
    }
    Some(ground)
}

/// A resource, as errors have it.
fn name_of(group: &str, resource: &str) -> String {
    let name = format!("{resource}.{group}");
    name.trim_end_matches('.').to_owned()
}

async fn until_logged(process: &Replica, text: &str) {
    until("it is logged", async || {
        let log = process.log();
        if log.contains(text) {
            Ok(())
        } else {
            Err(format!("no {text:?} in\n{log}"))
        }
    })
    .await;
}

async fn until_metric(process: &Replica, part: &str) {
    until("it is counted", async || match process.metric(part).await {
        count if count > 0.0 => Ok(()),
        _ => Err(part.to_owned()),
    })
    .await;
}

#[tokio::test]
async fn each_right_is_taken_away_by_one_of_these_tests() {
    let ground = Ground::shared().await;
    for (account, tested) in [
        (
            WATCHER,
            [watches::rights(), workloads::rights(), home::rights()].concat(),
        ),
        (WEBHOOK, webhook::RIGHTS.to_vec()),
    ] {
        let given: BTreeSet<_> = Roles::of(&ground, account)
            .await
            .rights()
            .into_iter()
            .collect();
        let text = |(verb, group, resource): Right| {
            (verb.to_owned(), group.to_owned(), resource.to_owned())
        };
        let tested: BTreeSet<_> = tested.into_iter().map(text).collect();
        assert_eq!(given, tested, "{account}");
    }
}

#[tokio::test]
async fn with_all_rights_nothing_is_forbidden() {
    let (ground, watcher) = Ground::shared_with_watcher().await;
    let shop = Shop::stocked(&ground, "rights-all").await;
    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, each(1));
    let log = watcher.log();
    assert!(!log.contains("grant this right"), "{log}");
    assert_eq!(watcher.metric("forbidden").await, 0.0);
}
