//! P3 and P4 for every kind, with the default strategy: who deploys, and knows nothing of us.

use futures::future::join_all;
use kube::api::{DynamicObject, PostParams};
use restamp::stamp::annotations::{OBSERVED, STAMP};
use serde_json::{Value, json};

use super::{
    CRDS, CRON_JOB_NAME,
    rows::{Count, Followed, ROWS},
    watcher,
};
use crate::support::{
    Ground, Shop,
    ground::SYSTEM,
    wait::until,
    webhook::Webhook,
    workload::{WIDGET, WIDGET_FLAG, Workload},
};

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

/// Has the API server call the webhook for a kind of one's own, too, as docs/flags.md tells whoever gives one.
async fn ask_about_widgets(ground: &Ground) {
    let name = "mutatingwebhookconfiguration/restamp";
    let stored = ground.kubectl(&["get", name, "-o", "json"]).await;
    let mut configuration: Value = serde_json::from_str(&stored).expect("JSON");
    let webhook = &mut configuration["webhooks"][0];
    let mut rule = webhook["rules"][0].clone();
    rule["apiGroups"] = json!(["example.com"]);
    rule["resources"] = json!(["widgets"]);
    webhook["rules"].as_array_mut().expect("rules").push(rule);
    for condition in webhook["matchConditions"].as_array_mut().expect("some") {
        let text = condition["expression"].as_str().expect("a text");
        let text = text
            .replace(
                "key in it.?spec.?template.",
                "key in it.?spec.?job.?template.?metadata.?annotations.orValue({}) ||\nkey in it.?spec.?template.",
            )
            .replace(
                "object.?spec.?template != ",
                "object.?spec.?job != oldObject.?spec.?job || object.?spec.?template != ",
            );
        condition["expression"] = json!(text);
    }
    let file = ground.file("webhook.json", &configuration.to_string());
    let file = file.to_str().expect("UTF-8");
    ground.kubectl(&["replace", "-f", file]).await;
}

async fn until_asked_about_widgets(shop: &Shop) {
    let row = ROWS.iter().find(|row| row.gvk == WIDGET).expect("a row");
    let widget = Workload::of(shop, row.gvk, row.name, row.template);
    let object: DynamicObject = serde_json::from_value(row.manifest()).expect("an object");
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    until("the API server asks about widgets", async || {
        let made = widget.api.create(&params, &object).await;
        let stamp = widget.stamp_of(&made.expect("a dry run"));
        stamp.ok_or("a dry run is not stamped")
    })
    .await;
}

/// Every kind, made through the webhook.
async fn made(shop: &Shop) -> Vec<Followed> {
    for secret in ["ignored", "excluded"] {
        shop.set_secret(secret, &[("a", "one")]).await;
    }
    shop.set_password("one").await;
    shop.set_config_map("app", &[("level", "info")]).await;
    until_asked_about_widgets(shop).await;
    let all = join_all(ROWS.iter().map(|row| Followed::make(row, shop))).await;
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
    let Some(ground) = Ground::own("every kind's deploys").await else {
        return;
    };
    for crd in CRDS {
        ground.serve(crd).await;
    }
    let watcher = watcher(&ground, "annotations", &[]).await;
    let kubeconfig = ground.kubeconfig_of(SYSTEM, "restamp-webhook").await;
    let webhook = Webhook::start_with(&ground, "127.0.0.1", kubeconfig, &[WIDGET_FLAG]).await;
    webhook.be_called_at(&webhook.address).await;
    ask_about_widgets(&ground).await;
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
