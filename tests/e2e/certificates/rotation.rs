//! Rotations, while workloads are created.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use kube::api::{DynamicObject, PostParams};
use restamp::stamp::annotations::AUTO;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::site::{AUTHORITY, SERVING, Server, Site, until_logged};
use crate::support::{
    Shop,
    deploys::stamp_of,
    replica::Replica,
    shop::{pod, workload},
    wait::until,
};

/// By how much an API server may lag that learns of a `caBundle`; less than the time that is waited for that.
const LAG: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// Workloads that are created, and servers that are tried, until it is over.
#[derive(Default)]
pub struct Stream {
    is_over: AtomicBool,
    unstamped: Mutex<Vec<String>>,
    distrusted: Mutex<Vec<String>>,
}

impl Stream {
    fn goes_on(&self) -> bool {
        !self.is_over.load(SeqCst)
    }

    /// Creates workloads. None may be refused. Gives how many.
    async fn create(&self, shop: &Shop) -> usize {
        let mut count = 0;
        while self.goes_on() {
            let name = format!("web-{count}");
            if stamp_of(&create(shop, &name).await).is_none() {
                self.unstamped.lock().expect("unpoisoned").push(name);
            }
            count += 1;
            sleep(PAUSE).await;
        }
        count
    }

    /// Tries both servers with what an API server trusts: one that is up to date, and one that lags.
    async fn try_out(&self, site: &Site, servers: &[Server]) {
        let mut bundles: VecDeque<(Instant, Vec<CertificateDer<'static>>)> = VecDeque::new();
        while self.goes_on() {
            bundles.push_back((Instant::now(), site.bundle().await));
            while bundles.get(1).is_some_and(|(at, _)| at.elapsed() >= LAG) {
                bundles.pop_front();
            }
            for (at, bundle) in [bundles.front(), bundles.back()].into_iter().flatten() {
                for server in servers {
                    if let Err(error) = server.is_trusted(bundle).await {
                        let complaint = format!(
                            "{error}, with {} CAs of {:?} ago",
                            bundle.len(),
                            at.elapsed()
                        );
                        self.distrusted.lock().expect("unpoisoned").push(complaint);
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Goes on until `what` is over; nothing may have been refused, unstamped or distrusted.
    pub async fn during(self, site: &Site, servers: &[Server], what: impl Future<Output = ()>) {
        let shop = shop(site).await;
        let what = async {
            what.await;
            self.is_over.store(true, SeqCst);
        };
        let streams = async { tokio::join!(self.create(&shop), self.try_out(site, servers)).0 };
        let (created, ()) = tokio::join!(streams, what);
        self.assert_unharmed(servers);
        assert!(created > 100, "{created}");
    }

    fn assert_unharmed(&self, servers: &[Server]) {
        let distrusted = self.distrusted.lock().expect("unpoisoned");
        assert!(distrusted.is_empty(), "{distrusted:?}");
        // On a machine that is busy with other tests, reads may take longer than a creation is held up for.
        let logs: String = servers.iter().map(|server| server.replica.log()).collect();
        let mut unstamped = self.unstamped.lock().expect("unpoisoned").clone();
        unstamped
            .retain(|name| !logs.contains(&format!("/{name}\" error=its sources were not read")));
        assert!(unstamped.is_empty(), "{unstamped:?}: {logs}");
    }
}

async fn create(shop: &Shop, name: &str) -> DynamicObject {
    let env = json!({ "envFrom": [{ "configMapRef": { "name": "kube-root-ca.crt" } }] });
    let mut object = workload(("Deployment", name), &json!({ AUTO: "true" }), &pod(env));
    object["spec"]["replicas"] = json!(0);
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    let api = shop.workloads("Deployment");
    let made = api.create(&PostParams::default(), &object).await;
    made.expect("nothing is refused")
}

/// Waits until every replica has taken in a certificate that the one before is not.
pub async fn until_served(servers: &[Server], at_least: usize) {
    for server in servers {
        until("a new certificate is served", async || {
            let log = server.replica.log();
            match log.matches("serving a new certificate").count() {
                count if count >= at_least => Ok(()),
                count => Err((count, log)),
            }
        })
        .await;
    }
}

async fn two(site: &Site) -> [Server; 2] {
    [site.webhook().await, site.webhook().await]
}

/// A namespace whose workloads are stamped when they are created.
pub async fn shop(site: &Site) -> Shop {
    let inject = json!({ "restamp.dev/inject": "enabled" });
    let shop = Shop::empty(&site.ground, "certificates", inject).await;
    until_stamped(&shop).await;
    shop
}

/// Waits until the API server calls the webhook.
pub async fn until_stamped(shop: &Shop) {
    let env = json!({ "envFrom": [{ "configMapRef": { "name": "kube-root-ca.crt" } }] });
    let probe = workload(("Deployment", "probe"), &json!({ AUTO: "true" }), &pod(env));
    until("a CREATE is stamped", async || {
        shop.dry_run(&probe).await.ok_or("a dry run is not stamped")
    })
    .await;
}

#[tokio::test]
async fn from_nothing_to_a_stamp_and_through_forced_rotations_under_load() {
    let Some(site) = Site::new("certificates", "20m,90s,4s,12s").await else {
        return;
    };
    let servers = two(&site).await;
    let way = site.lead_to(&servers[0]).await;
    let mut first = site.watcher("first").await;
    first.until_leading().await;
    let second = site.watcher("second").await;
    for server in &servers {
        server.replica.until_ready().await;
    }
    let rotate = async {
        let before = site.until_bundled(1).await;
        site.delete_secret(SERVING).await;
        until_served(&servers, 2).await;
        way.turn(servers[1].way());
        assert_eq!(site.bundle().await, before, "the CA is the same");

        site.delete_secret(AUTHORITY).await;
        site.until_bundled(2).await;
        // In the midst of it: the new CA is published, and has signed nothing yet.
        first.kill();
        until_served(&servers, 3).await;
        way.turn(servers[0].way());
        let after = site.until_bundled(1).await;
        assert_ne!(after, before, "the CA is another one");
        until_logged(&second, "the CAs of before are no longer trusted").await;
        // By itself, after two thirds of its life.
        until_served(&servers, 4).await;
    };
    Stream::default().during(&site, &servers, rotate).await;
    for log in [first.log(), second.log()] {
        assert!(!log.contains("PRIVATE KEY"), "{log}");
        assert!(!log.contains("cannot look after"), "{log}");
    }
}

#[tokio::test]
async fn a_ca_is_replaced_by_itself_under_load() {
    let Some(site) = Site::new("certificates", "75s,36s,4s,12s").await else {
        return;
    };
    let servers = two(&site).await;
    let _way = site.lead_to(&servers[0]).await;
    let watcher = site.watcher("only").await;
    watcher.until_leading().await;
    let before = site.until_bundled(1).await;
    let rotate = async {
        let both = site.until_bundled(2).await;
        assert!(both.contains(&before[0]));
        let after = site.until_bundled(1).await;
        assert!(both.contains(&after[0]) && after != before);
    };
    Stream::default().during(&site, &servers, rotate).await;
    for reason in [
        "AuthorityDue",
        "CertificateDue",
        "AuthorityChanged",
        "Adopted",
    ] {
        let series =
            format!("restamp_certificate_steps_total{{reason=\"{reason}\",result=\"ok\"}}");
        assert!(watcher.metric(&series).await > 0.0, "{reason}");
    }
    expect_expiry(&watcher).await;
}

async fn expect_expiry(watcher: &Replica) {
    let now = jiff::Timestamp::now().as_second();
    for (label, lasts) in [("authority", 75), ("serving", 36)] {
        let series = format!("expiry_timestamp_seconds{{certificate=\"{label}\"}}");
        #[expect(clippy::cast_precision_loss, reason = "times are small")]
        let left = watcher.metric(&series).await - now as f64;
        assert!(
            left > 0.0 && left <= f64::from(lasts) + 1.0,
            "{label}: {left}"
        );
    }
}
