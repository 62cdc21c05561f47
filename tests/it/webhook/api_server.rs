//! The API server's side of the webhook: asks it about writes, and does to the object what it answers.

use axum::{
    Router,
    body::{Body, Bytes},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use restamp::{
    cluster::kind::Kinds,
    runtime::{admin::Readiness, metrics::WebhookMetrics},
    stamp::{reason::Reason, settings::PolicySettings},
    webhook::{Admitter, CurrentKeyring, PATH, router},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    fake_api::{FakeApi, Key},
    watcher::{HOME, installation_key, until},
};

/// What a review is told apart by.
pub const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

/// The webhook behind its router. Clones are the same one.
#[derive(Clone)]
pub struct Webhook {
    /// What it counts.
    pub metrics: WebhookMetrics,
    /// The key that it uses.
    pub keyring: CurrentKeyring,
    router: Router,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

/// What became of a write.
#[derive(Debug)]
pub struct Admitted {
    /// The object with what the webhook changed.
    pub object: Value,
    /// Whether the webhook changed anything.
    pub patched: bool,
    /// What it told the writer.
    pub warnings: Vec<String>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The answer to a review, which always allows.
    pub fn response(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.content_type, "application/json");
        let answer: Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["kind"], "AdmissionReview");
        let response = answer["response"].clone();
        assert_eq!(response["allowed"], true);
        let patch_type = response.get("patch").map(|_| "JSONPatch");
        let said = response.get("patchType").map(|said| said.as_str().unwrap());
        assert_eq!(said, patch_type, "{response}");
        response
    }
}

/// Does to `object` what the response to its review says. The patch has to apply, and to change something.
pub fn patched(object: &Value, response: &Value) -> Value {
    let mut written = object.clone();
    if let Some(patch) = response.get("patch") {
        let patch = STANDARD.decode(patch.as_str().unwrap()).expect("base64");
        let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a JSON patch");
        json_patch::patch(&mut written, &patch).expect("a patch that applies");
        assert_ne!(written, *object, "{patch:?}");
    }
    written
}

impl Webhook {
    /// One that has an installation key.
    pub async fn start(api: &FakeApi) -> Self {
        Self::new(api, follow_key(api).await)
    }

    /// One that follows the installation key from now on.
    pub async fn following(api: &FakeApi, policy: PolicySettings) -> Self {
        let keyring = follow_key(api).await;
        let readiness = Readiness::default();
        let follow = keyring
            .clone()
            .follow(api.client(), HOME.to_owned(), readiness);
        tokio::spawn(follow);
        Self::with(api, keyring, policy)
    }

    /// One with this key.
    pub fn new(api: &FakeApi, keyring: CurrentKeyring) -> Self {
        Self::with(api, keyring, PolicySettings::default())
    }

    /// One with this key and these settings.
    pub fn with(api: &FakeApi, keyring: CurrentKeyring, policy: PolicySettings) -> Self {
        let metrics = WebhookMetrics::new().unwrap();
        let router = router(Admitter {
            client: api.client(),
            namespace: HOME.to_owned(),
            keyring: keyring.clone(),
            kinds: Kinds::default(),
            policy: policy.into(),
            metrics: metrics.clone(),
        });
        Self {
            metrics,
            keyring,
            router,
        }
    }

    /// Any request.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let content_type = parts.headers.get(CONTENT_TYPE);
        Answer {
            status: parts.status.as_u16(),
            content_type: content_type.map_or(String::new(), |it| it.to_str().unwrap().to_owned()),
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// A request as the API server makes it.
    pub async fn post(&self, body: impl Into<Body>) -> Answer {
        let request = Request::post(PATH).header(CONTENT_TYPE, "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Asks about a review.
    pub async fn ask(&self, review: &Value) -> Value {
        let response = self.post(review.to_string()).await.response();
        assert_eq!(response["uid"], review["request"]["uid"]);
        response
    }

    /// Somebody creates `object`, or writes it over `stored`.
    pub async fn admit(&self, object: &Value, stored: Option<&Value>) -> Admitted {
        let response = self.ask(&review(object, stored)).await;
        let warnings = response["warnings"].as_array().cloned().unwrap_or_default();
        Admitted {
            object: patched(object, &response),
            patched: response.get("patch").is_some(),
            warnings: warnings
                .iter()
                .map(|warning| warning.as_str().unwrap().to_owned())
                .collect(),
        }
    }

    /// Somebody makes a workload, or changes the one that is stored. As often as somebody else comes in
    /// between, he starts over, and the webhook is asked again.
    pub async fn write(
        &self,
        api: &FakeApi,
        manager: &str,
        key: &Key,
        make: impl Fn(Option<&Value>) -> Value,
    ) {
        loop {
            let stored = api.get(key);
            let object = make(stored.as_ref());
            let admitted = self.admit(&object, stored.as_ref()).await;
            if api.get(key) == stored {
                api.put(manager, &admitted.object);
                return;
            }
        }
    }

    /// How many reviews were answered for that reason.
    pub fn admissions(&self, reason: Reason) -> u64 {
        let counter = &self.metrics.admissions;
        counter.with_label_values(&[reason.as_str()]).get()
    }

    /// How many requests were refused with that status.
    pub fn refusals(&self, status: &str) -> u64 {
        self.metrics.refusals.with_label_values(&[status]).get()
    }

    /// How many reads ended like that.
    pub fn reads(&self, result: &str) -> u64 {
        self.metrics.reads.with_label_values(&[result]).get()
    }
}

/// There is an installation key.
pub fn put_key(api: &FakeApi) {
    let key = STANDARD.encode([1; 32]);
    let metadata = json!({ "namespace": HOME, "name": installation_key().name });
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": { "key": key } });
    api.put("watcher", &secret);
}

/// The installation key as it is now; it is made if there is none.
pub async fn follow_key(api: &FakeApi) -> CurrentKeyring {
    if api.get(&installation_key()).is_none() {
        put_key(api);
    }
    let keyring = CurrentKeyring::default();
    let readiness = Readiness::default();
    let follow = keyring
        .clone()
        .follow(api.client(), HOME.to_owned(), readiness);
    tokio::select! {
        () = follow => unreachable!("it is followed for ever"),
        () = until("there is a key", || keyring.get().is_some()) => {}
    }
    keyring
}

/// What the API server asks when `object` is created, or written over `stored`.
pub fn review(object: &Value, stored: Option<&Value>) -> Value {
    let kind = object["kind"].as_str().unwrap_or("Deployment");
    let api_version = object["apiVersion"].as_str().unwrap_or("apps/v1");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = format!("{}s", kind.to_lowercase());
    let kind = json!({ "group": group, "version": version, "kind": kind });
    let operation = stored.map_or("CREATE", |_| "UPDATE");
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID,
            "kind": kind,
            "resource": { "group": group, "version": version, "resource": resource },
            "requestKind": kind,
            "name": object["metadata"]["name"],
            "namespace": object["metadata"]["namespace"],
            "operation": operation,
            "userInfo": { "username": "admin", "groups": ["system:masters"] },
            "object": object,
            "oldObject": stored,
            "dryRun": false,
            "options": {
                "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl",
            },
        },
    })
}
