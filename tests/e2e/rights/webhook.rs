//! What the webhook may do.

use restamp::stamp::annotations::AUTO;
use serde_json::json;

use super::{Missed, Right, Roles, WEBHOOK, given::WEBHOOK_ROLE};
use crate::support::{
    Ground, Shop,
    shop::{web_pod, workload},
    wait::until,
};

pub(super) const RIGHTS: [Right; 2] = [
    Right::new(WEBHOOK_ROLE, "get", ("", "configmaps")),
    Right::new(WEBHOOK_ROLE, "get", ("", "secrets")),
];

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
        let missed = Missed::from_now_on(&webhook.replica, right).await;
        roles.all_but(right).await;
        let unreadable = "restamp_admissions_total{reason=\"Unreadable\"}";
        let before = webhook.replica.metric(unreadable).await;
        assert_eq!(shop.dry_run(&object).await, None, "nothing is refused");
        let namespace = &shop.namespace;
        missed
            .until_told(&format!("{name:?} in namespace {namespace:?}"))
            .await;
        assert_eq!(webhook.replica.metric(unreadable).await, before + 1.0);
        roles.all().await;
        until("it is stamped", async || {
            shop.dry_run(&object).await.ok_or("no stamp")
        })
        .await;
    }
}
