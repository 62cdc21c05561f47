//! The rights that the manifests give: each one that is missing is named, and all together suffice.

use futures::future::join_all;
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    rbac::v1::{ClusterRole, PolicyRule, Role},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{
    Ground, Shop,
    ground::SYSTEM,
    replica::Replica,
    rollouts::each,
    shop::{Name, WEB},
    wait::until,
};

const ROLE: &str = "restamp-watcher";
const USER: &str = "system:serviceaccount:restamp-system:restamp-watcher";
/// What the watcher follows.
const FOLLOWED: [(&str, &str); 5] = [
    ("", "configmaps"),
    ("", "secrets"),
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("apps", "daemonsets"),
];

/// The rules of the watcher, in the cluster and in its own namespace.
struct Rights {
    client: Client,
    everywhere: Vec<PolicyRule>,
    at_home: Vec<PolicyRule>,
}

impl Rights {
    async fn of(ground: &Ground) -> Self {
        let client = ground.client().await;
        let everywhere = Api::<ClusterRole>::all(client.clone()).get(ROLE).await;
        let at_home = Api::<Role>::namespaced(client.clone(), SYSTEM)
            .get(ROLE)
            .await;
        Self {
            everywhere: everywhere.expect("the role").rules.expect("rules"),
            at_home: at_home.expect("the role").rules.expect("rules"),
            client,
        }
    }

    /// Gives everything but this right. Those of the cluster are meant, unless there is none.
    async fn all_but(&self, verb: &str, (group, resource): (&str, &str)) {
        let review = |namespace: &str| json!({ "verb": verb, "group": group, "resource": resource, "namespace": namespace });
        let of_cluster =
            group != "coordination.k8s.io" && (verb, resource) != ("create", "secrets");
        let without = |rules: &[PolicyRule]| without(rules, verb, (group, resource));
        if of_cluster {
            self.set(&without(&self.everywhere), &self.at_home).await;
            self.until(false, review("")).await;
        } else {
            self.set(&self.everywhere, &without(&self.at_home)).await;
            self.until(false, review(SYSTEM)).await;
        }
    }

    /// Gives everything.
    async fn all(&self) {
        self.set(&self.everywhere, &self.at_home).await;
    }

    async fn set(&self, everywhere: &[PolicyRule], at_home: &[PolicyRule]) {
        let (client, params) = (self.client.clone(), PatchParams::default());
        let rules = |rules: &[PolicyRule]| Patch::Merge(json!({ "rules": rules }));
        Api::<ClusterRole>::all(client.clone())
            .patch(ROLE, &params, &rules(everywhere))
            .await
            .expect("the rules of the cluster");
        Api::<Role>::namespaced(client, SYSTEM)
            .patch(ROLE, &params, &rules(at_home))
            .await
            .expect("the rules of the namespace");
    }

    /// The API server learns of changed rules by watching them.
    async fn until(&self, allowed: bool, attributes: Value) {
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let review = json!({ "spec": { "user": USER, "resourceAttributes": attributes } });
        let review = serde_json::from_value(review).expect("a review");
        until("the API server knows the rules", async || {
            let answer = api.create(&PostParams::default(), &review).await;
            let status = answer.expect("an answer").status.expect("a status");
            if status.allowed == allowed {
                Ok(())
            } else {
                Err(status)
            }
        })
        .await;
    }
}

/// The rules without a right.
fn without(rules: &[PolicyRule], verb: &str, (group, resource): (&str, &str)) -> Vec<PolicyRule> {
    let mut left = Vec::new();
    for rule in rules {
        for of in rule.resources.iter().flatten() {
            let mut rule = rule.clone();
            let groups = rule.api_groups.clone().unwrap_or_default();
            if of == resource && groups.iter().any(|of| of == group) {
                rule.verbs.retain(|of| of != verb);
            }
            rule.resources = Some(vec![of.clone()]);
            if !rule.verbs.is_empty() {
                left.push(rule);
            }
        }
    }
    left
}

async fn until_logged(watcher: &Replica, text: &str) {
    until("it is logged", async || {
        // Fields of log lines are quoted once more.
        let log = watcher.log();
        if log.contains(text) {
            Ok(())
        } else {
            Err(format!("no {text:?} in\n{log}"))
        }
    })
    .await;
}

async fn until_restamped(shop: &Shop, name: Name<'_>, before: Option<String>) {
    until("it is restamped", async || match shop.stamp(name).await {
        stamp if stamp != before => Ok(()),
        stamp => Err(stamp),
    })
    .await;
}

async fn until_metric(watcher: &Replica, part: &str) {
    until("it is counted", async || match watcher.metric(part).await {
        count if count > 0.0 => Ok(()),
        _ => Err(part.to_owned()),
    })
    .await;
}

