//! What the webhook may do.

use restamp::stamp::annotations::AUTO;
use serde_json::json;

use super::{Right, Roles, WEBHOOK, until_logged, until_metric};
use crate::support::{
    Ground, Shop,
    shop::{web_pod, workload},
    wait::until,
};

pub(super) const RIGHTS: [Right; 2] = [("get", "", "configmaps"), ("get", "", "secrets")];

#[tokio::test]
async fn sources_that_the_webhook_may_not_read_are_named_and_stamped_once_it_may() {
    let Some((ground, _watcher, webhook)) = Ground::own_with_both("taking rights away").await
    else {
        return;
    };
    let roles = Roles::of(&ground, WEBHOOK).await;
    let shop = Shop::injected_on(&ground, "rights").await;
    shop.set_password("one").await;
    shop.set_config_map("app", &[("level", "info")]).await;
    let object = workload(("Deployment", "web"), &json!({ AUTO: "true" }), &web_pod());
    for (right, name) in RIGHTS.into_iter().zip(["app", "db"]) {
        roles.all_but(right).await;
        assert_eq!(shop.dry_run(&object).await, None, "nothing is refused");
        let (verb, _, resource) = right;
        let namespace = &shop.namespace;
        let told = format!(
            "may not {verb} {resource} {name:?} in namespace {namespace:?}: grant this right"
        );
        until_logged(&webhook.replica, &told).await;
        roles.all().await;
        until("it is stamped", async || {
            shop.dry_run(&object).await.ok_or("no stamp")
        })
        .await;
    }
    until_metric(&webhook.replica, "reason=\"Unreadable\"").await;
}
