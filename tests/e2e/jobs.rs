//! Jobs, which are made again: no run is lost, and none is made that the change did not need.

use futures::future::join_all;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use restamp::stamp::annotations::{AUTO, OBSERVED};
use serde_json::{Value, json};

use crate::support::{Ground, Shop, ground::SYSTEM, shop::pod, wait::until};

/// A Job whose pods wait for a node that there is not, so that it goes on.
fn job(name: &str, metadata: &Value, spec: &Value) -> Value {
    let mut template = pod(json!({ "envFrom": [{ "secretRef": { "name": "db" } }] }));
    template["spec"]["restartPolicy"] = json!("Never");
    template["spec"]["nodeSelector"] = json!({ "there": "is-none" });
    let mut object = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec,
    });
    object["metadata"]["name"] = json!(name);
    object["metadata"]["annotations"] = json!({ AUTO: "true" });
    if object["spec"]["template"].is_null() {
        object["spec"]["template"] = template;
    }
    object
}

/// The Jobs of a shop.
struct Jobs(Api<Job>);

impl Jobs {
    fn of(shop: &Shop) -> Self {
        Self(Api::namespaced(shop.client.clone(), &shop.namespace))
    }

    async fn create(&self, object: Value) -> Job {
        let object = serde_json::from_value(object).expect("a Job");
        let made = self.0.create(&PostParams::default(), &object).await;
        made.expect("it can be made")
    }

    async fn get(&self, name: &str) -> Option<Job> {
        self.0.get_opt(name).await.expect("an answer")
    }

    async fn uid(&self, name: &str) -> Option<String> {
        self.get(name).await?.metadata.uid
    }

    async fn until_recorded(&self, name: &str) {
        until("it is recorded", async || {
            let job = self.get(name).await;
            let annotations = job.and_then(|job| job.metadata.annotations);
            let annotations = annotations.unwrap_or_default();
            annotations
                .contains_key(OBSERVED)
                .then_some(())
                .ok_or(annotations)
        })
        .await;
    }

    async fn until_made_again(&self, name: &str, before: &Job) -> Job {
        until("it is made again", async || match self.get(name).await {
            Some(job) if job.metadata.uid != before.metadata.uid => Ok(job),
            other => Err(other.map(|job| job.metadata)),
        })
        .await
    }

    async fn patch(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        let patched = self.0.patch(name, &PatchParams::default(), &patch).await;
        patched.expect("it can be patched");
    }
}

async fn notes(shop: &Shop) -> Vec<String> {
    let secrets: Api<Secret> = Api::namespaced(shop.client.clone(), SYSTEM);
    let params = ListParams::default().labels("restamp.dev/recreates");
    let all = secrets.list(&params).await.expect("a list").items;
    let jobs = all.into_iter().filter_map(|secret| {
        let job = secret.data?.remove("job.json")?;
        let job: DynamicObject = serde_json::from_slice(&job.0).expect("a Job");
        let is_ours = job.metadata.namespace.as_deref() == Some(&shop.namespace);
        job.metadata.name.filter(|_| is_ours)
    });
    jobs.collect()
}

/// A Job with a selector of its author's.
fn manual() -> Value {
    let labels = json!({ "app": "manual" });
    let mut template = job("manual", &json!({}), &json!({}))["spec"]["template"].take();
    template["metadata"]["labels"] = labels.clone();
    let selector = json!({ "matchLabels": labels });
    let spec = json!({ "manualSelector": true, "selector": selector, "template": template });
    job("manual", &json!({}), &spec)
}

/// A reference to an object that may be somebody's controller; the Job goes when it goes.
async fn owner(shop: &Shop, controls: bool) -> Value {
    shop.set_config_map("owner", &[]).await;
    let api: Api<ConfigMap> = Api::namespaced(shop.client.clone(), &shop.namespace);
    let owner = api.get("owner").await.expect("it was made");
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid,
        "controller": controls,
    })
}

/// What the Job's pods are labelled with, so that it finds them.
fn controller_uid(job: &Job) -> Option<String> {
    let template = &job.spec.as_ref()?.template;
    let labels = template.metadata.as_ref()?.labels.as_ref()?;
    labels.get("controller-uid").cloned()
}

