//! Lists and watches, of the whole cluster.

use super::{Right, Roles, WATCHER, ground, name_of, until_logged, until_metric};

const FOLLOWED: [(&str, &str); 11] = [
    ("", "configmaps"),
    ("", "secrets"),
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("apps", "daemonsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("argoproj.io", "rollouts"),
    ("apps.openshift.io", "deploymentconfigs"),
    ("secrets-store.csi.x-k8s.io", "secretproviderclasses"),
    (
        "secrets-store.csi.x-k8s.io",
        "secretproviderclasspodstatuses",
    ),
];
/// Of these, the last ones need not be there, and hold nothing up.
const NEEDED: usize = 9;

pub(super) fn rights() -> Vec<Right> {
    let rights = |verb| FOLLOWED.map(|(group, resource)| (verb, group, resource));
    [rights("list"), rights("watch")].concat()
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
    let roles = Roles::of(&ground, WATCHER).await;
    for (n, (group, resource)) in FOLLOWED.into_iter().enumerate() {
        roles.all_but((verb, group, resource)).await;
        let watcher = ground.watcher("poor").await;
        let name = name_of(group, resource);
        let told = format!("may not {verb} {name} in all namespaces: grant this right");
        until_logged(&watcher, &told).await;
        let counted = format!("restamp_watch_errors_total{{resource=\"{name}\"}}");
        until_metric(&watcher, &counted).await;
        if verb == "list" && n < NEEDED {
            let (status, body) = watcher.http("/readyz").await.expect("an answer");
            assert_eq!(status, 503, "{body}");
            assert!(body.contains(&told), "{body}");
        }
        roles.all().await;
        watcher.until_leading().await;
        watcher.stop().await;
    }
}
