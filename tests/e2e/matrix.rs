//! P1 and P2 for every kind of workload, under both strategies: whatever happens to a source restarts each of them as
//! often as it should. The workloads are side by side, and each restart is counted as its kind has it.
//!
//! Deployments, StatefulSets, DaemonSets, CronJobs and Jobs have their real controllers, and no node, so that a Job goes
//! on. The others have their kind alone: of a Rollout the real one, of a DeploymentConfig one of our own.

mod deploys;
pub mod rows;

use std::collections::BTreeMap;

use futures::future::join_all;
use restamp::stamp::{
    annotations::IGNORE, digest::Encoding, reloader::ContentHash, source::SourceKind,
};
use serde_json::{Value, json};

use crate::support::{Ground, Shop, replica::Replica, wait::until, workload::WIDGET_FLAG};
use rows::{CRON_JOB_NAME, Count, Followed, ROWS};

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
        shop.set_config_map("ignored", &[("a", "one")]).await;
        let ignore = json!({ "metadata": { "annotations": ignored() } });
        shop.patch_config_map("ignored", ignore).await;
        shop.set_config_map("excluded", &[("a", "one")]).await;
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
        self.with_flags_after(async |_| {}, flags).await
    }

    /// The same after something that happens while there is no watcher.
    async fn with_flags_after(self, action: impl AsyncFnOnce(&Shop), flags: &[&str]) -> Self {
        self.watcher.stop().await;
        action(&self.shop).await;
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
        let expected = self.restarts_and(times).await;
        action.await;
        self.until_restarts_are(expected, what).await;
    }

    /// Those that there are, and so many more.
    async fn restarts_and(&self, times: impl Fn(&str) -> u64) -> Restarts {
        let now = self.restarts().await.into_iter();
        now.map(|(name, it)| (name, it + times(name))).collect()
    }

    /// Waits until they are these, and stay so.
    async fn until_restarts_are(&self, expected: Restarts, what: &str) {
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
    let strategy = format!("--reload-strategy={strategy}");
    let flags = [&[WIDGET_FLAG, &strategy], flags].concat();
    ground.leading_watcher_with("matrix", &flags).await
}

fn ignored() -> Value {
    json!({ IGNORE: "true" })
}

/// Every template but those of Jobs and CronJobs has Reloader's variable of the Secret, if it is written at all.
async fn tells_by_variables(matrix: &Matrix) {
    let content = [("password", "two"), ("user", "app")];
    let content = content.map(|(key, value)| (key, Encoding::Binary, value.as_bytes()));
    let hash = ContentHash::of(SourceKind::Secret, &content).to_string();
    let variable = json!({ "name": "STAKATER_DB_SECRET", "value": hash });
    let is_written = |it: &&Followed| matches!(it.row.count, Count::Revisions | Count::Writes);
    for it in matrix.all.iter().filter(is_written) {
        let variables = it.variables().await;
        let has_it = variables
            .as_array()
            .is_some_and(|all| all.contains(&variable));
        assert!(has_it, "{}: {variables}", it.row.name);
    }
}

/// What every workload does, unless flags say otherwise.
async fn only_content_restarts(matrix: &Matrix) {
    let shop = &matrix.shop;
    shop.until_quiet().await;
    let adopted = matrix.restarts().await;
    assert!(adopted.values().all(|times| *times == 0), "{adopted:?}");
    let secret = shop.set_password("two");
    matrix.restarts_each(1, "content of a Secret", secret).await;
    if matrix.strategy == "env-vars" {
        tells_by_variables(matrix).await;
    }
    let config_map = shop.set_config_map("app", &[("level", "debug")]);
    matrix
        .restarts_each(1, "content of a ConfigMap", config_map)
        .await;
    let back = shop.set_password("one");
    matrix.restarts_each(1, "earlier content", back).await;
    let metadata = json!({ "labels": { "a": "b" }, "annotations": { "c": "d" } });
    let metadata = async {
        shop.annotate_secret("db", metadata.clone()).await;
        let metadata = json!({ "metadata": metadata });
        shop.patch_config_map("app", metadata).await;
    };
    matrix.restarts_each(0, "metadata", metadata).await;
    let again = async {
        shop.set_password("one").await;
        shop.set_config_map("app", &[("level", "debug")]).await;
    };
    matrix.restarts_each(0, "the same content", again).await;
}

/// No coming or going of a source does, nor what is ignored or excluded.
async fn the_rest_does_not(matrix: &Matrix) {
    let shop = &matrix.shop;
    let deletion = async {
        shop.delete_secret("db").await;
        shop.delete_config_map("app").await;
    };
    matrix.restarts_each(0, "a deletion", deletion).await;
    let return_ = async {
        shop.set_password("one").await;
        shop.set_config_map("app", &[("level", "debug")]).await;
    };
    matrix
        .restarts_each(0, "its return with the same content", return_)
        .await;
    let arrival = async {
        shop.set_secret("late", &[("a", "one")]).await;
        shop.set_config_map("late", &[("a", "one")]).await;
    };
    matrix.restarts_each(0, "an arrival", arrival).await;
    let change = shop.set_secret("late", &[("a", "two")]);
    matrix.restarts_each(1, "a change after it", change).await;
    let change = shop.set_config_map("late", &[("a", "two")]);
    matrix.restarts_each(1, "a change after it", change).await;
    let ignored = async {
        let data = [("a", "two")];
        shop.set_annotated_secret("ignored", ignored(), &data).await;
        shop.patch_config_map("ignored", json!({ "data": { "a": "two" } }))
            .await;
    };
    matrix.restarts_each(0, "an ignored source", ignored).await;
    let excluded = async {
        shop.set_secret("excluded", &[("a", "two")]).await;
        shop.set_config_map("excluded", &[("a", "two")]).await;
    };
    matrix
        .restarts_each(0, "an excluded source", excluded)
        .await;
}

/// What other flags make of it. Nothing happens because of the flags themselves.
async fn flags_add_to_it(matrix: Matrix) {
    let comings_and_goings = ["--reload-on-create=true", "--reload-on-delete", "true"];
    let once_more = matrix.restarts_and(|_| 1).await;
    let change = async |shop: &Shop| shop.set_password("three").await;
    let matrix = matrix.with_flags_after(change, &comings_and_goings).await;
    matrix
        .until_restarts_are(once_more, "content while the watcher is down")
        .await;
    let shop = &matrix.shop;
    let deletion = shop.delete_config_map("app");
    matrix.restarts_each(1, "a deletion", deletion).await;
    let return_ = shop.set_config_map("app", &[("level", "debug")]);
    matrix.restarts_each(1, "its return", return_).await;
    let arrival = shop.set_config_map("later", &[("a", "one")]);
    matrix.restarts_each(1, "an arrival", arrival).await;
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
        the_rest_does_not(&matrix).await;
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
