//! P1 and P2 for every kind of workload, under both strategies: whatever happens to a source restarts each of them as
//! often as it should. The workloads are side by side, and each restart is counted as its kind has it.
//!
//! Deployments, StatefulSets, DaemonSets, CronJobs and Jobs have their real controllers, and no node, so that a Job goes
//! on. The others have their kind alone: of a Rollout the real one, of a DeploymentConfig one of our own.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, future::join_all};
use kube::{
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
    core::ObjectMeta,
};
use restamp::stamp::annotations::{AUTO, IGNORE, ROLLOUT_STRATEGY, SECRET_EXCLUDE};
use serde_json::{Value, json};

use crate::support::{
    Ground, Shop,
    ground::SYSTEM,
    replica::Replica,
    shop::pod,
    wait::until,
    workload::{
        CRON_JOB, CRON_JOB_TEMPLATE, Gvk, ROLLOUT, WIDGET, WIDGET_FLAG, WIDGET_TEMPLATE, Workload,
    },
};

const JOB: Gvk = ("batch", "v1", "Job");
const TEMPLATE: &str = "/spec/template";

/// How the restarts of a workload are counted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Count {
    /// As its controller counts the revisions of its template.
    Revisions,
    /// By the writes of its spec: nobody but Restamp writes that.
    Writes,
    /// So, and the template is never one of them.
    WritesBesideTemplate,
    /// By the Jobs that it owns.
    Runs,
    /// By the objects that have had its name.
    Lives,
}

/// A workload of the matrix.
struct Row {
    name: &'static str,
    gvk: Gvk,
    template: &'static str,
    count: Count,
    /// Of what else its author writes, the strategy of a Rollout.
    rollout_strategy: Option<&'static str>,
    /// Puts a pod template with these labels into a spec.
    spec: fn(Value, Value) -> Value,
}

const fn apps(kind: &'static str, name: &'static str) -> Row {
    Row {
        name,
        gvk: ("apps", "v1", kind),
        template: TEMPLATE,
        count: Count::Revisions,
        rollout_strategy: None,
        spec: |template, labels| json!({ "selector": { "matchLabels": labels }, "template": template }),
    }
}

const fn rollout(name: &'static str, strategy: &'static str, count: Count) -> Row {
    Row {
        name,
        gvk: ROLLOUT,
        template: TEMPLATE,
        count,
        rollout_strategy: Some(strategy),
        spec: |template, labels| {
            json!({
                "selector": { "matchLabels": labels }, "strategy": { "canary": {} }, "template": template,
            })
        },
    }
}

const CRON_JOB_NAME: &str = "cron-job";
const ROWS: [Row; 9] = [
    apps("Deployment", "deployment"),
    apps("StatefulSet", "stateful-set"),
    apps("DaemonSet", "daemon-set"),
    Row {
        name: CRON_JOB_NAME,
        gvk: CRON_JOB,
        template: CRON_JOB_TEMPLATE,
        count: Count::Runs,
        rollout_strategy: None,
        // Runs by itself on the first of January only.
        spec: |template, _| {
            let template = run_once(template);
            json!({ "schedule": "0 0 1 1 *", "jobTemplate": { "spec": { "template": template } } })
        },
    },
    Row {
        name: "job",
        gvk: JOB,
        template: TEMPLATE,
        count: Count::Lives,
        rollout_strategy: None,
        spec: |template, _| json!({ "template": run_once(template) }),
    },
    rollout("rollout", "rollout", Count::Writes),
    rollout("rollout-in-place", "restart", Count::WritesBesideTemplate),
    Row {
        name: "deployment-config",
        gvk: ("apps.openshift.io", "v1", "DeploymentConfig"),
        template: TEMPLATE,
        count: Count::Writes,
        rollout_strategy: None,
        spec: |template, labels| {
            json!({
                "replicas": 1, "selector": labels, "strategy": { "type": "Rolling" },
                "triggers": [{ "type": "ConfigChange" }], "template": template,
            })
        },
    },
    Row {
        name: "widget",
        gvk: WIDGET,
        template: WIDGET_TEMPLATE,
        count: Count::Writes,
        rollout_strategy: None,
        spec: |template, _| json!({ "job": { "template": template } }),
    },
];

/// What each of them uses.
const SECRETS: [&str; 5] = ["db", "ignored", "excluded", "late", "later"];

fn run_once(mut template: Value) -> Value {
    template["spec"]["restartPolicy"] = json!("Never");
    template
}

