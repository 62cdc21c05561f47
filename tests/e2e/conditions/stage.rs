//! A control plane that asks a webhook which keeps what it is asked.

use kube::{
    Api, Client,
    api::{DynamicObject, PostParams},
};
use restamp::{
    cluster::kind::{KINDS, WorkloadKind},
    stamp::annotations::{AUTO, OBSERVED, STAMP},
};
use serde_json::{Value, json};

use crate::support::{
    Ground,
    ground::{SYSTEM, unique},
    recorder::Recorder,
    wait::until,
};

/// A namespace that has opted in.
pub const SHOP: &str = "reviewed";
/// Namespaces that are not to be reviewed, with their value of the opt-in label.
pub const ELSEWHERE: [(&str, Option<&str>); 4] = [
    ("unlabelled", None),
    ("another-value", Some("disabled")),
    ("kube-system", Some("enabled")),
    (SYSTEM, Some("enabled")),
];

/// The control plane.
pub struct Stage {
    /// The cluster.
    pub ground: Ground,
    /// The way to it, as the administrator.
    pub client: Client,
    recorder: Recorder,
    wrong: Vec<String>,
}

impl Stage {
    /// Waits until the API server asks; nothing where it is not ours, and so cannot reach the test.
    pub async fn open() -> Option<Stage> {
        let ground = Ground::own("the configuration of the webhook").await?;
        for name in [SHOP, "unlabelled", "another-value"] {
            ground.kubectl(&["create", "namespace", name]).await;
        }
        for (name, value) in ELSEWHERE.into_iter().chain([(SHOP, Some("enabled"))]) {
            if let Some(value) = value {
                let label = format!("restamp.dev/inject={value}");
                ground.kubectl(&["label", "namespace", name, &label]).await;
            }
        }
        let recorder = Recorder::start().await;
        ground
            .send_reviews_to(&recorder.url, &recorder.authority)
            .await;
        let client = ground.client().await;
        let wrong = Vec::new();
        let stage = Stage {
            ground,
            client,
            recorder,
            wrong,
        };
        stage.until_asked().await;
        Some(stage)
    }

    async fn until_asked(&self) {
        let api = self.workloads(&KINDS[0], SHOP);
        let probe = workload(&KINDS[0], &json!({ AUTO: "true" }), &json!({}));
        until("the API server asks the webhook", async || {
            api.create(&dry_run(), &probe).await.expect("it is allowed");
            let asked = !self.recorder.take().is_empty();
            asked.then_some(()).ok_or("not asked")
        })
        .await;
    }

    /// The workloads of a kind.
    pub fn workloads(&self, kind: &WorkloadKind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.api_resource())
    }

    /// Makes a request, and notes whether the webhook was asked when it should not, or not when it
    /// should. Gives the answer, and what the webhook was asked.
    pub async fn expect<T>(
        &mut self,
        asked: bool,
        what: &str,
        request: impl Future<Output = T>,
    ) -> (T, Vec<Value>) {
        self.recorder.take();
        let answer = request.await;
        let reviews = self.recorder.take();
        if reviews.is_empty() == asked {
            let not = if asked { "not " } else { "" };
            self.wrong.push(format!("{what}: {not}asked"));
        }
        (answer, reviews)
    }

    /// Fails if anything was wrong.
    pub fn close(self) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
    }
}

/// A request that changes nothing.
pub fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

/// A workload whose pods run nowhere.
pub fn workload(kind: &WorkloadKind, annotations: &Value, of_template: &Value) -> DynamicObject {
    let labels = json!({ "app": "web" });
    let pod = json!({
        "nodeSelector": { "node": "none" },
        "containers": [{ "name": "app", "image": "app:1" }],
    });
    let template = json!({
        "metadata": { "labels": labels, "annotations": of_template },
        "spec": pod,
    });
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": kind.kind,
        "metadata": { "name": format!("web-{}", unique()), "annotations": annotations },
        "spec": { "selector": { "matchLabels": labels }, "template": template },
    });
    serde_json::from_value(object).expect("an object")
}

/// A workload that is opted in, recorded and stamped.
pub fn stamped(kind: &WorkloadKind) -> DynamicObject {
    let annotations = json!({ AUTO: "true", OBSERVED: "{}" });
    workload(kind, &annotations, &json!({ STAMP: "v1.a.b.1" }))
}
