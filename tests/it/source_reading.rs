//! Reads of sources: every answer that the API server may give, and no payload in what we say about it.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, Response};
use kube::{Client, Resource, client::Body};
use restamp::{
    cluster::{
        Error,
        error::chain,
        source::{self, Content, SourceMetadata},
    },
    stamp::{
        annotations::{IGNORE, MATCH, PolicyKeys},
        digest::{Encoding, InstallationKey, Keyring, SourceDigests},
        policy::Marks,
        settings::PolicySettings,
        source::{Keys, SourceId, SourceKind, SourceName},
    },
};
use serde_json::{Value, json};
use tower_test::mock;

/// What nobody may ever see again.
const PAYLOAD: &str = "hunter2";

fn keyring() -> Keyring {
    Keyring {
        current: InstallationKey::new(&[7; 32]).unwrap(),
        previous: None,
    }
}

fn login(kind: SourceKind) -> SourceId {
    SourceName::new(kind, "login").within("shop")
}

/// Reads the source from an API server that expects exactly this one request.
async fn read(kind: SourceKind, status: u16, body: impl Into<Vec<u8>>) -> Result<Content, Error> {
    read_with(&PolicySettings::default(), kind, status, body).await
}

/// The same with these settings.
async fn read_with(
    settings: &PolicySettings,
    kind: SourceKind,
    status: u16,
    body: impl Into<Vec<u8>>,
) -> Result<Content, Error> {
    let (service, mut server) = mock::pair::<Request<Body>, Response<Body>>();
    let body = Body::from(body.into());
    let scenario = tokio::spawn(async move {
        let (request, answer) = server.next_request().await.expect("a request");
        assert_eq!(request.method(), "GET");
        let path = format!("/api/v1/namespaces/shop/{}/login", kind.plural());
        assert_eq!(request.uri().path(), path);
        assert_eq!(request.uri().query(), None, "a quorum read");
        answer.send_response(Response::builder().status(status).body(body).unwrap());
        assert!(
            server.next_request().await.is_none(),
            "one request is enough"
        );
    });
    let client = Client::new(service, "default");
    let found = source::read(&client, &login(kind), &keyring(), settings).await;
    drop(client);
    let ended = tokio::time::timeout(Duration::from_secs(5), scenario).await;
    ended
        .expect("the scenario ends")
        .expect("the scenario holds");
    found
}

async fn read_object(kind: SourceKind, object: &Value) -> Result<Content, Error> {
    read(kind, 200, object.to_string()).await
}

fn object(fields: &Value) -> Value {
    let mut object = json!({ "metadata": { "name": "login", "uid": "u", "resourceVersion": "5" } });
    object
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    object
}

fn digests(found: Result<Content, Error>) -> SourceDigests {
    match found.expect("an answer that can be read") {
        Content::Present {
            version, digests, ..
        } => {
            assert_eq!((&*version.uid, &*version.resource_version), ("u", "5"));
            digests
        }
        other => panic!("it is there, and no {other:?}"),
    }
}

/// The digests of that content, made without any API server.
fn expected(kind: SourceKind, content: &[(&str, Encoding, &[u8])]) -> SourceDigests {
    SourceDigests::of(&keyring(), login(kind), content)
}

