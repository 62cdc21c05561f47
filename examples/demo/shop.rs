//! The shop of `shop.yaml`, and what the API server says about it.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, StatefulSet},
    core::v1::Secret,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{Result, ground::Ground};

/// Where it is.
pub const NAMESPACE: &str = "shop";

/// The workloads.
pub const NAMES: [&str; 3] = ["checkout", "catalog", "legacy"];

/// What there is, for people.
pub const DESCRIPTION: [&str; 3] = [
    r#"Deployment  checkout  a variable from Secret payment   reloader.stakater.com/auto: "true""#,
    r#"StatefulSet catalog   mounts ConfigMap products        reloader.stakater.com/auto: "true""#,
    r#"Deployment  legacy    a variable from Secret payment   no annotation: not opted in"#,
];

/// A number for each of [`NAMES`]: its revision, or how many revisions are to come.
pub type Revisions = [u64; 3];

const PROBE: &str = "probe";
/// No condition takes longer, the Lease of a dead watcher included.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// The shop on a cluster.
pub struct Shop<'a> {
    /// The administrator.
    pub client: Client,
    /// The cluster.
    pub ground: &'a Ground,
}

impl Shop<'_> {
    /// The revisions of the workloads, as their controllers count them.
    pub async fn revisions(&self) -> Result<Revisions> {
        let [checkout, catalog, legacy] = NAMES;
        Ok([
            self.revision_of_deployment(checkout).await?,
            self.revision_of_stateful_set(catalog).await?,
            self.revision_of_deployment(legacy).await?,
        ])
    }

    /// Waits until the revisions have come, and new pods with them.
    pub async fn until_rolled(&self, before: Revisions, expected: Revisions) -> Result<()> {
        until("a rollout", async || {
            let now = self.revisions().await?;
            let mut rows = now.iter().zip(before).zip(expected);
            let come = rows.all(|((now, before), more)| *now >= before + more);
            Ok(come && self.pods_are_new().await?)
        })
        .await
    }

    /// Waits until the watcher has dealt with all that happened before: it has restamped the probe for
    /// a change made now. And until the controllers have dealt with that.
    pub async fn until_quiet(&self) -> Result<()> {
        let before = self.stamp_of_probe().await?;
        let n = json!({ "stringData": { "n": format!("after {before:?}") } });
        let params = PatchParams::default();
        self.api::<Secret>()
            .patch(PROBE, &params, &Patch::Merge(n))
            .await?;
        until("the watcher", async || {
            Ok(self.stamp_of_probe().await? != before)
        })
        .await?;
        self.until_pods_are_new().await
    }

    /// Waits until the API server has taken in the configuration of the webhook.
    pub async fn until_webhook_is_called(&self) -> Result<()> {
        let container = json!({ "name": "app", "image": "app:1", "envFrom": [{
            "configMapRef": { "name": "kube-root-ca.crt" },
        }] });
        let labels = json!({ "app": "try" });
        let object = json!({
            "metadata": { "name": "try", "annotations": { "reloader.stakater.com/auto": "true" } },
            "spec": {
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
            },
        });
        let object: Deployment = serde_json::from_value(object)?;
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        until("the API server to call the webhook", async || {
            Ok(is_recorded(&self.api().create(&params, &object).await?))
        })
        .await
    }

    /// Waits until the watcher has recorded what each workload runs on.
    pub async fn until_recorded(&self) -> Result<()> {
        until("the watcher's records", async || {
            let [checkout, catalog, _] = NAMES;
            Ok(is_recorded(&self.api::<Deployment>().get(PROBE).await?)
                && is_recorded(&self.api::<Deployment>().get(checkout).await?)
                && is_recorded(&self.api::<StatefulSet>().get(catalog).await?))
        })
        .await
    }

    /// Waits until the controllers have rolled out every workload as it is.
    pub async fn until_pods_are_new(&self) -> Result<()> {
        until("the controllers", async || self.pods_are_new().await).await
    }

    async fn pods_are_new(&self) -> Result<bool> {
        Ok(self.are_rolled_out::<Deployment>().await?
            && self.are_rolled_out::<StatefulSet>().await?)
    }

    async fn are_rolled_out<K: Object>(&self) -> Result<bool> {
        let objects = self.api::<K>().list(&ListParams::default()).await?;
        let objects = serde_json::to_value(objects.items)?;
        Ok(objects.as_array().into_iter().flatten().all(is_rolled_out))
    }

    async fn revision_of_deployment(&self, name: &str) -> Result<u64> {
        let object = self.api::<Deployment>().get(name).await?;
        let revision = object
            .annotations()
            .get("deployment.kubernetes.io/revision");
        Ok(revision.map_or(Ok(0), |text| text.parse())?)
    }

    async fn revision_of_stateful_set(&self, name: &str) -> Result<u64> {
        let params = ListParams::default().labels(&format!("app={name}"));
        let revisions = self.api::<ControllerRevision>().list(&params).await?;
        let last = revisions.iter().map(|object| object.revision).max();
        Ok(u64::try_from(last.unwrap_or(0))?)
    }

    async fn stamp_of_probe(&self) -> Result<Option<Value>> {
        let object = serde_json::to_value(self.api::<Deployment>().get(PROBE).await?)?;
        let stamp = "/spec/template/metadata/annotations/restamp.dev~1config-hash";
        Ok(object.pointer(stamp).cloned())
    }

    fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }
}

trait Object:
    kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
{
}

impl<K> Object for K where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

fn is_recorded(object: &impl ResourceExt) -> bool {
    object.annotations().contains_key("restamp.dev/observed")
}

fn is_rolled_out(object: &Value) -> bool {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let wanted = number("/spec/replicas");
    number("/status/observedGeneration") == number("/metadata/generation")
        && ["replicas", "updatedReplicas", "readyReplicas"]
            .iter()
            .all(|count| number(&format!("/status/{count}")) == wanted)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while !holds().await? {
        if Instant::now() > deadline {
            return Err(format!("waited {DEADLINE:?} for {what}").into());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
