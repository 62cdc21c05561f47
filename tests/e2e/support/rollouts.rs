//! Knowing when nothing is left to come, and counting the rollouts until then.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, api::ListParams};
use restamp::{
    cluster::kind::{KINDS, WorkloadKind},
    stamp::annotations::AUTO,
};
use serde_json::{Value, json};

use super::{
    ground::unique,
    shop::{Name, Shop, WEB, pod},
    wait::until,
};

/// Rollouts by workload, such as `Deployment/web`.
pub type Rollouts = BTreeMap<String, u64>;

/// A source and a workload that uses it, for each watch of sources: how far one has come says nothing
/// of the other.
const OF_SECRETS: &str = "sentinel-of-secrets";
const OF_CONFIG_MAPS: &str = "sentinel-of-config-maps";
const SENTINELS: [Name<'static>; 2] = [("Deployment", OF_SECRETS), ("Deployment", OF_CONFIG_MAPS)];

impl Shop {
    /// Adds the sentinels.
    pub async fn add_sentinels(&self) {
        self.set_sentinels(unique()).await;
        for (name, reference) in SENTINELS.into_iter().zip(["secretRef", "configMapRef"]) {
            let env = json!({ "envFrom": [{ reference: { "name": name.1 } }] });
            self.create_workload(name, json!({ AUTO: "true" }), pod(env))
                .await;
        }
    }

    /// Waits until Restamp has dealt with everything that happened before, and the controllers too: a
    /// change made now has led to a rollout, so whatever was to come of earlier ones has come.
    pub async fn until_quiet(&self) {
        self.until_recorded(&SENTINELS).await;
        let before = self.sentinel_templates().await;
        self.set_sentinels(unique()).await;
        until("the sentinels are restamped", async || {
            let now = self.sentinel_templates().await;
            if now.iter().zip(&before).all(|(now, before)| now != before) {
                Ok(())
            } else {
                Err(now)
            }
        })
        .await;
        self.until_rolled_out().await;
    }

    async fn set_sentinels(&self, n: u32) {
        let n = n.to_string();
        self.set_secret(OF_SECRETS, &[("n", &n)]).await;
        self.set_config_map(OF_CONFIG_MAPS, &[("n", &n)]).await;
    }

    async fn sentinel_templates(&self) -> Vec<Value> {
        let template = async |name| self.workload(name).await.data["spec"]["template"].take();
        join_all(SENTINELS.map(template)).await
    }

    /// Waits until the controllers have seen every workload as it is.
    pub async fn until_rolled_out(&self) {
        for kind in KINDS.iter().filter(|kind| kind.group == "apps") {
            until("the controllers have caught up", async || {
                self.caught_up(kind).await
            })
            .await;
        }
    }

    async fn caught_up(&self, kind: &WorkloadKind) -> Result<(), String> {
        let all = self
            .workloads(kind.kind)
            .list(&ListParams::default())
            .await
            .expect("a list");
        for object in all.items {
            let observed = object.data["status"]["observedGeneration"].as_i64();
            if observed < object.metadata.generation {
                return Err(format!("{:?}: {observed:?}", object.metadata.name));
            }
        }
        Ok(())
    }

    /// How often each workload (but the sentinels) was rolled out because of `action`.
    pub async fn rollouts(&self, action: impl Future<Output = ()>) -> Rollouts {
        let before = self.revisions().await;
        action.await;
        self.until_quiet().await;
        let after = self.revisions().await;
        let rolled = |(name, now): (String, u64)| {
            let rolled = now - before.get(&name).copied().unwrap_or(1);
            (name, rolled)
        };
        after.into_iter().map(rolled).collect()
    }

    /// Waits until `action` has had all of these restamped. Whoever begins to lead compares everything in an order of its
    /// own, so that sentinels say nothing of others.
    pub async fn until_restamped(&self, names: &[Name<'_>], action: impl Future<Output = ()>) {
        let stamps = || join_all(names.iter().map(|name| self.stamp(*name)));
        let before = stamps().await;
        action.await;
        until("all are restamped", async || {
            let now = stamps().await;
            let are_so = now.iter().zip(&before).all(|(now, before)| now != before);
            if are_so { Ok(()) } else { Err(now) }
        })
        .await;
    }

    /// The revision of each workload but the sentinels, as its controller counts them.
    pub async fn revisions(&self) -> Rollouts {
        let mut revisions = Rollouts::new();
        let deployments = self
            .workloads("Deployment")
            .list(&ListParams::default())
            .await
            .expect("a list");
        for object in deployments.items {
            let name = object.metadata.name.expect("a name");
            let annotations = object.metadata.annotations.unwrap_or_default();
            let revision = annotations.get("deployment.kubernetes.io/revision");
            let revision = revision.and_then(|text| text.parse().ok()).unwrap_or(1);
            revisions.insert(format!("Deployment/{name}"), revision);
        }
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), &self.namespace);
        for object in api
            .list(&ListParams::default())
            .await
            .expect("a list")
            .items
        {
            let owner = object
                .metadata
                .owner_references
                .unwrap_or_default()
                .remove(0);
            let revision = revisions
                .entry(format!("{}/{}", owner.kind, owner.name))
                .or_default();
            *revision = (*revision).max(object.revision.try_into().expect("positive"));
        }
        for (kind, name) in SENTINELS {
            revisions.remove(&format!("{kind}/{name}"));
        }
        revisions
    }
}

/// The same number of rollouts of each workload of a stocked shop.
pub fn each(count: u64) -> Rollouts {
    WEB.iter()
        .map(|(kind, name)| (format!("{kind}/{name}"), count))
        .collect()
}
