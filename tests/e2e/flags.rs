//! Flags that hold for every workload, on a cluster of its own: the shared watcher has none of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, routing::post};
use kube::api::DynamicObject;
use restamp::stamp::annotations::{AUTO, OBSERVED, PAUSED_AT, SECRET_AUTO};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    Ground, Shop,
    replica::Replica,
    rollouts::Rollouts,
    shop::{Name, pod, web_pod},
    wait::until,
    workload::{CRON_JOB, CRON_JOB_TEMPLATE, JOB, JOB_TEMPLATE, Workload},
};

const SILENT: Name<'static> = ("Deployment", "silent");
const NAMED: Name<'static> = ("StatefulSet", "named");
const OUT: Name<'static> = ("DaemonSet", "out");

/// A watcher with flags that leads, and its shop.
async fn shop_of(ground: &Ground, name: &str, flags: &[&str]) -> (Replica, Shop) {
    let watcher = ground.leading_watcher_with(name, flags).await;
    let shop = Shop::open(ground, name).await;
    for secret in ["db", "other"] {
        shop.set_secret(secret, &[("password", "one")]).await;
    }
    let uses_db = || pod(json!({ "envFrom": [{ "secretRef": { "name": "db" } }] }));
    let named = json!({ AUTO: "false", "example.com/secrets": "other" });
    let workloads: [(Name<'_>, Value); 3] = [
        (SILENT, json!({})),
        (NAMED, named),
        (OUT, json!({ AUTO: "false" })),
    ];
    for (name, annotations) in workloads {
        shop.create_workload(name, annotations, uses_db()).await;
    }
    (watcher, shop)
}

fn each(silent: u64, named: u64, out: u64) -> Rollouts {
    let counts = [(SILENT, silent), (NAMED, named), (OUT, out)];
    let counts = counts.map(|((kind, name), count)| (format!("{kind}/{name}"), count));
    BTreeMap::from(counts)
}

#[tokio::test]
async fn flags_say_what_is_followed() {
    let Some(ground) = Ground::own("flags").await else {
        return;
    };
    let flags = [
        "--auto-reload-all",
        "--secret-annotation=example.com/secrets",
        "--ignore-annotation",
        "example.com/ignore",
    ];
    let (watcher, shop) = shop_of(&ground, "flags", &flags).await;
    shop.until_recorded(&[SILENT, NAMED]).await;
    shop.until_quiet().await;
    let of_db = shop.set_secret("db", &[("password", "two")]);
    assert_eq!(
        shop.rollouts(of_db).await,
        each(1, 0, 0),
        "{}",
        watcher.log()
    );
    let of_other = shop.set_secret("other", &[("password", "two")]);
    assert_eq!(shop.rollouts(of_other).await, each(0, 1, 0));
    let ignored = json!({ "example.com/ignore": "true" });
    let of_ignored = shop.set_annotated_secret("db", ignored, &[("password", "three")]);
    assert_eq!(shop.rollouts(of_ignored).await, each(0, 0, 0));
    assert_eq!(shop.observed(OUT).await, None);
}

const SECRETS: Name<'static> = ("Deployment", "secrets");
const CONFIGS: Name<'static> = ("StatefulSet", "configs");
const SEARCHING: Name<'static> = ("DaemonSet", "searching");
const BY_NAME: Name<'static> = ("Deployment", "by-name");
const OLD: Name<'static> = ("Deployment", "old");

/// Of these workloads once, and of the others never.
fn only(rolled: &[Name<'_>]) -> Rollouts {
    let all = [SECRETS, CONFIGS, SEARCHING, BY_NAME, OLD];
    let count = |name: &Name<'_>| u64::from(rolled.contains(name));
    all.iter()
        .map(|name| (format!("{}/{}", name.0, name.1), count(name)))
        .collect()
}

#[tokio::test]
async fn every_annotation_counts_under_its_other_name_alone() {
    let Some(ground) = Ground::own("other names").await else {
        return;
    };
    let flags = [
        "--configmap-annotation=example.com/configs",
        "--configmap-auto-annotation=example.com/configs-auto",
        "--secret-auto-annotation=example.com/secrets-auto",
        "--auto-search-annotation=example.com/search",
        "--search-match-annotation=example.com/match",
        "--pause-deployment-annotation=example.com/pause",
        "--log-format=json",
    ];
    let watcher = ground.leading_watcher_with("names", &flags).await;
    let shop = Shop::open(&ground, "names").await;
    let found = json!({ "example.com/match": "true" });
    let set_password = async |password| {
        let data = [("password", password)];
        shop.set_annotated_secret("db", found.clone(), &data).await;
    };
    set_password("one").await;
    shop.set_config_map("app", &[("level", "info")]).await;
    let paused = json!({ "example.com/secrets-auto": "true", "example.com/pause": "1h" });
    for (name, annotations) in [
        (SECRETS, paused),
        (CONFIGS, json!({ "example.com/configs-auto": "true" })),
        (SEARCHING, json!({ "example.com/search": "true" })),
        (BY_NAME, json!({ "example.com/configs": "app" })),
        (OLD, json!({ SECRET_AUTO: "true" })),
    ] {
        shop.create_workload(name, annotations, web_pod()).await;
    }
    shop.until_recorded(&[SECRETS, CONFIGS, SEARCHING, BY_NAME])
        .await;
    shop.until_quiet().await;
    let first = shop.rollouts(set_password("two")).await;
    assert_eq!(first, only(&[SECRETS, SEARCHING]), "{}", watcher.log());
    let paused = shop.rollouts(set_password("three")).await;
    assert_eq!(paused, only(&[SEARCHING]));
    let configs = shop.set_config_map("app", &[("level", "debug")]);
    assert_eq!(shop.rollouts(configs).await, only(&[CONFIGS, BY_NAME]));
    for line in watcher.log().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(line["level"].is_string(), "{line}");
    }
}

/// What each of these logs: one warning.
const WITHOUT_EFFECT: [&str; 5] = [
    "--is-Argo-Rollouts=true",
    "--sync-after-restart=true",
    "--enable-ha=true",
    "--enable-csi-integration=true",
    "--pprof-addr=:6060",
];

#[tokio::test]
async fn flags_without_effect_are_warned_about_and_the_others_beside_them_count() {
    let Some(ground) = Ground::own("flags without effect").await else {
        return;
    };
    let flags = [
        "--auto-annotation=example.com/auto",
        "--pause-deployment-time-annotation=example.com/paused-at",
        "--enable-pprof",
    ];
    let flags = [&flags[..], &WITHOUT_EFFECT].concat();
    let watcher = ground.leading_watcher_with("legacy", &flags).await;
    let log = watcher.log();
    for flag in WITHOUT_EFFECT {
        let (name, _) = flag.split_once('=').expect("a value");
        let warned = |line: &&str| line.contains(name) && line.contains("no effect");
        assert_eq!(log.lines().filter(warned).count(), 1, "{name}\n{log}");
    }

    let shop = Shop::empty(&ground, "legacy", json!({})).await;
    shop.set_password("one").await;
    shop.set_config_map("app", &[("level", "info")]).await;
    let long_ago = "2020-01-01T00:00:00Z";
    let old = json!({ AUTO: "true", PAUSED_AT: long_ago });
    let new = json!({ "example.com/auto": "true", "example.com/paused-at": long_ago });
    for (name, annotations) in [(OLD, old), (BY_NAME, new)] {
        shop.create_workload(name, annotations, web_pod()).await;
        let pause = json!({ "spec": { "paused": true } });
        shop.patch_workload(name, "reloader", pause).await;
    }
    until("it is resumed", async || {
        let found = shop.workload(BY_NAME).await;
        let paused = &found.data["spec"]["paused"];
        paused.is_null().then_some(()).ok_or(paused.clone())
    })
    .await;
    shop.until_recorded(&[BY_NAME]).await;
    shop.set_password("two").await;
    until("it is restarted", async || {
        shop.stamp(BY_NAME).await.ok_or("not yet")
    })
    .await;
    let old = shop.workload(OLD).await;
    assert_eq!(old.data["spec"]["paused"], json!(true));
    assert_eq!(shop.observed(OLD).await, None, "{}", watcher.log());
}

/// A workload, and how it was made.
struct Ignored {
    workload: Workload,
    made: DynamicObject,
}

impl Ignored {
    async fn assert_left_alone(&self) {
        let now = self.workload.get().await.metadata;
        assert_eq!(now.uid, self.made.metadata.uid);
        let annotations = now.annotations.unwrap_or_default();
        assert!(!annotations.contains_key(OBSERVED), "{annotations:?}");
    }
}

/// A CronJob that runs nothing by itself, and a Job whose pods wait for a node that there is not.
async fn batch(shop: &Shop) -> [Ignored; 2] {
    let mut template = web_pod();
    template["spec"]["restartPolicy"] = json!("Never");
    template["spec"]["nodeSelector"] = json!({ "there": "is-none" });
    let job = json!({ "template": template });
    let cron_job = json!({ "schedule": "0 0 1 1 *", "jobTemplate": { "spec": job } });
    let cron_job = (CRON_JOB, CRON_JOB_TEMPLATE, cron_job);
    let made = [cron_job, (JOB, JOB_TEMPLATE, job)].map(async |(gvk, template, spec)| {
        let workload = Workload::of(shop, gvk, "report", template);
        let (group, version, kind) = gvk;
        let object = json!({
            "apiVersion": format!("{group}/{version}"), "kind": kind,
            "metadata": { "name": "report", "annotations": { AUTO: "true" } },
            "spec": spec,
        });
        let made = workload.create(object).await;
        Ignored { workload, made }
    });
    let [cron_job, job] = made;
    [cron_job.await, job.await]
}

type Bodies = Arc<Mutex<Vec<Value>>>;

/// A webhook that keeps what it is told; its URL.
async fn hook() -> (String, Bodies) {
    async fn keep(State(bodies): State<Bodies>, body: String) {
        let body = serde_json::from_str(&body).expect("JSON");
        bodies.lock().expect("no panic").push(body);
    }
    let bodies = Bodies::default();
    let router = Router::new()
        .route("/hook", post(keep))
        .with_state(bodies.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/hook"), bodies)
}

#[tokio::test]
async fn kinds_can_be_ignored_and_a_webhook_told_in_the_place_of_restarts() {
    let Some(ground) = Ground::own("fewer kinds").await else {
        return;
    };
    let flags = [
        "--resources-to-ignore=configmaps",
        "--ignored-workload-types=cronjobs,jobs",
    ];
    let watcher = ground.leading_watcher_with("fewer", &flags).await;
    let shop = Shop::open(&ground, "fewer").await;
    shop.set_password("one").await;
    shop.set_config_map("app", &[("level", "info")]).await;
    let files = ("Deployment", "files");
    let uses_files = pod(json!({ "envFrom": [{ "configMapRef": { "name": "app" } }] }));
    shop.create_workload(files, json!({ AUTO: "true" }), uses_files)
        .await;
    let batch = batch(&shop).await;
    let web = ("Deployment", "web");
    shop.create_workload(web, json!({ AUTO: "true" }), web_pod())
        .await;
    shop.until_recorded(&[web]).await;
    shop.set_config_map("app", &[("level", "debug")]).await;
    // What the first change leads to has come when the second one has.
    let mut stamp = None;
    for password in ["two", "three"] {
        shop.set_password(password).await;
        stamp = until("it is restarted", async || {
            let now = shop.stamp(web).await;
            if now == stamp { Err(now) } else { Ok(now) }
        })
        .await;
    }
    shop.until_rolled_out().await;
    let revisions = shop.revisions().await;
    assert_eq!(revisions["Deployment/web"], 3, "{}", watcher.log());
    assert_eq!(shop.observed(files).await, None);
    for it in &batch {
        it.assert_left_alone().await;
    }
    watcher.stop().await;

    let (url, told) = hook().await;
    let watcher = ground
        .leading_watcher_with("hook", &["--webhook-url", &url])
        .await;
    let db = json!({
        "webhook": "update successful", "type": "SECRET", "namespace": shop.namespace, "name": "db",
        "change": "updated",
    });
    for (times, password) in [(1, "four"), (2, "five")] {
        shop.set_password(password).await;
        until("it is told", async || {
            let told = told.lock().expect("no panic").clone();
            let of_db = told.iter().filter(|it| **it == db).count();
            if of_db == times { Ok(()) } else { Err(told) }
        })
        .await;
    }
    shop.until_rolled_out().await;
    assert_eq!(shop.stamp(web).await, stamp, "{}", watcher.log());
    assert_eq!(shop.revisions().await, revisions);
}
