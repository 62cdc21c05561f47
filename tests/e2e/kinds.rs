//! Kinds of workload that not every API server serves, each test on a cluster of its own, since the kinds are
//! everybody's; and CronJobs that do not run. What every kind does is in `matrix.rs`.

use std::fs;

use kube::api::{ListParams, Patch, PatchParams};
use restamp::stamp::annotations::{AUTO, OBSERVED, ROLLOUT_STRATEGY, SECRET_RELOAD};
use serde_json::{Value, json};

use crate::support::{
    Ground, Shop,
    rollouts::Rollouts,
    shop::{Name, pod},
    wait::until,
    workload::{
        CRON_JOB, CRON_JOB_TEMPLATE, ROLLOUT, WIDGET, WIDGET_FLAG, WIDGET_TEMPLATE, Workload,
        definition,
    },
};

const REFERRED_TO: Name<'static> = ("Deployment", "referred-to");

fn uses_db() -> Value {
    pod(json!({ "envFrom": [{ "secretRef": { "name": "db" } }] }))
}

fn widget() -> Value {
    json!({
        "apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": { "name": "web", "annotations": { AUTO: "true" } },
        "spec": { "job": { "template": uses_db() } },
    })
}

/// Widgets of a version that was not given are there for a while.
async fn another_version(ground: &Ground, shop: &Shop) {
    let widgets = fs::read_to_string(definition("widgets.example.com")).expect("a definition");
    let file = ground.file(
        "widgets-v2.yaml",
        &widgets.replace("name: v1\n", "name: v2\n"),
    );
    let file = file.to_str().expect("UTF-8");
    ground.serve_from("widgets.example.com", file).await;
    let mut other = widget();
    other["apiVersion"] = json!("example.com/v2");
    let file = ground.file("widget-v2.json", &other.to_string());
    let args = ["create", "-n", &shop.namespace, "-f"];
    let args = [&args[..], &[file.to_str().expect("UTF-8")]].concat();
    ground.kubectl(&args).await;
    shop.until_quiet().await;
    let annotations = "jsonpath={.metadata.annotations}";
    let args = [
        "get",
        "widget",
        "web",
        "-n",
        &shop.namespace,
        "-o",
        annotations,
    ];
    let annotations = ground.kubectl(&args).await;
    assert!(!annotations.contains(OBSERVED), "{annotations}");
    ground
        .kubectl(&["delete", "crd", "widgets.example.com"])
        .await;
}

#[tokio::test]
async fn a_kind_that_is_given_is_followed_as_soon_as_it_is_served_and_as_long_as_it_is() {
    let Some(ground) = Ground::own("a kind of one's own").await else {
        return;
    };
    let watcher = ground.leading_watcher_with("kinds", &[WIDGET_FLAG]).await;
    let shop = Shop::open(&ground, "kinds").await;
    shop.set_secret("db", &[("password", "one")]).await;
    another_version(&ground, &shop).await;
    let said = "the API server serves no v1 of widgets.example.com";
    assert_eq!(watcher.log().matches(said).count(), 1, "{}", watcher.log());
    for round in 1..=2 {
        ground.serve("widgets.example.com").await;
        let web = Workload::of(&shop, WIDGET, "web", WIDGET_TEMPLATE);
        web.create(widget()).await;
        web.until_recorded().await;
        shop.until_quiet().await;
        assert_eq!(web.writes().await, 0, "{}", watcher.log());
        shop.set_secret("db", &[("password", &format!("of round {round}"))])
            .await;
        web.until_writes(1).await;
        shop.until_quiet().await;
        assert_eq!(web.writes().await, 1, "{}", watcher.log());
        assert!(web.stamp_of(&web.get().await).is_some());
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

/// A Deployment, and Rollouts with either strategy that take its template.
async fn by_reference(shop: &Shop) -> [Workload; 2] {
    let auto = json!({ AUTO: "true" });
    shop.create_workload(REFERRED_TO, auto, uses_db()).await;
    let made = ["rollout", "restart"].map(async |strategy| {
        let web = Workload::of(shop, ROLLOUT, strategy, "/spec/template");
        web.create(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {
                "name": strategy,
                "annotations": { AUTO: "true", SECRET_RELOAD: "db", ROLLOUT_STRATEGY: strategy },
            },
            "spec": {
                "workloadRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": REFERRED_TO.1 },
                "strategy": { "canary": {} },
            },
        }))
        .await;
        web
    });
    let [rollout, restart] = made;
    [rollout.await, restart.await]
}

#[tokio::test]
async fn an_argo_rollout_is_stamped_by_the_webhook_and_restarts_in_place_from_when_it_asks_for_that()
 {
    let Some((ground, watcher, _webhook)) = Ground::own_with_both("Argo Rollouts").await else {
        return;
    };
    ground.serve("rollouts.argoproj.io").await;
    let shop = Shop::injected_on(&ground, "rollouts").await;
    shop.set_secret("db", &[("password", "one")]).await;
    let labels = json!({ "app": "web" });
    let mut template = uses_db();
    template["metadata"]["labels"] = labels.clone();
    let web = Workload::of(&shop, ROLLOUT, "web", "/spec/template");
    let created = web
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
    assert!(web.stamp_of(&created).is_some(), "by the webhook");
    let by_reference = by_reference(&shop).await;
    let restart = json!({ "metadata": { "annotations": { ROLLOUT_STRATEGY: "restart" } } });
    let patch = Patch::Merge(restart);
    let patched = web.api.patch("web", &PatchParams::default(), &patch).await;
    patched.expect("patched");
    shop.until_quiet().await;
    let change = async {
        shop.set_secret("db", &[("password", "two")]).await;
        web.until_writes(1).await;
    };
    let once = Rollouts::from([("Deployment/referred-to".to_owned(), 1)]);
    assert_eq!(shop.rollouts(change).await, once);
    for it in by_reference {
        assert_eq!(it.writes().await, 0, "{}", watcher.log());
        let annotations = it.get().await.metadata.annotations.expect("its author's");
        assert!(!annotations.contains_key(OBSERVED), "{annotations:?}");
    }
    let restarted = web.get().await;
    assert_eq!(restarted.metadata.generation, Some(2), "{}", watcher.log());
    let [before, after] = [&created, &restarted].map(|state| web.template_of(state));
    assert_eq!(before, after);
    assert!(restarted.data["spec"]["restartAt"].is_string());
}

#[tokio::test]
async fn a_cron_job_that_is_suspended_is_stamped_and_does_not_run() {
    let ground = Ground::shared().await;
    let shop = Shop::open(&ground, "cron-jobs").await;
    shop.set_secret("db", &[("password", "one")]).await;
    let mut template = uses_db();
    template["spec"]["restartPolicy"] = json!("Never");
    let cron_job = Workload::of(&shop, CRON_JOB, "web", CRON_JOB_TEMPLATE);
    cron_job
        .create(json!({
            "apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": { "name": "web", "annotations": { AUTO: "true" } },
            "spec": {
                "schedule": "0 0 1 1 *", "suspend": true,
                "jobTemplate": { "spec": { "template": template } },
            },
        }))
        .await;
    cron_job.until_recorded().await;
    shop.until_quiet().await;
    shop.set_secret("db", &[("password", "two")]).await;
    cron_job.until_writes(1).await;
    shop.until_quiet().await;
    assert!(cron_job.stamp_of(&cron_job.get().await).is_some());
    let jobs = shop.api_of(("batch", "v1", "Job"));
    let jobs = jobs.list(&ListParams::default()).await.expect("a list");
    assert_eq!(jobs.items.len(), 0);
}