impl Row {
    fn manifest(&self) -> Value {
        let labels = json!({ "app": self.name });
        let secrets = SECRETS.map(|name| json!({ "secretRef": { "name": name } }));
        let config_map = json!({ "configMapRef": { "name": "app" } });
        let env_from: Vec<_> = secrets.into_iter().chain([config_map]).collect();
        let mut template = pod(json!({ "envFrom": env_from }));
        template["metadata"]["labels"] = labels.clone();
        template["spec"]["nodeSelector"] = json!({ "there": "is-none" });
        let (group, version, kind) = self.gvk;
        let mut manifest = json!({
            "apiVersion": format!("{group}/{version}"), "kind": kind,
            "metadata": { "name": self.name, "annotations": { AUTO: "true", SECRET_EXCLUDE: "excluded" } },
            "spec": (self.spec)(template, labels),
        });
        if let Some(strategy) = self.rollout_strategy {
            manifest["metadata"]["annotations"][ROLLOUT_STRATEGY] = json!(strategy);
        }
        manifest
    }
}

/// A row, and what became of it.
struct Followed {
    row: &'static Row,
    workload: Workload,
    /// As it was made.
    first: DynamicObject,
}

impl Followed {
    async fn make(row: &'static Row, shop: &Shop) -> Self {
        let workload = Workload::of(shop, row.gvk, row.name, row.template);
        let first = workload.create(row.manifest()).await;
        Self {
            row,
            workload,
            first,
        }
    }

    /// How often it was restarted since it was made.
    async fn restarts(&self, shop: &Shop) -> u64 {
        match self.row.count {
            Count::Revisions => {
                let name = format!("{}/{}", self.row.gvk.2, self.row.name);
                shop.revisions().await.get(&name).map_or(0, |it| it - 1)
            }
            Count::Writes => self.workload.writes().await,
            Count::WritesBesideTemplate => {
                let now = self.workload.get().await;
                let [before, now] =
                    [&self.first, &now].map(|state| self.workload.template_of(state));
                assert_eq!(before, now);
                self.workload.writes().await
            }
            Count::Runs => self.runs(shop).await,
            Count::Lives => self.lives().await,
        }
    }

    async fn runs(&self, shop: &Shop) -> u64 {
        let jobs = shop.api_of(JOB).list(&ListParams::default()).await;
        let owners = jobs.expect("a list").items.into_iter();
        let owners = owners.flat_map(|job| job.metadata.owner_references.unwrap_or_default());
        let ours = owners.filter(|owner| Some(&owner.uid) == self.first.metadata.uid.as_ref());
        ours.count() as u64
    }

    /// What the API server made of that name, from the first one up to the one that is there.
    async fn lives(&self) -> u64 {
        let Some(last) = self.workload.find().await else {
            return 0;
        };
        let ObjectMeta {
            mut uid,
            resource_version,
            ..
        } = self.first.metadata.clone();
        let since = resource_version.expect("a version");
        let name = format!("metadata.name={}", self.row.name);
        let params = WatchParams::default().fields(&name);
        let events = self.workload.api.watch(&params, &since).await;
        let mut events = events.expect("a watch").boxed();
        let mut lives = 0;
        while uid != last.metadata.uid {
            let event = events.try_next().await.expect("an event");
            if let WatchEvent::Added(made) = event.expect("the one that is there") {
                lives += 1;
                uid = made.metadata.uid;
            }
        }
        lives
    }
}

/// Restarts by workload.
type Restarts = BTreeMap<&'static str, u64>;

struct Matrix {
    ground: Ground,
    strategy: &'static str,
    watcher: Replica,
    shop: Shop,
    all: Vec<Followed>,
}

impl Matrix {
    /// Every workload, recorded and at rest, on a cluster of its own.
    async fn open(strategy: &'static str) -> Option<Self> {
        let ground = Ground::own(strategy).await?;
        for crd in [
            "rollouts.argoproj.io",
            "deploymentconfigs.apps.openshift.io",
            "widgets.example.com",
        ] {
            ground.serve(crd).await;
        }
        let watcher = watcher(&ground, strategy, &[]).await;
        let shop = Shop::open(&ground, "matrix").await;
        shop.set_password("one").await;
        shop.set_config_map("app", &[("level", "info")]).await;
        shop.set_annotated_secret("ignored", ignored(), &[("a", "one")])
            .await;
        shop.set_secret("excluded", &[("a", "one")]).await;
        let all = join_all(ROWS.iter().map(|row| Followed::make(row, &shop))).await;
        join_all(all.iter().map(|it| it.workload.until_recorded())).await;
        Some(Self {
            ground,
            strategy,
            watcher,
            shop,
            all,
        })
    }

    /// The same with a watcher that has these flags.
    async fn with_flags(self, flags: &[&str]) -> Self {
        self.watcher.stop().await;
        let watcher = watcher(&self.ground, self.strategy, flags).await;
        Self { watcher, ..self }
    }

    async fn restarts(&self) -> Restarts {
        let restarts = async |it: &Followed| (it.row.name, it.restarts(&self.shop).await);
        join_all(self.all.iter().map(restarts))
            .await
            .into_iter()
            .collect()
    }

