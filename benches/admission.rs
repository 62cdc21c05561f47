//! What the webhook adds to a CREATE, against a webhook that does nothing, on a real API server. Run by
//! `make bench-admission`; docs/benchmarks.md says what it printed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench says what is wrong by failing"
)]

#[path = "../tests/e2e/support/mod.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, routing::post};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use restamp::{
    runtime::{
        admin::Readiness,
        certificate::{Certificate, Pair},
        https,
    },
    stamp::annotations::AUTO,
};
use restamp_dev_certs::{Authority, Validity};
use serde_json::{Value, json};
use support::{
    Ground, Shop,
    shop::{pod, workload},
    wait::until,
    webhook::Webhook,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// So many requests of each sort, in turns.
const REQUESTS: usize = 1000;
/// So many before that do not count.
const WARM_UP: usize = 50;
const SOURCES: [usize; 2] = [1, 5];
const WEBHOOKS: [&str; 3] = ["none", "noop", "enabled"];
const NOOP: usize = 1;
const RESTAMP: usize = 2;

/// Creations in one namespace, each as a dry run: the same way, but for the write to the store.
struct Sort {
    webhook: usize,
    sources: usize,
    shop: Shop,
    object: Value,
    times: Vec<Duration>,
    /// How long reading the sources takes by itself, all at once.
    reads: Vec<Duration>,
}

impl Sort {
    async fn new(ground: &Ground, webhook: usize, sources: usize) -> Sort {
        let label = json!({ "restamp.dev/inject": WEBHOOKS[webhook] });
        let shop = Shop::empty(ground, "bench", label).await;
        let mut env_from = Vec::new();
        for number in 0..sources {
            let name = source(number);
            let value = "value".repeat(20);
            let data = ["a", "b", "c", "d"].map(|key| (key, value.as_str()));
            shop.set_secret(&name, &data).await;
            env_from.push(json!({ "secretRef": { "name": name } }));
        }
        let auto = json!({ AUTO: "true" });
        Sort {
            webhook,
            sources,
            shop,
            object: workload(
                ("Deployment", "web"),
                &auto,
                &pod(json!({ "envFrom": env_from })),
            ),
            times: Vec::with_capacity(REQUESTS),
            reads: Vec::with_capacity(REQUESTS),
        }
    }

    async fn read(&self) -> Duration {
        let secrets: Api<Secret> = Api::namespaced(self.shop.client.clone(), &self.shop.namespace);
        let names: Vec<_> = (0..self.sources).map(source).collect();
        let start = Instant::now();
        let reads = names.iter().map(|name| secrets.get(name));
        try_join_all(reads).await.expect("they are there");
        start.elapsed()
    }

    async fn request(&self) -> Duration {
        let start = Instant::now();
        let stamp = self.shop.dry_run(&self.object).await;
        let took = start.elapsed();
        assert_eq!(stamp.is_some(), self.webhook == RESTAMP);
        took
    }
}

fn source(number: usize) -> String {
    format!("source-{number}")
}

/// A percentile, in milliseconds.
fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() * percent / 100].as_secs_f64() * 1000.0
}