#[tokio::test]
async fn what_may_not_be_listed_or_watched_is_named_and_followed_once_it_may() {
    let Some(ground) = Ground::own("taking rights away").await else {
        return;
    };
    let rights = Rights::of(&ground).await;
    for right in FOLLOWED {
        let (group, resource) = right;
        let name = format!("{resource}.{group}");
        let name = name.trim_end_matches('.');
        for verb in ["list", "watch"] {
            rights.all_but(verb, right).await;
            let watcher = ground.watcher("poor").await;
            let told = format!("may not {verb} {name} in all namespaces: grant this right");
            until_logged(&watcher, &told).await;
            until_metric(
                &watcher,
                &format!("restamp_watch_errors_total{{resource=\"{name}\"}}"),
            )
            .await;
            if verb == "list" {
                let (status, body) = watcher.http("/readyz").await.expect("an answer");
                assert_eq!(status, 503, "{body}");
                assert!(body.contains(&told), "{body}");
            }
            rights.all().await;
            watcher.until_leading().await;
            watcher.stop().await;
        }
    }
}

#[tokio::test]
async fn what_may_not_be_read_or_written_is_named_and_done_once_it_may() {
    let Some(ground) = Ground::own("taking rights away").await else {
        return;
    };
    let rights = Rights::of(&ground).await;
    let watcher = ground.leading_watcher("first").await;
    let shop = Shop::stocked(&ground, "rights").await;
    for (kind, name) in WEB {
        let resource = format!("{}s", kind.to_lowercase());
        let patch = async {
            rights.all_but("patch", ("apps", &resource)).await;
            let before = shop.stamp((kind, name)).await;
            shop.set_password(&resource).await;
            let told = format!(
                "may not patch {resource}.apps \"{name}\" in namespace {:?}: grant this right",
                shop.namespace
            );
            until_logged(&watcher, &told).await;
            rights.all().await;
            until_restamped(&shop, (kind, name), before).await;
        };
        assert_eq!(shop.rollouts(patch).await, each(1), "{kind}");
    }
    until_metric(&watcher, "restamp_writes_total{result=\"forbidden\"").await;

    rights.all_but("create", ("", "events")).await;
    let change = shop.set_password("without an event");
    assert_eq!(shop.rollouts(change).await, each(1));
    let events = format!("may not create events in namespace {:?}", shop.namespace);
    until_logged(&watcher, &events).await;
    until_metric(&watcher, "restamp_events_total{result=\"forbidden\"}").await;

    rights.all_but("get", ("", "configmaps")).await;
    let change = async {
        let before = join_all(WEB.map(|name| shop.stamp(name))).await;
        shop.set_config_map("app", &[("level", "debug")]).await;
        let told = format!(
            "may not get configmaps \"app\" in namespace {:?}",
            shop.namespace
        );
        until_logged(&watcher, &told).await;
        until_metric(&watcher, "restamp_source_reads_total{result=\"forbidden\"}").await;
        rights.all().await;
        for (name, before) in WEB.into_iter().zip(before) {
            until_restamped(&shop, name, before).await;
        }
    };
    assert_eq!(
        shop.rollouts(change).await,
        each(1),
        "a source that may be read again"
    );
}

#[tokio::test]
async fn what_is_missing_for_the_lease_or_the_key_is_named() {
    let Some(ground) = Ground::own("taking rights away").await else {
        return;
    };
    let rights = Rights::of(&ground).await;
    let leases = ("coordination.k8s.io", "leases");

    rights.all_but("create", leases).await;
    let watcher = ground.watcher("no-lease").await;
    until_logged(
        &watcher,
        &may_not("create", "leases.coordination.k8s.io", ROLE),
    )
    .await;
    assert_eq!(watcher.metric("restamp_leader").await, 0.0);

    rights.all_but("create", ("", "secrets")).await;
    watcher.until_leading().await;
    until_logged(&watcher, &may_not("create", "secrets", "restamp-key")).await;
    rights.all_but("get", ("", "secrets")).await;
    until_logged(&watcher, &may_not("get", "secrets", "restamp-key")).await;
    rights.all().await;
    Shop::stocked(&ground, "rights-key").await;

    rights.all_but("update", leases).await;
    until_logged(
        &watcher,
        &may_not("update", "leases.coordination.k8s.io", ROLE),
    )
    .await;
    until("it no longer leads", async || {
        match watcher.metric("restamp_leader").await {
            0.0 => Ok(()),
            leads => Err(leads),
        }
    })
    .await;
    rights.all_but("get", leases).await;
    until_logged(
        &watcher,
        &may_not("get", "leases.coordination.k8s.io", ROLE),
    )
    .await;
    rights.all().await;
    watcher.until_leading().await;
}

fn may_not(verb: &str, resource: &str, name: &str) -> String {
    format!("may not {verb} {resource} {name:?} in namespace {SYSTEM:?}: grant this right")
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
