//! Reviews that an API server does not send, or hardly ever: none is denied, none is in the way of others.

use base64::{Engine, engine::general_purpose::STANDARD};
use restamp::stamp::{
    annotations::{AUTO, OBSERVED, STAMP},
    patch::{ANNOTATION_RESERVE_BYTES, MAX_ANNOTATION_BYTES},
    reason::Reason,
};
use serde_json::{Value, json};

use super::{
    Webhook,
    api_server::{UID, review},
    reviews::{shop, web},
};

/// Asks, and expects that nothing is changed, for that reason.
async fn expect_left_alone(webhook: &Webhook, what: &str, review: &str, reason: Reason) {
    let before = webhook.admissions(reason);
    let response = webhook.post(review.to_owned()).await.response();
    assert_eq!(response, json!({ "uid": UID, "allowed": true }), "{what}");
    assert_eq!(webhook.admissions(reason), before + 1, "{what}: {reason}");
}

/// Reviews that are about no write of a workload.
fn no_writes() -> Vec<(&'static str, String)> {
    let asked = |change: &dyn Fn(&mut Value)| {
        let mut review = review(&web(), Some(&web()));
        change(&mut review["request"]);
        review.to_string()
    };
    vec![
        (
            "an unknown kind",
            asked(&|it| it["kind"]["kind"] = json!("Pod")),
        ),
        (
            "an unknown group",
            asked(&|it| it["kind"]["group"] = json!("extensions")),
        ),
        (
            "an unknown version",
            asked(&|it| it["kind"]["version"] = json!("v1beta1")),
        ),
        (
            "a deletion",
            asked(&|it| {
                it["operation"] = json!("DELETE");
                it["object"] = Value::Null;
            }),
        ),
        (
            "a connection",
            asked(&|it| {
                it["operation"] = json!("CONNECT");
                it["oldObject"] = Value::Null;
            }),
        ),
        (
            "an unknown operation",
            asked(&|it| it["operation"] = json!("PATCH")),
        ),
        (
            "nothing created",
            asked(&|it| {
                it["operation"] = json!("CREATE");
                it["object"] = Value::Null;
            }),
        ),
        (
            "an update of nothing",
            asked(&|it| it["oldObject"] = Value::Null),
        ),
        (
            "an update without what was stored",
            asked(&|it| {
                it.as_object_mut().unwrap().remove("oldObject");
            }),
        ),
        (
            "an update to nothing",
            asked(&|it| it["object"] = Value::Null),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn what_is_no_write_of_a_workload_is_left_alone() {
    let (api, webhook) = shop().await;
    for (what, review) in no_writes() {
        expect_left_alone(&webhook, what, &review, Reason::NotAWorkload).await;
    }
    assert_eq!(api.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_cannot_be_read_is_left_alone() {
    let (api, webhook) = shop().await;
    let with = |pointer: &str, value: Value| {
        let mut object = web();
        *object.pointer_mut(pointer).unwrap() = value;
        object
    };
    let template = "/spec/template";
    let cases = [
        ("a text", json!("web")),
        ("a list", json!([1, 2])),
        (
            "a number for an annotation",
            with("/metadata/annotations", json!({ AUTO: "true", "n": 7 })),
        ),
        (
            "null for an annotation",
            with("/metadata/annotations", json!({ AUTO: null })),
        ),
        (
            "a list of annotations",
            with("/metadata/annotations", json!([AUTO])),
        ),
        ("a number for metadata", with("/metadata", json!(7))),
        ("a text for a spec", with("/spec", json!("all"))),
        ("a text for a template", with(template, json!("all"))),
        (
            "a number for a template's annotation",
            with(
                "/spec/template/metadata",
                json!({ "annotations": { "n": 7 } }),
            ),
        ),
        (
            "a text for containers",
            with("/spec/template/spec/containers", json!("app")),
        ),
        (
            "a text for a container",
            with("/spec/template/spec/containers/0", json!("app")),
        ),
        (
            "a number for the name of a source",
            with(
                "/spec/template/spec/containers/0/envFrom/0/secretRef/name",
                json!(7),
            ),
        ),
    ];
    for (what, object) in cases {
        let mut created = review(&web(), None);
        created["request"]["object"] = object.clone();
        expect_left_alone(&webhook, what, &created.to_string(), Reason::NotAWorkload).await;
        let mut updated = review(&web(), Some(&web()));
        updated["request"]["oldObject"] = object;
        expect_left_alone(&webhook, what, &updated.to_string(), Reason::NotAWorkload).await;
    }
    assert_eq!(api.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn a_workload_without_what_pods_need_has_nothing_to_stamp() {
    let (_, webhook) = shop().await;
    let web = web();
    let without = |pointer: &str, field: &str| {
        let mut object = web.clone();
        let parent = object.pointer_mut(pointer).unwrap();
        parent.as_object_mut().unwrap().remove(field);
        object
    };
    let cases = [
        ("no spec", without("", "spec"), Reason::Over),
        ("no template", without("/spec", "template"), Reason::Over),
        (
            "no pod spec",
            without("/spec/template", "spec"),
            Reason::NoSources,
        ),
        (
            "no containers",
            without("/spec/template/spec", "containers"),
            Reason::NoSources,
        ),
    ];
    for (what, object, reason) in cases {
        let review = review(&object, None).to_string();
        expect_left_alone(&webhook, what, &review, reason).await;
    }
    let mut empty = web.clone();
    empty["spec"]["template"] = Value::Null;
    let review = review(&empty, None).to_string();
    expect_left_alone(&webhook, "null for a template", &review, Reason::Over).await;
}

/// A review as text, with `text` in the place of the value at `pointer`.
fn with_text(review: Value, pointer: &str, text: &str) -> String {
    with_texts(review, &[pointer], text)
}

fn with_texts(mut review: Value, pointers: &[&str], text: &str) -> String {
    let mark = "the place of the text";
    for pointer in pointers {
        *review.pointer_mut(pointer).unwrap() = json!(mark);
    }
    review.to_string().replace(&format!("{mark:?}"), text)
}

const DEEP: usize = 100_000;

fn nests() -> [String; 2] {
    [
        "[".repeat(DEEP) + &"]".repeat(DEEP),
        r#"{"a":"#.repeat(DEEP) + "{}" + &"}".repeat(DEEP),
    ]
}

#[tokio::test(start_paused = true)]
async fn deep_nesting_in_an_object_overflows_nothing() {
    let (_, webhook) = shop().await;
    let fields = [
        "/request/object/metadata/labels",
        "/request/object/metadata/annotations",
        "/request/object/spec/template/metadata/labels",
        "/request/object/spec/template/spec/containers/0/image",
        "/request/object/spec/template/spec/containers/0/envFrom",
        "/request/object/spec/template/spec",
        "/request/object/spec/template",
        "/request/object/spec",
        "/request/object",
        "/request/oldObject",
        "/request/oldObject/spec/template",
    ];
    let mut labelled = web();
    labelled["metadata"]["labels"] = json!({});
    for nest in nests() {
        for field in fields {
            let review = with_text(review(&labelled, Some(&web())), field, &nest);
            let answer = webhook.post(review).await;
            assert_eq!(answer.response()["uid"], UID, "{field}");
        }
    }
    assert_eq!(webhook.refusals("400"), 0);
}

#[tokio::test(start_paused = true)]
async fn deep_nesting_around_a_request_overflows_nothing() {
    let (_, webhook) = shop().await;
    for nest in nests() {
        for field in [
            "/request/userInfo",
            "/request/requestKind",
            "/request/options/apiVersion",
        ] {
            let review = with_text(review(&web(), None), field, &nest);
            assert_eq!(webhook.post(review).await.response()["uid"], UID, "{field}");
        }
        for field in ["/request", "/request/uid", "/request/kind", "/kind"] {
            let review = with_text(review(&web(), None), field, &nest);
            let answer = webhook.post(review).await;
            assert_eq!(answer.status, 400, "{field}: {}", answer.text());
            assert!(
                answer
                    .text()
                    .starts_with("the request is no AdmissionReview: ")
            );
        }
        let answer = webhook.post(nest).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        let answer = webhook.post("[".repeat(DEEP)).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stamp_stays_on_a_template_that_is_too_deep_to_compare() {
    let (_, webhook) = shop().await;
    let stored = webhook.admit(&web(), None).await.object;
    let labels = |of: &str| format!("/request/{of}/spec/template/metadata/labels");
    for nest in nests() {
        let now = with_text(review(&stored, Some(&stored)), &labels("object"), &nest);
        expect_left_alone(&webhook, "deep now", &now, Reason::Deployed).await;
        let both = [&*labels("object"), &*labels("oldObject")];
        let both = with_texts(review(&stored, Some(&stored)), &both, &nest);
        expect_left_alone(&webhook, "deep before and now", &both, Reason::Untouched).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_utf8_is_no_json() {
    let (_, webhook) = shop().await;
    let body = review(&web(), None).to_string();
    for place in ["app:1", UID, "shop"] {
        let at = body.find(place).unwrap();
        let mut body = body.clone().into_bytes();
        body[at] = 0xFF;
        let answer = webhook.post(body).await;
        assert_eq!(answer.status, 400, "{place}");
        let text = "the request is no AdmissionReview: it is not JSON";
        assert!(answer.text().starts_with(text), "{}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn duplicate_keys_confuse_nobody() {
    let (_, webhook) = shop().await;
    let body = review(&web(), None).to_string();
    let twice = |field: &str, value: &str| {
        let one = format!("{field:?}:");
        assert!(body.contains(&one), "{field}");
        body.replacen(&one, &format!("{field:?}:{value},{one}"), 1)
    };
    for (field, value) in [
        ("uid", "\"other\""),
        ("operation", "\"DELETE\""),
        ("request", "{}"),
    ] {
        assert_eq!(
            webhook.post(twice(field, value)).await.status,
            400,
            "{field}"
        );
    }
    for (field, value) in [("containers", "[]"), ("metadata", "{}")] {
        let review = twice(field, value);
        expect_left_alone(&webhook, field, &review, Reason::NotAWorkload).await;
    }
    // The last one counts, as with the API server.
    let review = twice(AUTO, "\"false\"");
    assert!(webhook.post(review).await.response()["patch"].is_string());
}

/// Lets the annotations of an object take `size` bytes.
fn fill(object: &mut Value, parent: &str, size: usize) {
    let metadata = object.pointer_mut(parent).unwrap();
    let annotations = metadata.as_object_mut().unwrap().entry("annotations");
    let annotations = annotations.or_insert(json!({})).as_object_mut().unwrap();
    let used: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.as_str().unwrap().len())
        .sum();
    annotations.insert("f".to_owned(), json!("x".repeat(size - used - 1)));
}

#[tokio::test(start_paused = true)]
async fn full_annotations_are_left_as_they_are_and_that_is_said() {
    let (_, webhook) = shop().await;
    for parent in ["/metadata", "/spec/template/metadata"] {
        let mut full = web();
        fill(&mut full, parent, MAX_ANNOTATION_BYTES - 40);
        let admitted = webhook.admit(&full, None).await;
        assert_eq!(admitted.object, full);
        assert_eq!(admitted.warnings.len(), 1);
        assert!(
            admitted.warnings[0].contains("leave no room"),
            "{admitted:?}"
        );
    }
    assert_eq!(webhook.admissions(Reason::NoRoom), 2);
    let mut roomy = web();
    let reserve = ANNOTATION_RESERVE_BYTES + 1000;
    fill(&mut roomy, "/metadata", MAX_ANNOTATION_BYTES - reserve);
    let object = webhook.admit(&roomy, None).await.object;
    assert!(object["metadata"]["annotations"][OBSERVED].is_string());
}

#[tokio::test(start_paused = true)]
async fn many_sources_do_not_make_an_object_too_large() {
    let (api, webhook) = shop().await;
    let names: Vec<_> = (0..800)
        .map(|n| format!("a-source-with-a-long-name-{n:04}"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let object = webhook
        .admit(&crate::watcher::deployment("web", &names, &[]), None)
        .await
        .object;
    assert_eq!(api.calls().len(), 800);
    let observed = object["metadata"]["annotations"][OBSERVED]
        .as_str()
        .unwrap();
    assert!(observed.len() <= 32 * 1024, "{}", observed.len());
}

#[tokio::test(start_paused = true)]
async fn keys_with_slashes_and_tildes_are_escaped_in_the_patch() {
    let (_, webhook) = shop().await;
    let response = webhook.ask(&review(&web(), None)).await;
    let patch = STANDARD
        .decode(response["patch"].as_str().unwrap())
        .unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    let paths: Vec<_> = patch
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["path"])
        .collect();
    let escape = |key: &str| key.replace('/', "~1");
    assert_eq!(
        paths[0],
        &json!(format!("/metadata/annotations/{}", escape(OBSERVED)))
    );
    assert_eq!(paths[1], "/spec/template/metadata/annotations");
    assert!(patch[1]["value"][STAMP].is_string());
    assert_eq!(paths.len(), 2);
}
