//! Rights in namespaces that are named.

use std::fs;

use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    Missed, Right, Roles, WATCHER, WEBHOOK,
    given::{WATCHER_ROLE, WATCHER_ROLE_AT_HOME},
    ground,
    roles::without,
    watches::{FOLLOWED, VERBS},
};
use crate::{
    certificates::site::folder,
    scope::take_cluster_rights,
    support::{Shop, ground::SYSTEM, replica::Replica, wait::until, webhook::Webhook},
};

/// In a whole cluster, others make up for them.
pub(super) const RIGHTS: [Right; 2] = [KEY, NOTES];
const KEY: Right = Right::new("Role/restamp-key", "get", ("", "secrets"));
const NOTES: Right = Right::new(WATCHER_ROLE_AT_HOME, "list", ("", "secrets"));

/// A role of the watcher in a namespace that is followed.
struct Followed {
    api: Api<Role>,
    role: Role,
}

impl Followed {
    /// Makes it, without a right.
    async fn without(client: &Client, namespace: &str, right: Right) -> Self {
        let text = fs::read_to_string(folder("manifests/namespaced/followed/rbac.yaml"));
        let text = text.expect("a file");
        let mut objects = serde_saphyr::from_multiple::<Value>(&text).expect("YAML");
        objects.retain(|object| object["metadata"]["name"] == WATCHER);
        let mut take = |kind: &str| {
            let at = objects.iter().position(|object| object["kind"] == kind);
            objects.remove(at.expect("an object"))
        };
        let role: Role = serde_json::from_value(take("Role")).expect("a role");
        let binding: RoleBinding = serde_json::from_value(take("RoleBinding")).expect("a binding");
        let (api, params) = (
            Api::namespaced(client.clone(), namespace),
            PostParams::default(),
        );
        let mut poor = role.clone();
        let rules = poor.rules.iter().flatten();
        poor.rules = Some(rules.flat_map(|rule| without(rule, right)).collect());
        api.create(&params, &poor).await.expect("a role");
        let bindings = Api::namespaced(client.clone(), namespace);
        bindings.create(&params, &binding).await.expect("a binding");
        Self { api, role }
    }

    /// Gives everything.
    async fn all(&self) {
        let rules: &Option<Vec<PolicyRule>> = &self.role.rules;
        let patch = Patch::Merge(json!({ "rules": rules }));
        let params = PatchParams::default();
        let patched = self.api.patch(WATCHER, &params, &patch).await;
        patched.expect("a role");
    }
}

#[tokio::test]
async fn in_namespaces_that_are_named_each_right_is_missed_where_it_is_missing() {
    let Some(ground) = ground("taking rights away").await else {
        return;
    };
    take_cluster_rights(&ground).await;
    let client = ground.client().await;
    // One right is missing in each.
    let mut poor = Vec::new();
    for verb in VERBS {
        for resource in FOLLOWED {
            let right = Right::new(WATCHER_ROLE, verb, resource);
            let shop = Shop::empty(&ground, "rights", json!({})).await;
            let followed = Followed::without(&client, &shop.namespace, right).await;
            poor.push((right, shop, followed));
        }
    }
    let names: Vec<_> = poor.iter().map(|(_, shop, _)| &*shop.namespace).collect();
    let flag = format!("--namespaces={}", names.join(","));
    let kubeconfig = ground.kubeconfig_of(SYSTEM, WATCHER).await;
    let start = |name: &str| ground.watcher_with(name, &kubeconfig, &[&flag]);
    let watcher = start("poor");
    for (right, Shop { namespace, .. }, _) in &poor {
        let missed = Missed::ever(&watcher, *right);
        missed
            .until_not_ready(&format!("in namespace {namespace:?}"))
            .await;
    }
    for (.., followed) in &poor {
        followed.all().await;
    }
    watcher.until_ready().await;
    watcher.stop().await;

    let roles = Roles::of(&ground, WATCHER).await;
    roles.all_but(KEY).await;
    let watcher = start("without-key");
    let key = format!("\"restamp-key\" in namespace {SYSTEM:?}");
    Missed::ever(&watcher, KEY).until_not_ready(&key).await;
    let of_webhook = ground.kubeconfig_of(SYSTEM, WEBHOOK).await;
    let webhook = Webhook::start(&ground, "127.0.0.1", of_webhook).await;
    Missed::ever(&webhook.replica, KEY).until_told(&key).await;
    roles.all().await;
    for process in [&watcher, &webhook.replica] {
        until_it_has_the_key(process).await;
    }
    watcher.stop().await;

    roles.all_but(NOTES).await;
    let watcher = start("without-notes");
    let home = format!("in namespace {SYSTEM:?}");
    Missed::ever(&watcher, NOTES).until_told(&home).await;
}

async fn until_it_has_the_key(process: &Replica) {
    until("it has the key", async || {
        let log = process.log();
        log.contains("using installation key")
            .then_some(())
            .ok_or(log)
    })
    .await;
}