    /// What happens restarts every workload so often.
    async fn restarts_each(&self, times: u64, what: &str, action: impl Future<Output = ()>) {
        self.restarts_as(|_| times, what, action).await;
    }

    async fn restarts_as(
        &self,
        times: impl Fn(&str) -> u64,
        what: &str,
        action: impl Future<Output = ()>,
    ) {
        let before = self.restarts().await.into_iter();
        let expected: Restarts = before.map(|(name, it)| (name, it + times(name))).collect();
        action.await;
        until(what, async || {
            let now = self.restarts().await;
            let is_due = now.iter().all(|(name, it)| *it >= expected[name]);
            is_due.then_some(()).ok_or((now, &expected))
        })
        .await;
        self.shop.until_quiet().await;
        let (log, now) = (self.watcher.log(), self.restarts().await);
        assert_eq!(now, expected, "{}, {what}: {log}", self.strategy);
    }
}

async fn watcher(ground: &Ground, strategy: &str, flags: &[&str]) -> Replica {
    let kubeconfig = ground.kubeconfig_of(SYSTEM, "restamp-watcher").await;
    let strategy = format!("--reload-strategy={strategy}");
    let flags = [&[WIDGET_FLAG, &strategy], flags].concat();
    let watcher = ground.watcher_with("matrix", &kubeconfig, &flags);
    watcher.until_leading().await;
    watcher
}

fn ignored() -> Value {
    json!({ IGNORE: "true" })
}

/// What every workload does, unless flags say otherwise.
async fn only_content_restarts(matrix: &Matrix) {
    let shop = &matrix.shop;
    shop.until_quiet().await;
    let adopted = matrix.restarts().await;
    assert!(adopted.values().all(|times| *times == 0), "{adopted:?}");
    let secret = shop.set_password("two");
    matrix.restarts_each(1, "content of a Secret", secret).await;
    let config_map = shop.set_config_map("app", &[("level", "debug")]);
    matrix
        .restarts_each(1, "content of a ConfigMap", config_map)
        .await;
    let back = shop.set_password("one");
    matrix.restarts_each(1, "earlier content", back).await;
    let metadata = json!({ "labels": { "a": "b" }, "annotations": { "c": "d" } });
    let metadata = shop.annotate_secret("db", metadata);
    matrix.restarts_each(0, "metadata", metadata).await;
    let again = shop.set_password("one");
    matrix.restarts_each(0, "the same content", again).await;
    let deletion = shop.delete_secret("db");
    matrix.restarts_each(0, "a deletion", deletion).await;
    let return_ = shop.set_password("one");
    matrix
        .restarts_each(0, "its return with the same content", return_)
        .await;
    let arrival = shop.set_secret("late", &[("a", "one")]);
    matrix.restarts_each(0, "an arrival", arrival).await;
    let change = shop.set_secret("late", &[("a", "two")]);
    matrix.restarts_each(1, "a change after it", change).await;
    let ignored = shop.set_annotated_secret("ignored", ignored(), &[("a", "two")]);
    matrix.restarts_each(0, "an ignored source", ignored).await;
    let excluded = shop.set_secret("excluded", &[("a", "two")]);
    matrix
        .restarts_each(0, "an excluded source", excluded)
        .await;
}

/// What other flags make of it. Nothing happens because of the flags themselves.
async fn flags_add_to_it(matrix: Matrix) {
    let comings_and_goings = ["--reload-on-create=true", "--reload-on-delete", "true"];
    let matrix = matrix.with_flags(&comings_and_goings).await;
    let shop = &matrix.shop;
    matrix.restarts_each(0, "other flags", async {}).await;
    let deletion = shop.delete_secret("db");
    matrix.restarts_each(1, "a deletion", deletion).await;
    let return_ = shop.set_password("one");
    matrix.restarts_each(1, "its return", return_).await;
    let arrival = shop.set_secret("later", &[("a", "one")]);
    matrix.restarts_each(1, "an arrival", arrival).await;
    let matrix = matrix.with_flags(&["--run-cronjobs-on-change=false"]).await;
    let change = matrix.shop.set_password("two");
    let but_cron_jobs = |name: &str| u64::from(name != CRON_JOB_NAME);
    matrix
        .restarts_as(but_cron_jobs, "content without runs", change)
        .await;
}

async fn holds(strategy: &'static str) {
    if let Some(matrix) = Matrix::open(strategy).await {
        only_content_restarts(&matrix).await;
        flags_add_to_it(matrix).await;
    }
}

#[tokio::test]
async fn every_kind_restarts_once_for_each_change_and_for_nothing_else() {
    holds("annotations").await;
}

#[tokio::test]
async fn every_kind_restarts_once_for_each_change_and_for_nothing_else_with_env_vars() {
    holds("env-vars").await;
}
