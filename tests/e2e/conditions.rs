//! What the API server asks the webhook: the released MutatingWebhookConfiguration, on a real API server.
//! And that the webhook's own requests are served under their own priority.

mod stage;

use http::Request;
use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    client::Body,
};
use restamp::{
    cluster::kind::{KINDS, WorkloadKind},
    stamp::annotations::{AUTO, CONFIG_MAP_RELOAD, OBSERVED, POLICY_KEYS, STAMP},
};
use serde_json::{Map, Value, json};

use self::stage::{ELSEWHERE, SHOP, Stage, dry_run, stamped, workload};
use crate::support::{Ground, ground::SYSTEM, wait::until};

/// What is changed, whether the webhook is to be asked, and how it is done.
type Change = (&'static str, bool, fn(&mut Value));

/// Of a workload that is opted in, recorded and stamped, by PUT.
const CHANGES: [Change; 18] = [
    ("nothing", false, |_| ()),
    ("replicas", false, |it| it["spec"]["replicas"] = json!(3)),
    ("another field of the spec", false, |it| {
        it["spec"]["minReadySeconds"] = json!(1);
    }),
    ("a label", false, |it| {
        it["metadata"]["labels"] = json!({ "team": "a" });
    }),
    ("an annotation of others", false, |it| {
        annotations(it)["note"] = json!("a");
    }),
    ("the image", true, |it| {
        template(it)["spec"]["containers"][0]["image"] = json!("app:2");
    }),
    ("a label of the pods", true, |it| {
        template(it)["metadata"]["labels"]["team"] = json!("a");
    }),
    ("a restart", true, |it| {
        annotations(template(it))["kubectl.kubernetes.io/restartedAt"] = json!("now");
    }),
    ("the stamp is dropped", true, |it| {
        drop_key(annotations(template(it)), STAMP);
    }),
    ("the stamp is altered", true, |it| {
        annotations(template(it))[STAMP] = json!("v1.a.b.2");
    }),
    ("the annotations of the template are dropped", true, |it| {
        *annotations(template(it)) = Value::Null;
    }),
    ("observed is dropped", true, |it| {
        drop_key(annotations(it), OBSERVED);
    }),
    ("observed is altered", true, |it| {
        annotations(it)[OBSERVED] = json!("[]");
    }),
    ("all keys are dropped", true, |it| {
        *annotations(it) = json!({ "note": "a" });
        *annotations(template(it)) = json!({ "note": "a" });
    }),
    ("all annotations are dropped", true, |it| {
        *annotations(it) = Value::Null;
        *annotations(template(it)) = Value::Null;
    }),
    ("opting out by value", true, |it| {
        annotations(it)[AUTO] = json!("false");
    }),
    ("opting out by removal", true, |it| {
        drop_key(annotations(it), AUTO);
    }),
    ("another policy", true, |it| {
        annotations(it)[CONFIG_MAP_RELOAD] = json!("app");
    }),
];

/// Of a workload that has nothing to do with Restamp, by PUT.
const FOREIGN_CHANGES: [Change; 4] = [
    ("nothing", false, |_| ()),
    ("the image", false, |it| {
        template(it)["spec"]["containers"][0]["image"] = json!("app:2");
    }),
    ("opting in", true, |it| {
        *annotations(it) = json!({ AUTO: "true" });
    }),
    ("opting in on the template", true, |it| {
        *annotations(template(it)) = json!({ AUTO: "true" });
    }),
];

fn template(object: &mut Value) -> &mut Value {
    &mut object["spec"]["template"]
}

fn annotations(object: &mut Value) -> &mut Value {
    &mut object["metadata"]["annotations"]
}

fn drop_key(map: &mut Value, key: &str) {
    map.as_object_mut().expect("a map").remove(key);
}

#[tokio::test]
async fn the_webhook_is_asked_about_what_concerns_it_and_nothing_else() {
    let Some(mut stage) = Stage::open().await else {
        return;
    };
    for kind in KINDS.iter().filter(|kind| kind.group == "apps") {
        creations(&mut stage, kind).await;
        changes(&mut stage, kind, stamped, &CHANGES).await;
        changes(&mut stage, kind, foreign, &FOREIGN_CHANGES).await;
        subresources(&mut stage, kind).await;
        applies(&mut stage, kind).await;
        our_own(&mut stage, kind).await;
        elsewhere(&mut stage, kind).await;
        dry_runs(&mut stage, kind).await;
        incomplete(&mut stage, kind).await;
        large(&mut stage, kind).await;
    }
    no_condition_failed(&stage.client).await;
    stage.close();
}

async fn creations(stage: &mut Stage, kind: &WorkloadKind) {
    let others = json!({ "note": "true" });
    let mut cases = vec![
        (false, json!({}), json!({})),
        (false, others.clone(), others),
    ];
    for key in POLICY_KEYS.into_iter().chain([STAMP, OBSERVED]) {
        cases.push((true, json!({ key: "?" }), json!({})));
        cases.push((true, json!({}), json!({ key: "?" })));
    }
    let (api, params) = (stage.workloads(kind, SHOP), PostParams::default());
    for (asked, on_workload, on_template) in cases {
        let what = format!("{}: {on_workload} and {on_template}", kind.kind);
        let object = workload(kind, &on_workload, &on_template);
        let request = api.create(&params, &object);
        stage.expect(asked, &what, request).await.0.expect(&what);
    }
}

async fn changes(
    stage: &mut Stage,
    kind: &WorkloadKind,
    object: fn(&WorkloadKind) -> DynamicObject,
    changes: &[Change],
) {
    let (api, params) = (stage.workloads(kind, SHOP), PostParams::default());
    for (change, asked, make) in changes {
        let what = format!("{}: {change}", kind.kind);
        let made = api.create(&params, &object(kind)).await.expect(&what);
        let name = made.metadata.name.clone().expect("a name");
        let mut changed = serde_json::to_value(made).expect("JSON");
        // The controllers write its status meanwhile.
        drop_key(&mut changed["metadata"], "resourceVersion");
        make(&mut changed);
        let changed = serde_json::from_value(changed).expect("an object");
        let request = api.replace(&name, &params, &changed);
        stage.expect(*asked, &what, request).await.0.expect(&what);
    }
}

fn foreign(kind: &WorkloadKind) -> DynamicObject {
    workload(kind, &json!({}), &json!({}))
}

/// Makes a stamped workload, and gives its name.
async fn made(api: &Api<DynamicObject>, kind: &WorkloadKind) -> String {
    let made = api.create(&PostParams::default(), &stamped(kind)).await;
    made.expect("it is made").metadata.name.expect("a name")
}

async fn subresources(stage: &mut Stage, kind: &WorkloadKind) {
    let api = stage.workloads(kind, SHOP);
    let (name, params) = (made(&api, kind).await, PatchParams::default());
    let status = Patch::Merge(json!({ "status": { "observedGeneration": 9 } }));
    let request = api.patch_status(&name, &params, &status);
    let what = format!("{}: the status", kind.kind);
    stage.expect(false, &what, request).await.0.expect(&what);
    if kind.kind != "DaemonSet" {
        let scale = Patch::Merge(json!({ "spec": { "replicas": 2 } }));
        let request = api.patch_scale(&name, &params, &scale);
        let what = format!("{}: the scale", kind.kind);
        stage.expect(false, &what, request).await.0.expect(&what);
    }
}

async fn applies(stage: &mut Stage, kind: &WorkloadKind) {
    let api = stage.workloads(kind, SHOP);
    let params = PatchParams::apply("deployer");
    let mut object = workload(kind, &json!({ AUTO: "true" }), &json!({}));
    let name = object.metadata.name.clone().expect("a name");
    for (what, asked, image) in [
        ("applied", true, "app:1"),
        ("applied again", false, "app:1"),
        ("applied with another image", true, "app:2"),
    ] {
        let what = format!("{}: {what}", kind.kind);
        object.data["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        let patch = Patch::Apply(&object);
        let request = api.patch(&name, &params, &patch);
        stage.expect(asked, &what, request).await.0.expect(&what);
    }
}

async fn our_own(stage: &mut Stage, kind: &WorkloadKind) {
    let watcher = stage.ground.client_as(SYSTEM, "restamp-watcher").await;
    let administrator = stage.client.clone();
    for (who, asked, client) in [("watcher", false, watcher), ("other", true, administrator)] {
        let api = Api::namespaced_with(client, SHOP, &kind.api_resource());
        let name = made(&stage.workloads(kind, SHOP), kind).await;
        let annotations = json!({ "annotations": { STAMP: "v1.a.b.2" } });
        let patch = json!({
            "metadata": { "annotations": { OBSERVED: "[]" } },
            "spec": { "template": { "metadata": annotations } },
        });
        let patch: Patch<Value> = Patch::Merge(patch);
        let params = PatchParams::default();
        let request =
            async { api.patch(&name, &params, &patch).await as kube::Result<DynamicObject> };
        let what = format!("{}: a stamp by the {who}", kind.kind);
        stage.expect(asked, &what, request).await.0.expect(&what);
    }
}

async fn elsewhere(stage: &mut Stage, kind: &WorkloadKind) {
    for (namespace, _) in ELSEWHERE {
        let api = stage.workloads(kind, namespace);
        let (object, params) = (stamped(kind), PostParams::default());
        let request = api.create(&params, &object);
        let what = format!("{} in {namespace}", kind.kind);
        stage.expect(false, &what, request).await.0.expect(&what);
    }
}

async fn dry_runs(stage: &mut Stage, kind: &WorkloadKind) {
    let api = stage.workloads(kind, SHOP);
    let object = stamped(kind);
    let what = format!("{}: a dry run", kind.kind);
    let params = dry_run();
    let request = api.create(&params, &object);
    let (answer, reviews) = stage.expect(true, &what, request).await;
    answer.expect(&what);
    assert!(reviews.iter().all(|review| review["dryRun"] == true));
}

/// The API server asks before it validates.
async fn incomplete(stage: &mut Stage, kind: &WorkloadKind) {
    let api = stage.workloads(kind, SHOP);
    let params = PostParams::default();
    for data in [
        json!({}),
        json!({ "spec": {} }),
        json!({ "spec": { "template": {} } }),
    ] {
        let mut object = workload(kind, &json!({ AUTO: "true" }), &json!({}));
        object.data = data;
        let request = api.create(&params, &object);
        let what = format!("{}: {}", kind.kind, object.data);
        let (answer, _) = stage.expect(true, &what, request).await;
        answer.expect_err("it is invalid");

        let name = made(&api, kind).await;
        object.metadata.name = Some(name.clone());
        let request = api.replace(&name, &params, &object);
        let what = format!("{} instead", object.data);
        let (answer, _) = stage.expect(true, &what, request).await;
        answer.expect_err("it is invalid");
    }
}

/// The API server gives up on a condition that costs too much.
async fn large(stage: &mut Stage, kind: &WorkloadKind) {
    let api = stage.workloads(kind, SHOP);
    let annotations = (0..20_000).map(|n| (format!("n{n:05}"), json!("value")));
    let mut annotations: Map<_, _> = annotations.collect();
    annotations.insert(AUTO.to_owned(), json!("true"));
    let mut object = workload(kind, &annotations.into(), &json!({}));
    let env = (0..5000).map(|n| json!({ "name": format!("N{n}"), "value": "value" }));
    object.data["spec"]["template"]["spec"]["containers"][0]["env"] = env.collect();
    let name = object.metadata.name.clone().expect("a name");
    let params = PostParams::default();
    let request = api.create(&params, &object);
    let what = format!("{}: a large one", kind.kind);
    stage.expect(true, &what, request).await.0.expect(&what);
    for (what, asked, patch) in [
        (
            "a label",
            false,
            json!({ "metadata": { "labels": { "a": "b" } } }),
        ),
        (
            "a label of its pods",
            true,
            json!({ "spec": { "template": { "metadata": { "labels": { "a": "b" } } } } }),
        ),
    ] {
        let what = format!("{}: {what} of a large one", kind.kind);
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let request = api.patch(&name, &params, &patch);
        stage.expect(asked, &what, request).await.0.expect(&what);
    }
}

async fn no_condition_failed(client: &Client) {
    let request = Request::get("/metrics")
        .body(Vec::new())
        .expect("a request");
    let metrics = client.request_text(request).await.expect("metrics");
    assert!(metrics.contains("apiserver_admission_match_condition_exclusions_total{"));
    for never in [
        "apiserver_admission_match_condition_evaluation_errors_total{",
        "apiserver_admission_webhook_fail_open_count{",
    ] {
        let found = metrics.lines().find(|line| line.starts_with(never));
        assert_eq!(found, None);
    }
}

#[tokio::test]
async fn what_the_webhook_reads_is_served_under_its_own_priority() {
    let ground = Ground::shared().await;
    let schemas: Api<FlowSchema> = Api::all(ground.client().await);
    let schema = schemas.get("restamp-webhook").await.expect("the schema");
    let webhook = ground.client_as(SYSTEM, "restamp-webhook").await;
    for path in ["configmaps/any", "secrets/any"] {
        // The API server learns of the schema by watching it.
        until("the schema is used", async || {
            let path = format!("/api/v1/namespaces/default/{path}");
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let answer = webhook.send(request).await.expect("an answer");
            let used = answer.headers().get("X-Kubernetes-PF-FlowSchema-UID");
            let used = used.map(|uid| uid.to_str().expect("text").to_owned());
            if used == schema.metadata.uid {
                Ok(())
            } else {
                Err(used)
            }
        })
        .await;
    }
}
