//! What a change costs, by the API server's own audit log.

use crate::support::{
    Ground, Shop, audit,
    shop::{WEB, web_pod},
    wait::until,
};
use serde_json::json;

const WATCHER: &str = "system:serviceaccount:restamp-system:restamp-watcher";
/// Its patches, as it counts them itself.
const PATCHES: &str = "method=\"PATCH\"";
/// How long after the change requests still count.
const AFTERWARDS: std::time::Duration = std::time::Duration::from_secs(30);

#[tokio::test]
async fn one_changed_secret_of_one_workload_costs_one_get_one_patch_one_event_and_no_list() {
    // Of one's own: the cost is that of the whole cluster.
    let Some(ground) = Ground::own("the cost of a change").await else {
        return;
    };
    let watcher = ground.leading_watcher("cost").await;
    let log = ground
        .audit_log()
        .expect("an own cluster has one")
        .to_owned();
    for (number, name) in WEB.into_iter().enumerate() {
        let shop = Shop::open(&ground, &format!("cost-{number}")).await;
        shop.set_secret("db", &[("password", "one")]).await;
        shop.set_config_map("app", &[("level", "info")]).await;
        shop.create_workload(
            name,
            json!({ "reloader.stakater.com/auto": "true" }),
            web_pod(),
        )
        .await;
        shop.until_recorded(&[name]).await;
        shop.until_quiet().await;

        let mark = audit::mark(&log);
        let counted_before = watcher.metric(PATCHES).await;
        shop.set_secret("db", &[("password", "two")]).await;
        until("it is restamped", async || {
            shop.stamp(name).await.ok_or("no stamp yet")
        })
        .await;
        until("the Event is there", async || {
            match shop.events(name, "Reloaded").await.len() {
                1 => Ok(()),
                count => Err(count),
            }
        })
        .await;
        assert_eq!(watcher.metric(PATCHES).await, counted_before + 1.0);
        // The claim is about a stretch of time, so time has to pass.
        tokio::time::sleep(AFTERWARDS).await;
        let mut asked: Vec<_> = audit::requests_since(&log, &mark, WATCHER)
            .iter()
            .map(audit::Request::to_line)
            .collect();
        asked.sort();
        let workload = format!("patch {} web", name.0.to_lowercase() + "s");
        assert_eq!(
            asked,
            ["create events", "get secrets db", &workload],
            "{}",
            watcher.log()
        );
    }
}
