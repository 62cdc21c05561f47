//! Which namespaces and which sources are followed, on clusters of their own: the shared watcher follows all.

use std::path::Path;

use restamp::stamp::annotations::AUTO;
use serde_json::{Value, json};

use crate::support::{
    Ground, Shop, audit,
    ground::{SYSTEM, unique},
    replica::Replica,
    rollouts::each,
    shop::{Name, WEB, web_pod},
    wait::until,
};

const ACCOUNT: &str = "restamp-watcher";
const USER: &str = "system:serviceaccount:restamp-system:restamp-watcher";
const WORKLOAD: Name<'static> = ("Deployment", "web");

/// Applies manifests of the release as they are.
async fn apply(ground: &Ground, folder: &str, more: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let folder = folder.to_str().expect("a path");
    let args = ["apply", "--server-side", "--force-conflicts", "-k", folder];
    ground.kubectl(&[&args, more].concat()).await;
}

/// A shop with one workload that nobody may touch.
async fn untouched(ground: &Ground, name: &str, labels: Value) -> Shop {
    let shop = Shop::empty(ground, name, labels).await;
    shop.set_password("one").await;
    shop.create_workload(WORKLOAD, json!({ AUTO: "true" }), web_pod())
        .await;
    shop
}

/// Stocks a shop with nothing in it, and waits until all is recorded and at rest.
async fn fill(shop: &Shop) {
    shop.add_sentinels().await;
    shop.stock().await;
    shop.until_recorded(&WEB).await;
    shop.until_quiet().await;
}

/// What `explain` says of a Deployment, with flags.
async fn explained(shop: &Shop, flags: &[&str]) -> String {
    let args = ["explain", "deployment/web", "-n", &shop.namespace];
    let args = [&args[..], flags].concat();
    let (_, text, _) = shop.ground.restamp(shop.ground.kubeconfig(), &args).await;
    text
}

/// Takes the label from a namespace, and waits until its workloads are left alone.
async fn unlabel(shop: &Shop, watcher: &Replica) {
    let left_alone = "restamp_decisions_total{reason=\"NamespaceNotSelected\"}";
    let before = watcher.metric(left_alone).await;
    shop.label("env-").await;
    until("they are left alone", async || {
        match watcher.metric(left_alone).await {
            now if now > before => Ok(()),
            now => Err(now),
        }
    })
    .await;
}

async fn until_leading(watcher: &Replica) {
    until("the watcher leads", async || {
        match watcher.metric("restamp_leader").await {
            leads if leads > 0.0 => Ok(()),
            _ => Err(watcher.log()),
        }
    })
    .await;
}

/// Leaves the rights of the example for some namespaces.
pub async fn take_cluster_rights(ground: &Ground) {
    for kind in ["clusterrole", "clusterrolebinding"] {
        let args = ["delete", kind, ACCOUNT, "restamp-webhook"];
        ground.kubectl(&args).await;
    }
    apply(ground, "manifests/namespaced", &[]).await;
}

/// Gives the rights in a namespace.
async fn give_rights(ground: &Ground, namespace: &str) {
    let folder = "manifests/namespaced/followed";
    apply(ground, folder, &["-n", namespace]).await;
}

#[tokio::test]
async fn namespaces_that_are_named_are_followed_with_rights_in_them_alone() {
    let Some(ground) = Ground::own("rights in some namespaces").await else {
        return;
    };
    take_cluster_rights(&ground).await;
    let [one, two] = [
        Shop::open(&ground, "one").await,
        Shop::open(&ground, "two").await,
    ];
    for shop in [&one, &two] {
        give_rights(&ground, &shop.namespace).await;
        shop.stock().await;
    }
    let other = untouched(&ground, "other", json!({})).await;
    let later = format!("later-{}", unique());

    let log = ground.audit_log().expect("of one's own").to_owned();
    let mark = audit::mark(&log);
    let flags = [
        format!("--namespaces=\"{}\", {}", one.namespace, two.namespace),
        format!("--namespaces={later},{}", one.namespace),
    ];
    let kubeconfig = ground.kubeconfig_of(SYSTEM, ACCOUNT).await;
    let watcher = ground.watcher_with("scoped", &kubeconfig, &[&flags[0], &flags[1]]);
    until_leading(&watcher).await;
    for shop in [&one, &two] {
        shop.until_recorded(&WEB).await;
        shop.until_quiet().await;
        assert_eq!(shop.rollouts(shop.set_password("two")).await, each(1));
    }
    let (status, body) = watcher.http("/readyz").await.expect("an answer");
    assert_eq!(status, 503, "{body}");
    for resource in ["secrets", "deployments.apps"] {
        let told = format!("may not list {resource} in namespace {later:?}: grant this right");
        assert!(body.contains(&told), "{body}");
        assert!(watcher.log().contains(&told), "{}", watcher.log());
    }
    assert!(!body.contains(&one.namespace), "{body}");

    ground.kubectl(&["create", "namespace", &later]).await;
    give_rights(&ground, &later).await;
    watcher.until_ready().await;
    let later = Shop {
        ground: ground.clone(),
        client: ground.client().await,
        namespace: later,
    };
    fill(&later).await;
    assert_eq!(later.rollouts(later.set_password("two")).await, each(1));
    assert_eq!(one.rollouts(async {}).await, each(0));

    assert_eq!(other.observed(WORKLOAD).await, None);
    let asked = audit::cluster_wide_since(&log, &mark, USER);
    assert_eq!(asked, [""; 0]);
    let here = audit::requests_since(&log, &mark, USER);
    assert!(here.len() > 20, "the log holds what is asked for");
}