/// A webhook that allows everything, on the stack that Restamp's own is served by.
async fn start_noop(ground: &Ground, host: &str) -> TempDir {
    let authority = Authority::generate().expect("a CA");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let identity = authority.server(&[host], Validity::for_days(1));
    let identity = identity.expect("a certificate");
    identity.write(dir.path(), "tls").expect("its files");
    let origin = dir.path().display().to_string();
    let certificate = Certificate::new(origin, Timestamp::now, Readiness::default());
    let pair = Pair::of_folder(dir.path()).expect("its files");
    certificate.offer(&pair).expect("it can be served");
    let tls = https::tls(Arc::new(certificate)).expect("TLS");
    let listener = TcpListener::bind(("0.0.0.0", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let router = Router::new().route("/mutate", post(allow));
    let never = CancellationToken::new();
    tokio::spawn(https::serve(listener, tls, router, never));
    configure_noop(ground, &format!("https://{host}:{port}/mutate"), &authority).await;
    dir
}

async fn allow(body: Bytes) -> ([(&'static str, &'static str); 1], String) {
    let mut review: Value = serde_json::from_slice(&body).expect("a review");
    let uid = review["request"].take()["uid"].take();
    review["response"] = json!({ "uid": uid, "allowed": true });
    ([("content-type", "application/json")], review.to_string())
}

/// As the released configuration, but for where it leads and whom it is for.
async fn configure_noop(ground: &Ground, url: &str, authority: &Authority) {
    let args = [
        "get",
        "mutatingwebhookconfiguration",
        "restamp",
        "-o",
        "json",
    ];
    let released: Value = serde_json::from_str(&ground.kubectl(&args).await).expect("JSON");
    let mut webhook = released["webhooks"][0].clone();
    let ca = k8s_openapi::ByteString(authority.certificate().as_bytes().to_vec());
    webhook["name"] = json!("noop.restamp.dev");
    webhook["clientConfig"] = json!({ "url": url, "caBundle": ca });
    webhook["namespaceSelector"] =
        json!({ "matchLabels": { "restamp.dev/inject": WEBHOOKS[NOOP] } });
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "noop" },
        "webhooks": [webhook],
    });
    let file = ground.file("noop.json", &configuration.to_string());
    let file = file.to_str().expect("a path in UTF-8");
    ground.kubectl(&["apply", "-f", file]).await;
}

/// Waits until the API server calls the webhook that does nothing.
async fn until_noop_called(ground: &Ground, sort: &Sort) {
    let called = async || {
        let series = "apiserver_admission_webhook_request_total";
        ground.api_server_metric(series, "noop.restamp.dev").await
    };
    until("the other webhook is called", async || {
        sort.request().await;
        if called().await > 0.0 {
            Ok(())
        } else {
            Err("not called")
        }
    })
    .await;
}

fn print(sorts: &[Sort]) {
    println!("| request | sources | p50 ms | p99 ms | p50 above no-op | p99 above no-op |");
    println!("|---|---|---|---|---|---|");
    for sort in sorts {
        let is_base = |base: &&Sort| base.webhook == NOOP && base.sources == sort.sources;
        let base = sorts.iter().find(is_base).expect("a base");
        let name = ["none", "no-op", "restamp"][sort.webhook];
        print_row(
            &format!("CREATE, webhook: {name}"),
            sort.sources,
            &sort.times,
            &base.times,
        );
        if sort.webhook == NOOP {
            print_row(
                "GET of all sources at once",
                sort.sources,
                &sort.reads,
                &base.times,
            );
        }
    }
}

fn print_row(what: &str, sources: usize, times: &[Duration], base: &[Duration]) {
    let [p50, p99] =
        [50, 99].map(|percent| (percentile(times, percent), percentile(base, percent)));
    let above = |(own, base): (f64, f64)| format!("{:+.2} ms, {:.2} x", own - base, own / base);
    let (own, own99) = (p50.0, p99.0);
    println!(
        "| {what} | {sources} | {own:.2} | {own99:.2} | {} | {} |",
        above(p50),
        above(p99)
    );
}

#[tokio::main]
async fn main() {
    let Some((ground, _)) = Ground::shared_with_webhook("the bench").await else {
        return;
    };
    let host = Webhook::host().expect("the webhook was started there");
    let _certificate = start_noop(&ground, &host).await;
    let mut sorts = Vec::new();
    for webhook in 0..WEBHOOKS.len() {
        for sources in SOURCES {
            sorts.push(Sort::new(&ground, webhook, sources).await);
        }
    }
    let noop = sorts.iter().find(|sort| sort.webhook == NOOP);
    until_noop_called(&ground, noop.expect("one")).await;
    for round in 0..WARM_UP + REQUESTS {
        for sort in &mut sorts {
            let took = sort.request().await;
            let read = sort.read().await;
            if round >= WARM_UP {
                sort.times.push(took);
                sort.reads.push(read);
            }
        }
    }
    ground
        .kubectl(&["delete", "mutatingwebhookconfiguration", "noop"])
        .await;
    print(&sorts);
    assert_eq!(ground.failed_open().await, 0.0, "every call was answered");
}
