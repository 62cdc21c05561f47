//! Pause periods, on a cluster of its own, since its watcher is started again.

use jiff::{Timestamp, ToSpan};
use restamp::stamp::annotations::{AUTO, PAUSE_PERIOD, PAUSED_AT};
use serde_json::{Value, json};

use crate::support::{
    Ground, Shop,
    rollouts::Rollouts,
    shop::{Name, web_pod},
    wait::until,
};

const LONG: Name<'static> = ("Deployment", "long");
const SHORT: Name<'static> = ("Deployment", "short");
const FREED: Name<'static> = ("Deployment", "freed");
const OTHER: Name<'static> = ("StatefulSet", "other");

/// Rollouts of all Deployments, and of the other one.
fn counted(deployments: u64, other: u64) -> Rollouts {
    let counts = [LONG, SHORT, FREED].map(|name| (name, deployments));
    let counts = counts.into_iter().chain([(OTHER, other)]);
    let counts = counts.map(|((kind, name), count)| (format!("{kind}/{name}"), count));
    counts.collect()
}

async fn annotate(shop: &Shop, name: Name<'_>, period: &Value) {
    let patch = json!({ "metadata": { "annotations": { PAUSE_PERIOD: period } } });
    shop.patch_workload(name, "someone", patch).await;
}

#[tokio::test]
async fn a_pause_period_holds_back_further_restarts_and_outlives_the_watcher() {
    let Some(ground) = Ground::own("pause periods").await else {
        return;
    };
    let mut leader = ground.leading_watcher("leader").await;
    let standby = ground.watcher("standby").await;
    standby.until_ready().await;
    let shop = Shop::open(&ground, "pauses").await;
    shop.set_password("one").await;
    shop.set_config_map("app", &[("a", "b")]).await;
    for name in [LONG, SHORT, FREED, OTHER] {
        let annotations = json!({ AUTO: "true", PAUSE_PERIOD: "1h" });
        shop.create_workload(name, annotations, web_pod()).await;
    }
    shop.until_recorded(&[LONG, SHORT, FREED, OTHER]).await;
    shop.until_quiet().await;
    let first = shop.rollouts(shop.set_password("two")).await;
    assert_eq!(first, counted(1, 1), "the first restart is at once");
    let second = shop.rollouts(shop.set_password("three")).await;
    assert_eq!(second, counted(0, 1), "only Deployments pause");
    let explained = ["explain", "deployment/long", "-n", &shop.namespace];
    let (_, out, _) = ground.restamp(ground.kubeconfig(), &explained).await;
    assert!(
        out.contains("its pause period holds that back until"),
        "{out}"
    );
    let crash = async {
        leader.kill();
        standby.until_leading().await;
    };
    let crash = shop.rollouts(crash).await;
    assert_eq!(crash, counted(0, 0), "{}", standby.log());
    let restart = async {
        standby.stop().await;
        leader = ground.leading_watcher("next").await;
    };
    let restart = shop.rollouts(restart).await;
    assert_eq!(restart, counted(0, 0), "{}", leader.log());
    let paused = shop.workload(LONG).await.data["spec"]["paused"].clone();
    assert_eq!(paused, Value::Null);

    let ended = async {
        annotate(&shop, LONG, &json!("soon")).await;
        annotate(&shop, SHORT, &json!("1ms")).await;
        annotate(&shop, FREED, &Value::Null).await;
    };
    assert_eq!(shop.rollouts(ended).await, counted(1, 0));
    what_is_held_back_is_made_up_for(&shop).await;
}

async fn what_is_held_back_is_made_up_for(shop: &Shop) {
    annotate(shop, SHORT, &json!("5s")).await;
    shop.set_password("four").await;
    until("the second one is under way", async || {
        let long = shop.revisions().await["Deployment/long"];
        if long == 4 { Ok(()) } else { Err(long) }
    })
    .await;
    shop.set_password("five").await;
    until("both are restarted for the last change", async || {
        let (long, short) = (shop.conclusion(LONG).await, shop.conclusion(SHORT).await);
        if [&*long, &*short] == ["Current", "Current"] {
            Ok(())
        } else {
            Err((long, short))
        }
    })
    .await;
}

#[tokio::test]
async fn what_reloader_left_paused_is_resumed_when_that_is_due() {
    let (ground, _watcher) = Ground::shared_with_watcher().await;
    let shop = Shop::open(&ground, "left-paused").await;
    let ago = |minutes: i64| Timestamp::now() - minutes.minutes();
    let at = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let left = [
        (
            "due",
            json!({ PAUSE_PERIOD: "5m", PAUSED_AT: at(ago(60)) }),
            true,
        ),
        ("without-period", json!({ PAUSED_AT: at(ago(0)) }), true),
        (
            "unreadable",
            json!({ PAUSE_PERIOD: "1h", PAUSED_AT: "noon" }),
            true,
        ),
        (
            "early",
            json!({ PAUSE_PERIOD: "1h", PAUSED_AT: at(ago(0)) }),
            false,
        ),
        ("by-hand", json!({ PAUSE_PERIOD: "5m" }), false),
    ];
    for (name, annotations, _) in &left {
        let mut annotations = annotations.clone();
        annotations[AUTO] = json!("true");
        let name = ("Deployment", *name);
        shop.create_workload(name, annotations, web_pod()).await;
        let pause = json!({ "spec": { "paused": true } });
        shop.patch_workload(name, "reloader", pause).await;
    }
    for (name, _, resumes) in &left {
        let name = ("Deployment", *name);
        if !resumes {
            continue;
        }
        until("it is resumed", async || {
            let found = shop.workload(name).await;
            let annotations = found.metadata.annotations.unwrap_or_default();
            let is_paused = found.data["spec"]["paused"] == json!(true);
            match is_paused || annotations.contains_key(PAUSED_AT) {
                true => Err(annotations),
                false => Ok(()),
            }
        })
        .await;
        until("it is said", async || {
            let said = shop.events(name, "Resumed").await;
            if said.is_empty() { Err(name) } else { Ok(()) }
        })
        .await;
    }
    shop.until_quiet().await;
    for (name, _, _) in left.iter().filter(|(_, _, resumes)| !resumes) {
        let found = shop.workload(("Deployment", name)).await;
        assert_eq!(found.data["spec"]["paused"], json!(true), "{name}");
    }
}