#[tokio::test]
async fn a_job_that_runs_is_made_again_once_for_each_change() {
    let (ground, watcher) = Ground::shared_with_watcher().await;
    let shop = Shop::open(&ground, "jobs").await;
    shop.set_password("one").await;
    let jobs = Jobs::of(&shop);
    let labelled = json!({ "labels": { "a": "b" } });
    let owned = json!({ "ownerReferences": [owner(&shop, false).await] });
    let made = [
        job("plain", &labelled, &json!({ "ttlSecondsAfterFinished": 0 })),
        job("made-x7", &json!({ "generateName": "made-" }), &json!({})),
        manual(),
        job("owned", &owned, &json!({})),
    ];
    let made = join_all(made.map(|object| jobs.create(object))).await;
    let names = ["plain", "made-x7", "manual", "owned"];
    for name in names {
        jobs.until_recorded(name).await;
    }
    shop.until_quiet().await;
    for (name, job) in names.iter().zip(&made) {
        assert_eq!(jobs.uid(name).await, job.metadata.uid, "it was adopted");
    }
    shop.set_password("two").await;
    let mut again = Vec::new();
    for (name, old) in names.iter().zip(&made) {
        let new = jobs.until_made_again(name, old).await;
        let own = new.metadata.uid.clone().filter(|_| *name != "manual");
        assert_eq!(controller_uid(&new), own, "{name}");
        assert_eq!(new.metadata.labels.is_some(), old.metadata.labels.is_some());
        assert_eq!(new.metadata.owner_references, old.metadata.owner_references);
        again.push(new.metadata.uid);
    }
    let label = json!({ "labels": { "only": "metadata" } });
    shop.annotate_secret("db", label).await;
    shop.until_quiet().await;
    for (name, uid) in names.iter().zip(again) {
        assert_eq!(jobs.uid(name).await, uid, "{}", watcher.log());
    }
    assert_eq!(notes(&shop).await, [""; 0]);
}

#[tokio::test]
async fn a_job_that_is_suspended_is_recorded_and_not_made_again() {
    let ground = Ground::shared().await;
    let shop = Shop::open(&ground, "jobs-suspended").await;
    shop.set_password("one").await;
    let jobs = Jobs::of(&shop);
    let suspended = job("waits", &json!({}), &json!({ "suspend": true }));
    let before = jobs.create(suspended).await;
    jobs.until_recorded("waits").await;
    let recorded = jobs.get("waits").await.expect("there").metadata.annotations;
    shop.set_password("two").await;
    shop.until_quiet().await;
    let after = jobs.get("waits").await.expect("there");
    assert_eq!(after.metadata.uid, before.metadata.uid);
    assert_ne!(after.metadata.annotations, recorded);
    let resumed = json!({ "spec": { "suspend": false } });
    jobs.patch("waits", resumed).await;
    shop.until_quiet().await;
    assert_eq!(
        jobs.uid("waits").await,
        before.metadata.uid,
        "its pods are new"
    );
}

/// A CronJob that runs nothing by itself; its uid.
async fn cron_job(shop: &Shop) -> Option<String> {
    let template = job("of-it", &json!({}), &json!({}))["spec"].take();
    let object = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "report" },
        "spec": { "schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": { "spec": template } },
    });
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    let made = shop
        .workloads("CronJob")
        .create(&PostParams::default(), &object)
        .await;
    made.expect("it can be made").metadata.uid
}

#[tokio::test]
async fn a_job_that_is_over_or_somebody_elses_is_left_alone() {
    let ground = Ground::shared().await;
    let shop = Shop::open(&ground, "jobs-over").await;
    shop.set_password("one").await;
    let jobs = Jobs::of(&shop);
    // One that has failed before it began.
    let failed = json!({ "activeDeadlineSeconds": 1 });
    jobs.create(job("failed", &json!({}), &failed)).await;
    let of_cron_job = json!([{
        "apiVersion": "batch/v1", "kind": "CronJob", "name": "report", "uid": cron_job(&shop).await,
        "controller": true, "blockOwnerDeletion": false,
    }]);
    let of_a_stranger = json!([owner(&shop, true).await]);
    let owned = [("owned", of_cron_job), ("a-strangers", of_a_stranger)].map(|(name, owners)| {
        let owned = json!({ "ownerReferences": owners });
        jobs.create(job(name, &owned, &json!({})))
    });
    let owned = join_all(owned).await;
    until("it has failed", async || {
        let status = jobs.get("failed").await.and_then(|job| job.status);
        let conditions = status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        let has_failed = |it: &k8s_openapi::api::batch::v1::JobCondition| it.type_ == "Failed";
        conditions
            .iter()
            .any(has_failed)
            .then_some(())
            .ok_or(conditions)
    })
    .await;
    shop.until_quiet().await;
    let failed = jobs.uid("failed").await;
    shop.set_password("two").await;
    shop.until_quiet().await;
    assert_eq!(jobs.uid("failed").await, failed);
    for job in owned {
        let name = job.metadata.name.expect("a name");
        assert_eq!(jobs.uid(&name).await, job.metadata.uid, "{name}");
    }
    let explained = ["explain", "job/failed", "-n", &shop.namespace];
    let (_, out, err) = ground.restamp(ground.kubeconfig(), &explained).await;
    assert!(out.contains("it has finished"), "{out}{err}");
}

