//! Lists and watches, of the whole cluster.

use super::{Missed, Right, Roles, WATCHER, given::WATCHER_ROLE, ground, until_metric};
use crate::{certificates::site::apply, support::ground::SYSTEM};

const CSI: &str = "secrets-store.csi.x-k8s.io";
/// What is followed wherever Restamp looks.
pub(super) const FOLLOWED: [(&str, &str); 11] = [
    ("", "configmaps"),
    ("", "secrets"),
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("apps", "daemonsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("argoproj.io", "rollouts"),
    ("apps.openshift.io", "deploymentconfigs"),
    (CSI, "secretproviderclasses"),
    (CSI, "secretproviderclasspodstatuses"),
];
pub(super) const VERBS: [&str; 2] = ["list", "watch"];

fn rights_to(verb: &'static str) -> Vec<Right> {
    let namespaces = ("ClusterRole/restamp-watcher-namespaces", ("", "namespaces"));
    let followed = FOLLOWED.map(|resource| (WATCHER_ROLE, resource));
    followed
        .into_iter()
        .chain([namespaces])
        .map(|(role, resource)| Right::new(role, verb, resource))
        .collect()
}

pub(super) fn rights() -> Vec<Right> {
    VERBS.into_iter().flat_map(rights_to).collect()
}

#[tokio::test]
async fn what_may_not_be_listed_is_named_and_followed_once_it_may() {
    taken_away("list").await;
}

#[tokio::test]
async fn what_may_not_be_watched_is_named_and_followed_once_it_may() {
    taken_away("watch").await;
}

async fn taken_away(verb: &'static str) {
    let Some(ground) = ground("taking rights away").await else {
        return;
    };
    apply(&ground, "manifests/namespace-selector", &[]).await;
    let roles = Roles::of(&ground, WATCHER).await;
    let kubeconfig = ground.kubeconfig_of(SYSTEM, WATCHER).await;
    let mut watchers = Vec::new();
    for right in rights_to(verb) {
        roles.all_but(right).await;
        let flags = ["--namespace-selector=env=prod"];
        let watcher = ground.watcher_with(right.resource, &kubeconfig, &flags);
        let missed = Missed::ever(&watcher, right);
        missed.until_not_ready("in all namespaces").await;
        let name = right.resource();
        let counted = format!("restamp_watch_errors_total{{resource=\"{name}\"}}");
        until_metric(&watcher, &counted).await;
        watchers.push(watcher);
    }
    roles.all().await;
    for watcher in watchers {
        watcher.until_ready().await;
    }
}
