//! The plain-HTTP endpoints.

use axum::{Router, body::Body};
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use regex::Regex;
use restamp::runtime::{
    admin::{Readiness, router},
    metrics::{Registry, WatcherMetrics},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tower::ServiceExt;

use crate::{fake_api::FakeApi, watcher::World};

/// How long a watcher that was asked to stop may take: no connection keeps it from ending.
const DRAIN: std::ops::RangeInclusive<u64> = 1..=10;

async fn answer(router: Router, path: &str) -> Response<Body> {
    router
        .oneshot(Request::get(path).body(Body::empty()).unwrap())
        .await
        .unwrap()
}

/// The status and text of an answer.
pub async fn get(router: Router, path: &str) -> (u16, String) {
    let answer = answer(router, path).await;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn endpoints(readiness: &Readiness) -> Router {
    router(Registry::default(), readiness.clone())
}

#[tokio::test]
async fn readiness_says_what_is_missing_and_why_until_nothing_is() {
    let readiness = Readiness::default();
    readiness.waits_for("secrets", "not listed yet");
    readiness.waits_for("configmaps", "may not list configmaps");
    let (status, text) = get(endpoints(&readiness), "/readyz").await;
    assert_eq!(status, 503);
    assert_eq!(
        text,
        "configmaps: may not list configmaps\nsecrets: not listed yet"
    );

    readiness.has("configmaps");
    let (status, text) = get(endpoints(&readiness), "/readyz").await;
    assert_eq!((status, &*text), (503, "secrets: not listed yet"));

    readiness.has("secrets");
    assert_eq!(get(endpoints(&readiness), "/readyz").await.0, 200);
}

#[tokio::test]
async fn a_process_that_is_not_ready_is_alive() {
    let readiness = Readiness::default();
    readiness.waits_for("secrets", "not listed yet");
    for path in ["/healthz", "/live"] {
        assert_eq!(get(endpoints(&readiness), path).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn metrics_are_in_the_text_format_that_prometheus_reads() {
    let metrics = WatcherMetrics::new().unwrap();
    metrics
        .writes
        .with_label_values(&["restamp", "ok"])
        .inc_by(3);
    metrics
        .restamp_seconds
        .with_label_values(&["Deployment"])
        .observe(0.2);
    let router = router(metrics.registry, Readiness::default());
    let content_type = answer(router.clone(), "/metrics").await;
    assert_eq!(
        content_type.headers()[CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let (status, text) = get(router, "/metrics").await;
    assert_eq!(status, 200);
    assert!(
        text.contains("restamp_writes_total{result=\"ok\",write=\"restamp\"} 3\n"),
        "{text}"
    );
    let line = Regex::new(
        r#"^(# (HELP|TYPE) re(stamp|loader)_\w+ .+|re(stamp|loader)_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.e+-]+)$"#,
    )
    .unwrap();
    for text in text.lines() {
        assert!(line.is_match(text), "{text}");
    }
}

#[tokio::test]
async fn other_paths_and_methods_lead_nowhere() {
    let router = endpoints(&Readiness::default());
    for path in ["/", "/metrics/", "/ready", "/debug/pprof"] {
        assert_eq!(get(router.clone(), path).await.0, 404, "{path}");
    }
    let post = Request::post("/metrics").body(Body::empty()).unwrap();
    assert_eq!(router.oneshot(post).await.unwrap().status(), 405);
}

#[tokio::test(start_paused = true)]
async fn half_a_request_does_not_keep_a_watcher_that_is_asked_to_stop() {
    let world = World::start(&FakeApi::default()).await;
    let mut half_open = TcpStream::connect(world.admin).await.unwrap();
    half_open
        .write_all(b"GET /healthz HTTP/1.1\r\n")
        .await
        .unwrap();
    // Connections are accepted in their order: whoever answers this one holds the first.
    let mut other = TcpStream::connect(world.admin).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: us\r\nConnection: close\r\n\r\n";
    other.write_all(request).await.unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let asked = Instant::now();
    world.stop().await;
    let took = asked.elapsed().as_secs();
    assert!(DRAIN.contains(&took), "{took} s");
}