#[tokio::test]
async fn a_job_whose_watcher_dies_between_its_deletion_and_its_return_comes_back_once() {
    let Some(ground) = Ground::own("dying between").await else {
        return;
    };
    let mut watcher = ground.leading_watcher("first").await;
    let shop = Shop::open(&ground, "jobs-dying").await;
    shop.set_password("one").await;
    let jobs = Jobs::of(&shop);
    let kept = json!({ "finalizers": ["example.com/kept"] });
    let old = jobs.create(job("kept", &kept, &json!({}))).await;
    jobs.until_recorded("kept").await;
    shop.until_quiet().await;
    shop.set_password("two").await;
    until("it is being deleted", async || {
        let job = jobs.get("kept").await.expect("a finalizer keeps it");
        job.metadata.deletion_timestamp.map(drop).ok_or("not yet")
    })
    .await;
    assert_eq!(notes(&shop).await, ["kept"]);
    watcher.kill();
    jobs.patch("kept", json!({ "metadata": { "finalizers": null } }))
        .await;
    until("it is gone", async || match jobs.get("kept").await {
        Some(_) => Err("not yet"),
        None => Ok(()),
    })
    .await;
    let watcher = ground.leading_watcher("second").await;
    let new = jobs.until_made_again("kept", &old).await;
    until("nothing is left to do", async || match notes(&shop).await {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    })
    .await;
    shop.until_quiet().await;
    assert_eq!(
        jobs.uid("kept").await,
        new.metadata.uid,
        "{}",
        watcher.log()
    );
    assert_eq!(
        new.metadata.finalizers,
        Some(vec!["example.com/kept".to_owned()])
    );
    jobs.patch("kept", json!({ "metadata": { "finalizers": null } }))
        .await;
    jobs.0
        .delete("kept", &DeleteParams::background())
        .await
        .expect("deleted");
}

/// Refuses Jobs in namespaces with a label.
fn policy(namespace: &str) -> [Value; 2] {
    let api_version = "admissionregistration.k8s.io/v1";
    [
        json!({
            "apiVersion": api_version, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": namespace },
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [{
                    "apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["jobs"], "operations": ["CREATE"],
                }] },
                "validations": [{ "expression": "false", "message": "no new Jobs today" }],
            },
        }),
        json!({
            "apiVersion": api_version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": namespace },
            "spec": {
                "policyName": namespace, "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": { "matchLabels": {
                    "kubernetes.io/metadata.name": namespace,
                } } },
            },
        }),
    ]
}

#[tokio::test]
async fn a_job_that_could_not_be_made_again_is_not_deleted() {
    let ground = Ground::shared().await;
    let shop = Shop::open(&ground, "jobs-refused").await;
    shop.set_password("one").await;
    let jobs = Jobs::of(&shop);
    let old = jobs.create(job("precious", &json!({}), &json!({}))).await;
    jobs.until_recorded("precious").await;
    let objects = policy(&shop.namespace);
    for (number, object) in objects.iter().enumerate() {
        let file = ground.file(
            &format!("{}-{number}.json", shop.namespace),
            &object.to_string(),
        );
        ground
            .kubectl(&["apply", "-f", file.to_str().expect("UTF-8")])
            .await;
    }
    until("the policy holds", async || {
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let probe = serde_json::from_value(job("probe", &json!({}), &json!({}))).expect("a Job");
        jobs.0
            .create(&dry_run, &probe)
            .await
            .map(drop)
            .err()
            .map(drop)
            .ok_or("not yet")
    })
    .await;
    shop.set_password("two").await;
    until("the failure is told", async || {
        let said = shop.events(("Job", "precious"), "ReloadFail").await;
        said.iter()
            .any(|text| text.contains("no new Jobs today"))
            .then_some(())
            .ok_or(said)
    })
    .await;
    assert_eq!(jobs.uid("precious").await, old.metadata.uid);
    assert_eq!(notes(&shop).await, [""; 0]);
    for kind in [
        "validatingadmissionpolicybinding",
        "validatingadmissionpolicy",
    ] {
        ground.kubectl(&["delete", kind, &shop.namespace]).await;
    }
    jobs.until_made_again("precious", &old).await;
}

#[tokio::test]
async fn a_quota_that_a_job_fills_does_not_keep_it_and_is_no_missing_right() {
    let (ground, watcher) = Ground::shared_with_watcher().await;
    let shop = Shop::empty(&ground, "jobs-quota", json!({})).await;
    shop.set_password("one").await;
    let here = ["-n", &shop.namespace];
    let quota = ["create", "quota", "one", "--hard=count/jobs.batch=1"];
    ground.kubectl(&[&quota[..], &here].concat()).await;
    until("the quota is in force", async || {
        let get = ["get", "quota", "one", "-o", "jsonpath={.status.hard}"];
        let hard = ground.kubectl(&[&get[..], &here].concat()).await;
        hard.contains("jobs").then_some(()).ok_or(hard)
    })
    .await;
    let jobs = Jobs::of(&shop);
    let before = jobs.create(job("alone", &json!({}), &json!({}))).await;
    jobs.until_recorded("alone").await;
    shop.set_password("two").await;
    jobs.until_made_again("alone", &before).await;
    let log = watcher.log();
    assert!(!log.contains("grant this right"), "{log}");
    assert_eq!(watcher.metric("restamp_forbidden_total").await, 0.0);
}
