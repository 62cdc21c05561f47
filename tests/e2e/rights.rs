//! The rights that the manifests and the chart give: each one, when it is taken away, is missed aloud, and all together
//! suffice.

mod certificates;
mod given;
mod home;
mod missed;
mod namespaced;
mod roles;
mod watches;
mod webhook;
mod workloads;

use std::{collections::BTreeSet, fmt::Debug};

use crate::support::{Ground, Shop, replica::Replica, rollouts::each, wait::until};
use given::Right;
use missed::Missed;
use roles::Roles;

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

async fn until_metric(process: &Replica, part: &str) {
    until("it is counted", async || match process.metric(part).await {
        count if count > 0.0 => Ok(()),
        _ => Err(part.to_owned()),
    })
    .await;
}

/// Every right that a test takes away alone.
fn tested() -> Vec<Right> {
    [
        &watches::rights()[..],
        &workloads::rights(),
        &home::rights(),
        &certificates::rights(),
        &namespaced::RIGHTS,
        &webhook::RIGHTS,
    ]
    .concat()
}

fn are_the_same<T: Ord + Debug>(given: &BTreeSet<T>, tested: &BTreeSet<T>) {
    let untested: Vec<_> = given.difference(tested).collect();
    assert!(untested.is_empty(), "no test takes {untested:?} away");
    let taken: Vec<_> = tested.difference(given).collect();
    assert!(taken.is_empty(), "nobody gives {taken:?}");
}

#[test]
fn each_right_is_taken_away_by_one_of_these_tests() {
    let tested = tested();
    let of_manifests = tested
        .iter()
        .map(|right| (right.role.to_owned(), right.text()));
    are_the_same(&given::by_manifests(), &of_manifests.collect());
}

#[test]
fn each_right_of_the_chart_is_taken_away_by_one_of_these_tests() {
    let tested = [&tested()[..], &home::OF_META_INFO].concat();
    let tested = tested
        .iter()
        .map(|right| (given::whose(right.role), right.text()));
    let mut given = given::by_chart();
    // Those of `watcher.workloadKinds`, as of any other kind.
    given.retain(|(_, right)| !right.ends_with(".kruise.io") && !right.ends_with(".example.com"));
    are_the_same(&given, &tested.collect());
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
