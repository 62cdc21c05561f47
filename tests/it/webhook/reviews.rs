//! Requests: which are reviews, what is answered to those that are not, and what an answer looks like.

use std::time::Duration;

use axum::body::Body;
use futures::{StreamExt, future::join_all, stream};
use http::{Method, Request, header::CONTENT_TYPE};
use restamp::{
    stamp::{
        annotations::{AUTO, OBSERVED, STAMP},
        reason::Reason,
    },
    webhook::PATH,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Webhook,
    api_server::{UID, patched, review},
};
use crate::{
    fake_api::FakeApi,
    logs::Logs,
    watcher::{deployment, secret},
};

/// A webhook in a shop with one Secret.
pub async fn shop() -> (FakeApi, Webhook) {
    let api = FakeApi::default();
    api.put("kubectl", &secret("login", "one"));
    let webhook = Webhook::start(&api).await;
    api.forget_calls();
    (api, webhook)
}

/// A Deployment that gets a stamp.
pub fn web() -> Value {
    deployment("web", &["login"], &[])
}

fn posted(content_type: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post(PATH);
    if let Some(content_type) = content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    request.body(body.into()).unwrap()
}

/// What is sent instead of a review, and what is said about it.
fn no_reviews() -> Vec<(&'static str, String, &'static str)> {
    let with = |pointer: &str, value: Value| {
        let mut review = review(&web(), None);
        *review.pointer_mut(pointer).unwrap() = value;
        review.to_string()
    };
    let no_field = "the request is no AdmissionReview: a field is missing or of the wrong type";
    vec![
        (
            "nothing",
            String::new(),
            "the request has no body; an AdmissionReview of admission.k8s.io/v1 belongs there",
        ),
        (
            "an old version",
            with("/apiVersion", json!("admission.k8s.io/v1beta1")),
            r#"this is a "AdmissionReview" of "admission.k8s.io/v1beta1"; only an AdmissionReview of admission.k8s.io/v1 is understood"#,
        ),
        (
            "another kind",
            with("/kind", json!("ConversionReview")),
            r#"this is a "ConversionReview" of "admission.k8s.io/v1"; only an AdmissionReview of admission.k8s.io/v1 is understood"#,
        ),
        (
            "an object",
            web().to_string(),
            r#"this is a "Deployment" of "apps/v1"; only an AdmissionReview of admission.k8s.io/v1 is understood"#,
        ),
        (
            "no request",
            with("/request", json!(null)),
            "the AdmissionReview has no request",
        ),
        ("no uid", with("/request/uid", json!(null)), no_field),
        (
            "no operation",
            with("/request/operation", json!(7)),
            no_field,
        ),
        ("a number", "7".to_owned(), no_field),
        (
            "no JSON",
            "uid=7".to_owned(),
            "the request is no AdmissionReview: it is not JSON (line 1, column 1)",
        ),
        (
            "half of it",
            r#"{"apiVersion": "admission"#.to_owned(),
            "the request is no AdmissionReview: it ends too early (line 1, column 25)",
        ),
        (
            "more than it",
            review(&web(), None).to_string() + "{}",
            "the request is no AdmissionReview: it is not JSON",
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn what_is_no_review_is_refused_and_told_why() {
    let (api, webhook) = shop().await;
    let logs = Logs::capture();
    for (refused, (what, body, text)) in (1..).zip(no_reviews()) {
        let answer = webhook.post(body).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert!(answer.text().starts_with(text), "{what}: {}", answer.text());
        assert_eq!(webhook.refusals("400"), refused, "{what}");
    }
    assert_eq!(logs.with(&["refused a request", "status=400"]).len(), 11);
    assert_eq!(api.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn only_json_is_taken() {
    let (_, webhook) = shop().await;
    let refused = [
        None,
        Some("application/yaml"),
        Some("application/jsonp"),
        Some("application/vnd.kubernetes.protobuf"),
        Some("text/plain; charset=application/json"),
        Some(""),
    ];
    for content_type in refused {
        let request = posted(content_type, review(&web(), None).to_string());
        let answer = webhook.send(request).await;
        assert_eq!(answer.status, 415, "{content_type:?}");
        assert_eq!(answer.text(), "the content type has to be application/json");
    }
    assert_eq!(webhook.refusals("415"), 6);
    let taken = [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
    ];
    for content_type in taken {
        let request = posted(Some(content_type), review(&web(), None).to_string());
        assert!(webhook.send(request).await.response()["patch"].is_string());
    }
}

#[tokio::test(start_paused = true)]
async fn other_methods_and_paths_lead_nowhere() {
    let (_, webhook) = shop().await;
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let request = Request::builder().method(method.clone()).uri(PATH);
        let answer = webhook.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 405, "{method}");
    }
    for path in ["/", "/mutate/", "/metrics", "/validate", "//mutate"] {
        let request = Request::post(path).body(Body::empty()).unwrap();
        assert_eq!(webhook.send(request).await.status, 404, "{path}");
    }
}

const LIMIT: usize = 8 * 1024 * 1024;

/// The body in pieces, so that nobody knows its length.
fn in_pieces(body: &str) -> Body {
    let pieces: Vec<_> = body.as_bytes().chunks(64 * 1024).collect();
    let pieces: Vec<_> = pieces
        .into_iter()
        .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
        .collect();
    Body::from_stream(stream::iter(pieces))
}

#[tokio::test(start_paused = true)]
async fn a_body_may_have_eight_mebibytes_and_not_a_byte_more() {
    let (_, webhook) = shop().await;
    let review = review(&web(), None).to_string();
    let padded = |size: usize| review.clone() + &" ".repeat(size - review.len());
    for body in [padded(LIMIT).into(), in_pieces(&padded(LIMIT))] {
        assert!(webhook.post(body).await.response()["patch"].is_string());
    }
    for body in [padded(LIMIT + 1).into(), in_pieces(&padded(LIMIT + 1))] {
        let answer = webhook.post(body).await;
        assert_eq!(answer.status, 413);
        assert_eq!(answer.text(), "the body is larger than 8388608 bytes");
    }
    assert_eq!(webhook.refusals("413"), 2);
}

#[tokio::test(start_paused = true)]
async fn the_largest_object_that_an_api_server_takes_is_reviewed_with_the_one_before_it() {
    let (_, webhook) = shop().await;
    let mut stored = web();
    let container = "/spec/template/spec/containers/0";
    stored.pointer_mut(container).unwrap()["env"] =
        json!([{ "name": "BIG", "value": "x".repeat(3 * 1024 * 1024) }]);
    let mut object = stored.clone();
    object.pointer_mut(container).unwrap()["image"] = json!("app:2");
    let review = review(&object, Some(&stored)).to_string();
    assert!((6 * 1024 * 1024..LIMIT).contains(&review.len()));
    let response = webhook.post(review).await.response();
    assert!(patched(&object, &response)["metadata"]["annotations"][OBSERVED].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_or_never_comes_is_refused() {
    let (_, webhook) = shop().await;
    let broken = stream::iter([
        Ok("{".to_owned()),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ]);
    let answer = webhook.post(Body::from_stream(broken)).await;
    assert_eq!((answer.status, answer.text()), (400, "the body broke off"));
    let pending = stream::pending::<Result<String, std::io::Error>>();
    let began = Instant::now();
    let answer = webhook.post(Body::from_stream(pending)).await;
    assert_eq!(
        (answer.status, answer.text()),
        (408, "the body did not arrive within 5s")
    );
    assert_eq!(began.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn bodies_that_take_too_much_room_together_are_refused_at_once() {
    let (_, webhook) = shop().await;
    let unended = || {
        let sent = stream::iter([Ok::<_, std::io::Error>(vec![b' '; LIMIT])]);
        webhook.post(Body::from_stream(sent.chain(stream::pending())))
    };
    let held = join_all((0..6).map(|_| unended()));
    let began = Instant::now();
    let answer = tokio::select! {
        biased;
        _ = held => panic!("they ended"),
        answer = webhook.post("{}") => answer,
    };
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(webhook.refusals("503"), 1);
    let review = review(&web(), None).to_string();
    assert_eq!(
        webhook.post(review).await.status,
        200,
        "there is room again"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_says_what_was_asked_and_what_to_change() {
    let (_, webhook) = shop().await;
    let review = review(&web(), None);
    let response = webhook.ask(&review).await;
    assert_eq!(response["uid"], UID);
    assert_eq!(response["patchType"], "JSONPatch");
    let written = patched(&web(), &response);
    let annotations = &written["metadata"]["annotations"];
    let observed: Value = serde_json::from_str(annotations[OBSERVED].as_str().unwrap()).unwrap();
    let template = &written["spec"]["template"]["metadata"];
    assert_eq!(observed["stamp"], template["annotations"][STAMP]);
    assert_eq!(annotations[AUTO], "true", "what was there stays");
    assert_eq!(template["labels"]["app"], "web");
    assert_eq!(response.get("warnings"), None);
    assert_eq!(webhook.admissions(Reason::Deployed), 1);
    assert_eq!(webhook.metrics.admission_seconds.get_sample_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_change_has_no_patch() {
    let (_, webhook) = shop().await;
    let stored = webhook.admit(&web(), None).await.object;
    let response = webhook.ask(&review(&stored, Some(&stored))).await;
    assert_eq!(response, json!({ "uid": UID, "allowed": true }));
    assert_eq!(webhook.admissions(Reason::Untouched), 1);
}

#[tokio::test(start_paused = true)]
async fn warnings_name_the_workload() {
    let (_, webhook) = shop().await;
    let absent = deployment("web", &["gone"], &[]);
    let said = webhook.admit(&absent, None).await.warnings;
    assert_eq!(
        said,
        [
            "Deployment shop/web: Secret/gone does not exist; create it, or make the reference optional"
        ]
    );
    let mut unnamed = absent;
    unnamed["metadata"]["name"] = Value::Null;
    unnamed["metadata"]["generateName"] = json!("web-");
    let mut review = review(&unnamed, None);
    review["request"].as_object_mut().unwrap().remove("name");
    let response = webhook.ask(&review).await;
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("Deployment shop/(new): "), "{warning}");
}
