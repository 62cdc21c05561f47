//! Kinds of workload that not every API server serves. Each test on a cluster of its own, since the kinds are
//! everybody's.

use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use restamp::stamp::annotations::{AUTO, OBSERVED, ROLLOUT_STRATEGY, STAMP};
use serde_json::{Value, json};

use crate::support::{Ground, Shop, ground::SYSTEM, shop::pod, wait::until};

const WIDGET_FLAG: &str = "--workload-kind=example.com/v1/widgets/Widget=spec.job.template";

/// The objects of a kind in a shop.
struct Stock {
    api: Api<DynamicObject>,
    template: &'static str,
}

impl Stock {
    fn of(shop: &Shop, group_version_kind: (&str, &str, &str), template: &'static str) -> Self {
        let (group, version, kind) = group_version_kind;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Self {
            api: Api::namespaced_with(shop.client.clone(), &shop.namespace, &resource),
            template,
        }
    }

    async fn create(&self, object: Value) -> DynamicObject {
        let object = serde_json::from_value(object).expect("an object");
        let created = self.api.create(&PostParams::default(), &object).await;
        created.expect("it can be created")
    }

    async fn get(&self) -> DynamicObject {
        self.api.get("web").await.expect("it is there")
    }

    fn stamp_of(&self, object: &DynamicObject) -> Option<String> {
        let template = object.data.pointer(self.template).expect("a template");
        let stamp = template["metadata"]["annotations"][STAMP].as_str();
        stamp.map(str::to_owned)
    }

    /// How often the spec was written since the object was made.
    async fn writes(&self) -> i64 {
        self.get().await.metadata.generation.expect("a generation") - 1
    }

    async fn until_recorded(&self) {
        until("it is recorded", async || {
            let annotations = self.get().await.metadata.annotations.unwrap_or_default();
            annotations
                .contains_key(OBSERVED)
                .then_some(())
                .ok_or(annotations)
        })
        .await;
    }

    async fn until_writes(&self, writes: i64) {
        until("it is rolled out", async || match self.writes().await {
            now if now >= writes => Ok(()),
            now => Err(now),
        })
        .await;
    }
}

fn uses_db() -> Value {
    pod(json!({ "envFrom": [{ "secretRef": { "name": "db" } }] }))
}

pub async fn apply(ground: &Ground, name: &str, object: &Value) {
    let file = ground.file(name, &object.to_string());
    ground
        .kubectl(&[
            "apply",
            "--server-side",
            "-f",
            file.to_str().expect("UTF-8"),
        ])
        .await;
}

/// A kind whose pod template is where no built-in kind has it.
fn widgets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}

fn widget() -> Value {
    json!({
        "apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": { "name": "web", "annotations": { AUTO: "true" } },
        "spec": { "job": { "template": uses_db() } },
    })
}

/// What `docs/flags.md` tells whoever gives a kind to add.
async fn grant_widgets(ground: &Ground) {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "restamp-widgets" },
        "rules": [{
            "apiGroups": ["example.com"], "resources": ["widgets"],
            "verbs": ["get", "list", "watch", "patch"],
        }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": "restamp-widgets" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "restamp-widgets" },
        "subjects": [{ "kind": "ServiceAccount", "name": "restamp-watcher", "namespace": SYSTEM }],
    });
    apply(ground, "role.json", &role).await;
    apply(ground, "binding.json", &binding).await;
}

pub async fn until_served(ground: &Ground, crd: &str) {
    until("the kind is served", async || {
        let text = ground.kubectl(&["get", "crd", crd, "-o", "json"]).await;
        let crd: Value = serde_json::from_str(&text).expect("JSON");
        let conditions = crd["status"]["conditions"].as_array().cloned();
        let established = json!("Established");
        let is_so = |it: &Value| it["type"] == established && it["status"] == "True";
        match conditions.iter().flatten().any(is_so) {
            true => Ok(()),
            false => Err(conditions),
        }
    })
    .await;
}

#[tokio::test]
async fn a_kind_that_is_given_is_followed_as_soon_as_it_is_served_and_as_long_as_it_is() {
    let Some(ground) = Ground::own("a kind of one's own").await else {
        return;
    };
    let kubeconfig = ground.kubeconfig_of(SYSTEM, "restamp-watcher").await;
    let watcher = ground.watcher_with("kinds", &kubeconfig, &[WIDGET_FLAG]);
    watcher.until_leading().await;
    let shop = Shop::open(&ground, "kinds").await;
    shop.set_secret("db", &[("password", "one")]).await;
    grant_widgets(&ground).await;
    for round in 1..=2 {
        apply(&ground, "widgets.json", &widgets()).await;
        until_served(&ground, "widgets.example.com").await;
        let stock = Stock::of(&shop, ("example.com", "v1", "Widget"), "/spec/job/template");
        stock.create(widget()).await;
        stock.until_recorded().await;
        shop.until_quiet().await;
        assert_eq!(stock.writes().await, 0, "{}", watcher.log());
        shop.set_secret("db", &[("password", &format!("of round {round}"))])
            .await;
        stock.until_writes(1).await;
        shop.until_quiet().await;
        assert_eq!(stock.writes().await, 1, "{}", watcher.log());
        assert!(stock.stamp_of(&stock.get().await).is_some());
        let args = ["explain", "widget/web", "-n", &shop.namespace, WIDGET_FLAG];
        let (_, out, err) = ground.restamp(ground.kubeconfig(), &args).await;
        assert!(out.contains("nothing to do"), "{out}{err}");
        ground
            .kubectl(&["delete", "crd", "widgets.example.com"])
            .await;
        until("its workload is forgotten", async || {
            // Those of the sentinels are left.
            match watcher.metric("restamp_workloads").await {
                left if left < 3.0 => Ok(()),
                left => Err(left),
            }
        })
        .await;
    }
    shop.until_quiet().await;
}