fn refused(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

fn assert_silent(error: &Error) {
    for text in [
        error.to_string(),
        format!("{error:?}"),
        format!("{error:#?}"),
        chain(error),
    ] {
        assert!(!text.contains(PAYLOAD), "{text}");
        assert!(!text.contains(&STANDARD.encode(PAYLOAD)), "{text}");
    }
}

#[tokio::test]
async fn texts_and_binaries_of_a_config_map_are_digested_as_such() {
    let body = object(&json!({
        "data": { "text": "plain" },
        "binaryData": { "bytes": STANDARD.encode([0, 255]) },
    }));
    let found = digests(read_object(SourceKind::ConfigMap, &body).await);
    let content: [(&str, Encoding, &[u8]); 2] = [
        ("text", Encoding::Text, b"plain"),
        ("bytes", Encoding::Binary, &[0, 255]),
    ];
    assert_eq!(found, expected(SourceKind::ConfigMap, &content));
}

#[tokio::test]
async fn values_of_a_secret_are_decoded_before_they_are_digested() {
    let body = object(&json!({ "data": { "password": STANDARD.encode(PAYLOAD) } }));
    let found = digests(read_object(SourceKind::Secret, &body).await);
    let content: [(&str, Encoding, &[u8]); 1] =
        [("password", Encoding::Binary, PAYLOAD.as_bytes())];
    assert_eq!(found, expected(SourceKind::Secret, &content));
    assert!(!format!("{found:?}").contains(PAYLOAD));
}

#[tokio::test]
async fn no_data_and_empty_data_are_the_same_and_readable() {
    for kind in SourceKind::CORE {
        for fields in [json!({}), json!({ "data": {} }), json!({ "data": null })] {
            let found = digests(read_object(kind, &object(&fields)).await);
            assert_eq!(found, expected(kind, &[]));
        }
    }
}

#[tokio::test]
async fn an_empty_value_is_another_content_than_none() {
    let body = object(&json!({ "data": { "password": "" } }));
    let found = digests(read_object(SourceKind::Secret, &body).await);
    assert_ne!(found, expected(SourceKind::Secret, &[]));
    let used = Keys::Only(BTreeSet::from(["password".into(), "other".into()]));
    assert_eq!(found.missing(&used).collect::<Vec<_>>(), ["other"]);
}

#[tokio::test]
async fn the_largest_source_that_there_can_be_is_read() {
    let value = vec![b'x'; 1024 * 1024];
    let body = object(&json!({ "data": { "big": STANDARD.encode(&value) } }));
    let found = digests(read_object(SourceKind::Secret, &body).await);
    let content: [(&str, Encoding, &[u8]); 1] = [("big", Encoding::Binary, &value)];
    assert_eq!(found, expected(SourceKind::Secret, &content));
}

#[tokio::test]
async fn a_source_that_does_not_exist_is_absent() {
    let mut body = refused(404, "NotFound", "secrets \"login\" not found");
    body["details"] = json!({ "name": "login", "kind": "secrets" });
    let found = read(SourceKind::Secret, 404, body.to_string()).await;
    assert!(matches!(found, Ok(Content::Absent)), "{found:?}");
}

#[tokio::test]
async fn a_404_that_does_not_name_the_source_does_not_mean_that_there_is_none() {
    let body = refused(
        404,
        "NotFound",
        "the server could not find the requested resource",
    );
    for body in [body.to_string(), "404 page not found".to_owned()] {
        let found = read(SourceKind::Secret, 404, body).await;
        assert!(found.is_err(), "{found:?}");
    }
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let body = refused(
        403,
        "Forbidden",
        "secrets \"login\" is forbidden: no RBAC policy matched",
    );
    let error = read(SourceKind::Secret, 403, body.to_string())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("get secrets \"login\" in namespace \"shop\""),
        "{text}"
    );
    assert!(text.contains("no RBAC policy matched"), "{text}");
}

