//! P1 and P2 for every kind of workload, under both strategies: whatever happens to a source restarts each of them as
//! often as it should. The workloads are side by side, and each restart is counted as its kind has it.
//!
//! Deployments, StatefulSets, DaemonSets, CronJobs and Jobs have their real controllers, and no node, so that a Job goes
//! on. The others have their kind alone: of a Rollout the real one, of a DeploymentConfig one of our own.

mod deploys;
pub mod rows;

use std::collections::BTreeMap;

use futures::future::join_all;
use restamp::stamp::annotations::IGNORE;
use serde_json::{Value, json};

use crate::support::{
    Ground, Shop, ground::SYSTEM, replica::Replica, wait::until, workload::WIDGET_FLAG,
};
use rows::{CRON_JOB_NAME, Followed, ROWS};

/// What is not built in.
const CRDS: [&str; 3] = [
    "rollouts.argoproj.io",
    "deploymentconfigs.apps.openshift.io",
    "widgets.example.com",
];

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
        for crd in CRDS {
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