#[tokio::test]
async fn an_argo_rollout_is_rolled_out_or_restarted_as_it_asks() {
    let Some((ground, watcher, _webhook)) = Ground::own_with_both("Argo Rollouts").await else {
        return;
    };
    let crd = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/e2e/crds/rollouts.argoproj.io.yaml"
    );
    ground.kubectl(&["apply", "--server-side", "-f", crd]).await;
    until_served(&ground, "rollouts.argoproj.io").await;
    let shop = Shop::injected_on(&ground, "rollouts").await;
    shop.set_secret("db", &[("password", "one")]).await;
    let labels = json!({ "app": "web" });
    let mut template = uses_db();
    template["metadata"]["labels"] = labels.clone();
    let stock = Stock::of(
        &shop,
        ("argoproj.io", "v1alpha1", "Rollout"),
        "/spec/template",
    );
    let created = stock
        .create(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": { "name": "web", "annotations": { AUTO: "true" } },
            "spec": {
                "selector": { "matchLabels": labels },
                "strategy": { "canary": {} },
                "template": template,
            },
        }))
        .await;
    assert!(stock.stamp_of(&created).is_some(), "by the webhook");

    shop.set_secret("db", &[("password", "two")]).await;
    stock.until_writes(1).await;
    shop.until_quiet().await;
    let rolled = stock.get().await;
    assert_eq!(rolled.metadata.generation, Some(2), "{}", watcher.log());
    assert_ne!(stock.stamp_of(&rolled), stock.stamp_of(&created));
    assert_eq!(rolled.data["spec"]["restartAt"], Value::Null);

    let restart = json!({ "metadata": { "annotations": { ROLLOUT_STRATEGY: "restart" } } });
    let params = PatchParams::default();
    stock
        .api
        .patch("web", &params, &Patch::Merge(restart))
        .await
        .expect("patched");
    shop.until_quiet().await;
    shop.set_secret("db", &[("password", "three")]).await;
    stock.until_writes(2).await;
    shop.until_quiet().await;
    let restarted = stock.get().await;
    assert_eq!(restarted.metadata.generation, Some(3), "{}", watcher.log());
    assert_eq!(
        stock.stamp_of(&restarted),
        stock.stamp_of(&rolled),
        "the template is as it was"
    );
    assert!(restarted.data["spec"]["restartAt"].is_string());
}

/// Runs by itself on the first of January only.
fn cron_job(suspend: bool) -> Value {
    let mut template = uses_db();
    template["spec"]["restartPolicy"] = json!("Never");
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": { "name": "web", "annotations": { AUTO: "true" } },
        "spec": {
            "schedule": "0 0 1 1 *", "suspend": suspend,
            "jobTemplate": { "spec": { "template": template } },
        },
    })
}

#[tokio::test]
async fn a_cron_job_runs_once_for_each_change_unless_it_is_suspended() {
    let ground = Ground::shared().await;
    for (suspend, runs) in [(false, 1), (true, 0)] {
        let shop = Shop::open(&ground, "cron-jobs").await;
        shop.set_secret("db", &[("password", "one")]).await;
        let template = "/spec/jobTemplate/spec/template";
        let stock = Stock::of(&shop, ("batch", "v1", "CronJob"), template);
        stock.create(cron_job(suspend)).await;
        stock.until_recorded().await;
        shop.until_quiet().await;
        let jobs = Stock::of(&shop, ("batch", "v1", "Job"), "/spec/template");
        let list = async || {
            jobs.api
                .list(&ListParams::default())
                .await
                .expect("a list")
                .items
        };
        assert_eq!(list().await.len(), 0);
        shop.set_secret("db", &[("password", "two")]).await;
        stock.until_writes(1).await;
        shop.until_quiet().await;
        let made = list().await;
        assert_eq!(made.len(), runs, "suspended: {suspend}");
        let stamp = stock.stamp_of(&stock.get().await);
        assert!(stamp.is_some());
        assert!(made.iter().all(|job| jobs.stamp_of(job) == stamp));
        let owned =
            |job: &DynamicObject| job.metadata.owner_references.iter().flatten().count() == 1;
        assert!(made.iter().all(owned));
        shop.set_secret("db", &[("password", "two")]).await;
        shop.until_quiet().await;
        assert_eq!(list().await.len(), runs);
    }
}
