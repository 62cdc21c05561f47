//! A webhook that is killed in the middle of many deploys.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use futures::future::join_all;
use kube::api::{DynamicObject, PostParams};
use restamp::stamp::annotations::OBSERVED;
use serde_json::{Value, json};

use super::{manifest, shop_with_sources, until_current};
use crate::support::{
    Ground, Shop,
    deploys::{stamp_of, with_image},
    shop::WEB,
    wait::until,
    webhook::Webhook,
};

/// So many deploys, at least.
const DEPLOYS: usize = 200;
/// When the webhook is killed, and when it is started again.
const KILLED_AT: usize = 70;
const RESTARTED_AT: usize = 140;
/// So many deploys meet the webhook that was started again.
const AFTERWARDS: usize = 40;
const WRITERS: usize = 5;
/// One change of the configuration by a writer for so many deploys of it.
const CHANGE_EVERY: usize = 10;

/// How far the stream is, and whether the webhook serves.
#[derive(Default)]
struct Stream {
    deploys: AtomicUsize,
    /// Odd while it is down.
    outages: AtomicUsize,
    ended: AtomicBool,
}

/// What became of a deploy.
struct Deployed {
    kind: &'static str,
    name: String,
    stamped: bool,
    /// Whether the webhook was there all the time; nothing if it came or went meanwhile.
    served: Option<bool>,
}

impl Stream {
    async fn until(&self, deploys: usize) {
        until("the stream has come so far", async || {
            let now = self.deploys.load(SeqCst);
            if now >= deploys { Ok(()) } else { Err(now) }
        })
        .await;
    }

    /// Kills the webhook in the middle, starts it again, and ends the stream.
    async fn break_it(&self, webhook: &mut Webhook) {
        self.until(KILLED_AT).await;
        self.outages.fetch_add(1, SeqCst);
        webhook.replica.kill();
        self.until(RESTARTED_AT).await;
        webhook.restart().await;
        self.outages.fetch_add(1, SeqCst);
        let afterwards = self.deploys.load(SeqCst) + AFTERWARDS;
        self.until(afterwards.max(DEPLOYS)).await;
        self.ended.store(true, SeqCst);
    }

    /// Creates and updates workloads of all kinds, and changes what they use, until the stream ends. No
    /// request may be refused.
    async fn write(&self, shop: &Shop, writer: usize) -> Vec<Deployed> {
        let mut deployed = Vec::new();
        for n in 0.. {
            if self.ended.load(SeqCst) {
                break;
            }
            if n % CHANGE_EVERY == CHANGE_EVERY - 1 {
                shop.set_password(&format!("{writer}-{n}")).await;
            }
            // A new one, then an update of one that is neither the newest nor always the same.
            let number = if n % 2 == 0 { n / 2 } else { n / 4 };
            let (kind, _) = WEB[number % WEB.len()];
            let name = format!("w{writer}-{number}");
            let manifest = idle(with_image(&manifest((kind, &name)), &format!("app:{n}")));
            let before = self.outages.load(SeqCst);
            let object = deploy(shop, kind, &manifest, n % 2 == 0).await;
            let steady = before == self.outages.load(SeqCst);
            deployed.push(Deployed {
                kind,
                name,
                stamped: stamp_of(&object).is_some(),
                served: steady.then_some(before.is_multiple_of(2)),
            });
            self.deploys.fetch_add(1, SeqCst);
        }
        deployed
    }
}

async fn deploy(shop: &Shop, kind: &str, manifest: &Value, create: bool) -> DynamicObject {
    let object: DynamicObject = serde_json::from_value(manifest.clone()).expect("an object");
    let (api, params) = (shop.workloads(kind), PostParams::default());
    let written = if create {
        api.create(&params, &object).await
    } else {
        let name = object.metadata.name.clone().expect("a name");
        api.replace(&name, &params, &object).await
    };
    written.expect("nothing is refused")
}

/// Without pods, which are not what this is about.
fn idle(mut manifest: Value) -> Value {
    manifest["spec"]["template"]["spec"]["nodeSelector"] = json!({ "node": "none" });
    if manifest["kind"] != "DaemonSet" {
        manifest["spec"]["replicas"] = json!(0);
    }
    manifest
}

#[tokio::test]
async fn p5_killed_in_a_stream_of_deploys_nothing_is_refused_and_all_is_made_good() {
    let Some((ground, watcher, mut webhook)) = Ground::own_with_both("killing the webhook").await
    else {
        return;
    };
    let shop = shop_with_sources(&ground, "stream").await;
    let failed_open = ground.failed_open().await;
    let stream = Stream::default();
    let writers = (0..WRITERS).map(|writer| stream.write(&shop, writer));
    let (deployed, ()) = tokio::join!(join_all(writers), stream.break_it(&mut webhook));
    let deployed: Vec<_> = deployed.into_iter().flatten().collect();

    assert!(deployed.len() >= DEPLOYS, "{}", deployed.len());
    let of = |served: bool, stamped: bool| {
        let those = deployed.iter().filter(move |it| it.served == Some(served));
        let those = those.filter(move |it| it.stamped == stamped);
        those.map(|it| (it.kind, &it.name)).collect::<Vec<_>>()
    };
    let log = webhook.replica.log();
    // On a machine that is busy with other tests, reads may take longer than a deploy is held up for.
    let mut unexcused = of(true, false);
    unexcused
        .retain(|(_, name)| !log.contains(&format!("/{name}\" error=its sources were not read")));
    assert_eq!(unexcused, [], "while it served, all are stamped: {log}");
    assert!(
        of(true, true).len() >= KILLED_AT,
        "it served most of the time"
    );
    let unstamped = of(false, false);
    assert!(!unstamped.is_empty(), "some were written without it");
    assert!(ground.failed_open().await >= failed_open + unstamped.len() as f64);

    shop.until_quiet().await;
    let mut all: Vec<_> = deployed
        .iter()
        .map(|it| (it.kind, it.name.clone()))
        .collect();
    all.sort();
    all.dedup();
    until_current(&shop, &all).await;
    for (kind, _) in WEB {
        let listed = shop.workloads(kind).list(&Default::default()).await;
        for object in listed.expect("a list").items {
            let annotations = object.metadata.annotations.clone().unwrap_or_default();
            let name = object.metadata.name.as_deref().unwrap_or_default();
            assert!(annotations.contains_key(OBSERVED), "{kind} {name}");
        }
    }
    assert!(!watcher.log().contains("panicked"), "{}", watcher.log());
}
