//! Every kind of workload, and how its restarts are counted.

use futures::{StreamExt, TryStreamExt};
use kube::{
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
    core::ObjectMeta,
};
use restamp::stamp::annotations::{AUTO, CONFIG_MAP_EXCLUDE, ROLLOUT_STRATEGY, SECRET_EXCLUDE};
use serde_json::{Value, json};

use crate::support::{
    Shop,
    shop::pod,
    workload::{CRON_JOB, CRON_JOB_TEMPLATE, Gvk, JOB, ROLLOUT, WIDGET, WIDGET_TEMPLATE, Workload},
};

const TEMPLATE: &str = "/spec/template";

/// How the restarts of a workload are counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Count {
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
pub struct Row {
    pub name: &'static str,
    pub gvk: Gvk,
    pub template: &'static str,
    pub count: Count,
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

pub const CRON_JOB_NAME: &str = "cron-job";
pub const ROWS: [Row; 9] = [
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

/// What each of them uses, of Secrets and of ConfigMaps.
const SECRETS: [&str; 5] = ["db", "ignored", "excluded", "late", "later"];
const CONFIG_MAPS: [&str; 5] = ["app", "ignored", "excluded", "late", "later"];

fn run_once(mut template: Value) -> Value {
    template["spec"]["restartPolicy"] = json!("Never");
    template
}

impl Row {
    pub fn manifest(&self) -> Value {
        let labels = json!({ "app": self.name });
        let secrets = SECRETS.map(|name| json!({ "secretRef": { "name": name } }));
        let config_maps = CONFIG_MAPS.map(|name| json!({ "configMapRef": { "name": name } }));
        let env_from: Vec<_> = secrets.into_iter().chain(config_maps).collect();
        let mut template = pod(json!({ "envFrom": env_from }));
        template["metadata"]["labels"] = labels.clone();
        template["spec"]["nodeSelector"] = json!({ "there": "is-none" });
        let (group, version, kind) = self.gvk;
        let mut manifest = json!({
            "apiVersion": format!("{group}/{version}"), "kind": kind,
            "metadata": { "name": self.name, "annotations": {
                AUTO: "true", SECRET_EXCLUDE: "excluded", CONFIG_MAP_EXCLUDE: "excluded",
            } },
            "spec": (self.spec)(template, labels),
        });
        if let Some(strategy) = self.rollout_strategy {
            manifest["metadata"]["annotations"][ROLLOUT_STRATEGY] = json!(strategy);
        }
        manifest
    }
}

/// A row, and what became of it.
pub struct Followed {
    pub row: &'static Row,
    pub workload: Workload,
    /// As it was made.
    pub first: DynamicObject,
}

impl Followed {
    pub async fn make(row: &'static Row, shop: &Shop) -> Self {
        let workload = Workload::of(shop, row.gvk, row.name, row.template);
        let first = workload.create(row.manifest()).await;
        Self {
            row,
            workload,
            first,
        }
    }

    /// The variables of its container.
    pub async fn variables(&self) -> Value {
        let now = self.workload.get().await;
        self.workload.template_of(&now)["spec"]["containers"][0]["env"].clone()
    }

    /// How often it was restarted since it was made.
    pub async fn restarts(&self, shop: &Shop) -> u64 {
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
