//! Reads of SecretProviderClasses: every answer that the API server may give about what pods show.

use std::time::Duration;

use http::{Request, Response};
use kube::{Client, client::Body};
use restamp::{
    cluster::{
        Error,
        source::{self, Content},
    },
    stamp::{
        digest::{InstallationKey, Keyring},
        mounts::{Mount, Provided},
        settings::{PolicySettings, ReloadStrategy},
        source::{SourceId, SourceKind, SourceName},
    },
};
use serde_json::{Value, json};
use tower_test::mock;

fn keyring() -> Keyring {
    Keyring {
        current: InstallationKey::new(&[7; 32]).unwrap(),
        previous: None,
    }
}

fn vault() -> SourceId {
    SourceName::new(SourceKind::SecretProviderClass, "vault").within("shop")
}

/// Reads the class from an API server that gives these answers, one after the other, and gives its questions, too.
async fn read(answers: Vec<(u16, Value)>) -> (Result<Content, Error>, Vec<String>) {
    let (service, mut server) = mock::pair::<Request<Body>, Response<Body>>();
    let scenario = tokio::spawn(async move {
        let mut asked = Vec::new();
        for (status, answer) in answers {
            let (request, send) = server.next_request().await.expect("a request");
            asked.push(request.uri().to_string());
            let body = Body::from(answer.to_string().into_bytes());
            send.send_response(Response::builder().status(status).body(body).unwrap());
        }
        assert!(server.next_request().await.is_none(), "that is enough");
        asked
    });
    let client = Client::new(service, "default");
    let found = source::read(&client, &vault(), &keyring(), &PolicySettings::default()).await;
    drop(client);
    let asked = tokio::time::timeout(Duration::from_secs(5), scenario).await;
    (found, asked.expect("an end").expect("the scenario holds"))
}

fn status(pod: &str, class: &str, generation: u64, version: u64, objects: &Value) -> Value {
    json!({
        "metadata": {
            "namespace": "shop", "name": pod, "generation": generation,
            "resourceVersion": version.to_string(),
        },
        "status": { "podName": pod, "secretProviderClassName": class, "objects": objects },
    })
}

fn password(version: &str) -> Value {
    json!([{ "id": "password", "version": version }])
}

fn page(version: &str, next: &Value, items: &[Value]) -> (u16, Value) {
    let metadata = json!({ "resourceVersion": version, "continue": next });
    (200, json!({ "metadata": metadata, "items": items }))
}

fn provided(at: u64, mounts: &[(&str, bool, u64)]) -> Option<Provided> {
    let mounts = mounts.iter().map(|(content, updated, version)| Mount {
        content: [("password".to_owned(), (*content).to_owned())].into(),
        updated: *updated,
        version: *version,
    });
    Provided::of(&keyring(), &vault(), ReloadStrategy::Stamp, at, mounts)
}

fn mounted(found: Result<Content, Error>) -> Option<Provided> {
    match found.expect("an answer that can be read") {
        Content::Mounted(provided) => Some(provided),
        Content::Unmounted => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_pods_show_of_a_class_is_read_from_all_pages() {
    let first = [
        status("a", "vault", 1, 3, &password("1")),
        status("b", "cloud", 4, 9, &password("8")),
    ];
    let second = [
        status("c", "vault", 2, 7, &password("2")),
        json!({ "metadata": { "namespace": "shop", "name": "d", "generation": 1, "resourceVersion": "8" } }),
        status("e", "vault", 1, 8, &Value::Null),
    ];
    let pages = vec![
        page("11", &json!("more"), &first),
        page("11", &json!(""), &second),
    ];
    let (found, asked) = read(pages).await;
    let expected = provided(11, &[("1", false, 3), ("2", true, 7)]);
    assert_eq!(mounted(found), expected);
    let path = "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/shop/secretproviderclasspodstatuses";
    assert!(asked.iter().all(|uri| uri.starts_with(path)), "{asked:?}");
    assert!(asked[1].contains("continue=more"), "{asked:?}");
    assert!(
        !asked[0].contains("resourceVersion"),
        "a quorum read: {asked:?}"
    );
}

#[tokio::test]
async fn without_pods_or_without_the_driver_nothing_is_shown() {
    let other = [status("b", "cloud", 1, 9, &password("8"))];
    let (found, _) = read(vec![page("11", &Value::Null, &other)]).await;
    assert_eq!(mounted(found), None);
    let missing = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 404,
        "reason": "NotFound", "message": "the server could not find the requested resource",
    });
    let (found, _) = read(vec![(404, missing)]).await;
    assert_eq!(mounted(found), None);
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let refused = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 403,
        "reason": "Forbidden", "message": "no",
    });
    let (found, _) = read(vec![(403, refused)]).await;
    let error = found.expect_err("it may not").to_string();
    let right = "may not list secretproviderclasspodstatuses.secrets-store.csi.x-k8s.io in namespace \"shop\"";
    assert!(error.starts_with(right), "{error}");
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_an_error() {
    let bad = json!({ "metadata": {}, "items": [{ "metadata": {}, "status": { "objects": 7 } }] });
    let (found, _) = read(vec![(200, bad)]).await;
    let error = found.expect_err("it cannot be read");
    assert!(matches!(error, Error::Unreadable { .. }), "{error:?}");
}
