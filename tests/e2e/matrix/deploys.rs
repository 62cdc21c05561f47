//! P3 and P4 for every kind that the webhook of the manifests serves, with the default strategy: who deploys, and knows
//! nothing of us.

use futures::future::join_all;
use kube::api::{DynamicObject, PostParams};
use restamp::stamp::annotations::{OBSERVED, STAMP};
use serde_json::json;

use super::{
    CRDS, CRON_JOB_NAME,
    rows::{Count, Followed, ROWS},
};
use crate::support::{Ground, Shop, wait::until};

impl Followed {
    /// As it is, without anything of ours: as whoever wrote it would write it.
    async fn manifest_of_its_author(&self) -> DynamicObject {
        let mut object = self.workload.get().await;
        object
            .metadata
            .annotations
            .get_or_insert_default()
            .remove(OBSERVED);
        object.metadata.managed_fields = None;
        let template = object
            .data
            .pointer_mut(self.row.template)
            .expect("a template");
        if let Some(annotations) = template["metadata"]["annotations"].as_object_mut() {
            annotations.remove(STAMP);
        }
        object
    }

    /// Replaces it whole.
    async fn put(&self, change: impl Fn(&mut DynamicObject)) {
        until("it is replaced", async || {
            let mut object = self.manifest_of_its_author().await;
            change(&mut object);
            let params = PostParams::default();
            match self
                .workload
                .api
                .replace(self.row.name, &params, &object)
                .await
            {
                Err(kube::Error::Api(status)) if status.is_conflict() => Err("changed meanwhile"),
                replaced => {
                    replaced.expect("it can be replaced");
                    Ok(())
                }
            }
        })
        .await;
    }

    /// Replaces it with another image.
    async fn deploy(&self) {
        self.put(|object| {
            let template = object
                .data
                .pointer_mut(self.row.template)
                .expect("a template");
            template["spec"]["containers"][0]["image"] = json!("app:2");
        })
        .await;
    }

    /// Whether what it is made from can be changed at all.
    fn can_be_deployed(&self) -> bool {
        self.row.count != Count::Lives
    }
}

/// Every kind, made through the webhook.
async fn made(shop: &Shop) -> Vec<Followed> {
    for secret in ["ignored", "excluded"] {
        shop.set_secret(secret, &[("a", "one")]).await;
    }
    shop.set_password("one").await;
    shop.set_config_map("app", &[("level", "info")]).await;
    // The webhook of the manifests is not asked about kinds of one's own.
    let rows = ROWS.iter().filter(|row| row.name != "widget");
    let all = join_all(rows.map(|row| Followed::make(row, shop))).await;
    for it in &all {
        let annotations = it.first.metadata.annotations.as_ref().expect("some");
        assert!(annotations.contains_key(OBSERVED), "{}", it.row.name);
        let is_stamped = it.workload.stamp_of(&it.first).is_some();
        assert_eq!(is_stamped, it.can_be_deployed(), "{}", it.row.name);
    }
    shop.until_quiet().await;
    all
}

/// How often it is restarted by a deploy of configuration and workload.
async fn expected(it: &Followed) -> u64 {
    match it.row.count {
        // Whoever deploys a CronJob has not asked it to run.
        _ if it.row.name == CRON_JOB_NAME => 0,
        Count::WritesBesideTemplate => {
            let now = it.workload.get().await;
            assert_eq!(
                now.data["spec"]["restartAt"],
                json!(null),
                "the deploy did it"
            );
            1
        }
        _ => 1,
    }
}

#[tokio::test]
async fn every_kind_is_deployed_with_one_restart_and_shows_no_drift() {
    let Some((ground, watcher, _webhook)) = Ground::own_with_both("every kind's deploys").await
    else {
        return;
    };
    for crd in CRDS {
        ground.serve(crd).await;
    }
    let shop = Shop::injected_on(&ground, "deploys-of-every-kind").await;
    let all = made(&shop).await;
    for it in all.iter().chain(&all) {
        it.put(|_| {}).await;
    }
    shop.until_quiet().await;
    for it in &all {
        let now = it.workload.get().await;
        assert_eq!(it.workload.stamp_of(&now), it.workload.stamp_of(&it.first));
        let restarts = it.restarts(&shop).await;
        assert_eq!(restarts, 0, "{}: {}", it.row.name, watcher.log());
    }
    shop.set_password("two").await;
    let deployed = all.iter().filter(|it| it.can_be_deployed());
    join_all(deployed.map(Followed::deploy)).await;
    shop.until_quiet().await;
    for it in &all {
        let restarts = match it.row.count {
            Count::WritesBesideTemplate => it.workload.writes().await,
            _ => it.restarts(&shop).await,
        };
        let log = watcher.log();
        assert_eq!(restarts, expected(it).await, "{}: {log}", it.row.name);
    }
}