#[tokio::test]
async fn every_other_refusal_says_why() {
    for (code, reason) in [
        (401, "Unauthorized"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
    ] {
        let body = refused(code, reason, "etcd is tired");
        let error = read(SourceKind::Secret, code, body.to_string())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{code}: {error:?}");
        assert!(
            chain(&error).contains("etcd is tired"),
            "{code}: {}",
            chain(&error)
        );
    }
}

#[tokio::test]
async fn a_refusal_that_quotes_a_payload_outside_a_status_is_not_repeated() {
    for code in [400, 403, 500, 502] {
        let error = read(SourceKind::Secret, code, format!("<h1>{PAYLOAD}</h1>"))
            .await
            .unwrap_err();
        assert_silent(&error);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_described_and_not_quoted() {
    let encoded = STANDARD.encode(PAYLOAD);
    let whole = object(&json!({ "data": { "password": encoded } })).to_string();
    let bodies = [
        PAYLOAD.to_owned(),
        String::new(),
        whole[..whole.len() - 3].to_owned(),
        format!("\"{PAYLOAD}\""),
        object(&json!({ "data": PAYLOAD })).to_string(),
        object(&json!({ "data": [PAYLOAD] })).to_string(),
        object(&json!({ "data": { "password": { PAYLOAD: 1 } } })).to_string(),
        object(&json!({ "data": { "password": null } })).to_string(),
        object(&json!({ "data": { "password": format!("{PAYLOAD}!") } })).to_string(),
        object(&json!({ "metadata": PAYLOAD })).to_string(),
        json!({ "data": { "password": encoded } }).to_string(),
    ];
    for body in bodies {
        let error = read(SourceKind::Secret, 200, body.clone())
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Unreadable { .. }),
            "{body}: {error:?}"
        );
        assert_silent(&error);
        assert!(
            error.to_string().contains("get secrets \"login\""),
            "{error}"
        );
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_an_answer_that_cannot_be_read() {
    let error = read(SourceKind::ConfigMap, 200, [0xff, 0xfe, b'{'])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let (service, mut server) = mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "default");
    let id = login(SourceKind::Secret);
    let (keyring, settings) = (keyring(), PolicySettings::default());
    let reading = source::read(&client, &id, &keyring, &settings);
    let (found, _held) = tokio::join!(reading, server.next_request());
    assert!(matches!(found, Err(Error::NoAnswer { .. })), "{found:?}");
}

fn metadata(annotations: &Value) -> SourceMetadata {
    let object = json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {
            "namespace": "shop", "name": "login", "uid": "u", "resourceVersion": "5",
            "labels": { "secret": PAYLOAD },
            "annotations": annotations,
        },
        "data": { "password": PAYLOAD },
    });
    serde_json::from_value(object).unwrap()
}

#[test]
fn of_metadata_only_the_name_the_version_and_the_marks_are_kept() {
    let metadata = metadata(&json!({
        "kubectl.kubernetes.io/last-applied-configuration": format!("{{\"data\":\"{PAYLOAD}\"}}"),
        MATCH: "true",
    }));
    assert!(!format!("{metadata:?}").contains(PAYLOAD));
    assert!(!format!("{:?}", metadata.meta()).contains(PAYLOAD));
    let row = metadata
        .into_row(SourceKind::Secret, &PolicyKeys::default())
        .unwrap();
    assert!(!format!("{row:?}").contains(PAYLOAD));
    assert_eq!(row.id, login(SourceKind::Secret));
    assert_eq!(&*row.version.resource_version, "5");
    assert_eq!(
        row.marks,
        Marks {
            ignored: false,
            matched: true
        }
    );
}

#[test]
fn marks_count_only_if_they_are_exactly_true() {
    for (annotations, ignored, matched) in [
        (json!({ IGNORE: "true" }), true, false),
        (json!({ IGNORE: "True" }), false, false),
        (json!({ IGNORE: "" }), false, false),
        (json!({ MATCH: "true" }), false, true),
        (json!({ MATCH: "True" }), false, false),
        (json!({ MATCH: "true", IGNORE: "true" }), true, true),
        (json!({}), false, false),
        (Value::Null, false, false),
    ] {
        let row = metadata(&annotations)
            .into_row(SourceKind::Secret, &PolicyKeys::default())
            .unwrap();
        assert_eq!(row.marks, Marks { ignored, matched }, "{annotations}");
    }
}

/// It had them when it was asked for.
#[tokio::test]
async fn content_without_the_labels_that_are_asked_for_is_dropped() {
    let settings = PolicySettings {
        source_labels: Some("team=a".parse().unwrap()),
        ..PolicySettings::default()
    };
    for (labels, is_followed) in [
        (json!({ "team": "a" }), true),
        (json!({ "team": "b" }), false),
        (json!(null), false),
    ] {
        let mut object = object(&json!({ "data": { "password": "not base64" } }));
        object["metadata"]["labels"] = labels;
        let body = object.to_string();
        let found = read_with(&settings, SourceKind::ConfigMap, 200, body.clone()).await;
        let is_present = matches!(found, Ok(Content::Present { .. }));
        assert_eq!(is_present, is_followed, "{body}");
        let found = read_with(&settings, SourceKind::Secret, 200, body).await;
        let is_dropped = matches!(found, Ok(Content::NotFollowed));
        assert_eq!(is_dropped, !is_followed, "not even decoded: {found:?}");
    }
}