#[tokio::test]
async fn namespaces_are_followed_by_name_and_as_long_as_they_have_a_label() {
    let Some(ground) = Ground::own("namespaces with a label").await else {
        return;
    };
    apply(&ground, "manifests/namespace-selector", &[]).await;
    let followed = json!({ "env": "prod" });
    let ignored = untouched(&ground, "ignored", followed.clone()).await;
    let other = untouched(&ground, "other", json!({ "env": "test" })).await;
    let flags = [
        &format!("--namespaces-to-ignore=none,{}", ignored.namespace),
        "--namespace-selector=\"env:prod\"",
    ];
    let watcher = ground.leading_watcher_with("selecting", &flags).await;
    let [one, two] = [
        Shop::empty(&ground, "one", followed.clone()).await,
        Shop::empty(&ground, "two", followed).await,
    ];
    fill(&one).await;
    fill(&two).await;
    unlabel(&two, &watcher).await;
    let before = two.revisions().await;
    two.set_password("two").await;
    assert_eq!(one.rollouts(one.set_password("two")).await, each(1));
    assert_eq!(two.revisions().await, before);
    for shop in [&two, &other, &ignored] {
        let text = explained(shop, &flags).await;
        assert!(text.contains("(NamespaceNotSelected)"), "{text}");
    }
    let back = two.rollouts(two.label("env=prod")).await;
    assert_eq!(back, each(1), "what changed meanwhile");
    assert!(explained(&two, &flags).await.contains("(Current)"));
    let there_and_back = async {
        unlabel(&two, &watcher).await;
        two.label("env=prod").await;
    };
    assert_eq!(two.rollouts(there_and_back).await, each(0));
    for shop in [&ignored, &other] {
        shop.set_password("two").await;
    }
    assert_eq!(one.rollouts(one.set_password("three")).await, each(1));
    for shop in [&ignored, &other] {
        assert_eq!(shop.observed(WORKLOAD).await, None);
    }
}

/// Merges into Secret `db`, whose followers ask for anything but `follow=no`.
async fn patch(shop: &Shop, label: Option<&str>, password: &str) {
    let patch = json!({
        "metadata": { "labels": { "follow": label } },
        "stringData": { "password": password },
    });
    let args = ["-n", &shop.namespace, "patch", "secret", "db", "-p"];
    let text = patch.to_string();
    let args = [&args[..], &[&text, "--type=merge"]].concat();
    shop.ground.kubectl(&args).await;
}

#[tokio::test]
async fn sources_are_followed_as_long_as_they_have_a_label() {
    let Some(ground) = Ground::own("sources with a label").await else {
        return;
    };
    let flags = ["--resource-label-selector=follow!=no"];
    let _watcher = ground.leading_watcher_with("labels", &flags).await;
    let shop = Shop::stocked(&ground, "labels").await;
    let no = Some("no");

    assert_eq!(shop.rollouts(patch(&shop, no, "one")).await, each(0));
    let log = ground.audit_log().expect("of one's own").to_owned();
    let mark = audit::mark(&log);
    assert_eq!(shop.rollouts(patch(&shop, no, "two")).await, each(0));
    let asked = audit::requests_since(&log, &mark, USER);
    let asked: Vec<_> = asked.iter().map(audit::Request::to_line).collect();
    assert!(!asked.contains(&"get secrets db".to_owned()), "{asked:?}");
    let text = explained(&shop, &flags).await;
    let state =
        "Secret/db: does not exist, or lacks the labels that are asked for; what is recorded stays";
    assert!(text.contains(state) && text.contains("(Current)"), "{text}");
    let with_other_content = patch(&shop, None, "two");
    assert_eq!(shop.rollouts(with_other_content).await, each(1));

    let there_and_back = async {
        patch(&shop, no, "two").await;
        shop.until_quiet().await;
        patch(&shop, None, "two").await;
    };
    assert_eq!(shop.rollouts(there_and_back).await, each(0));
    assert_eq!(shop.rollouts(shop.set_password("three")).await, each(1));
    for (password, rollouts) in [("three", 0), ("four", 1)] {
        let made_again = async {
            shop.delete_secret("db").await;
            shop.until_quiet().await;
            shop.set_password(password).await;
        };
        assert_eq!(
            shop.rollouts(made_again).await,
            each(rollouts),
            "{password}"
        );
    }
}
