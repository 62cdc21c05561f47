//! A namespace with workloads of every kind that use the same ConfigMap and Secret.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use restamp::{
    cluster::kind::{Kinds, WorkloadKind},
    stamp::annotations::{AUTO, OBSERVED, STAMP},
};
use serde_json::{Value, json};

use super::{
    ground::{Ground, unique},
    wait::until,
};

/// The field manager of whoever deploys the workloads.
pub const DEPLOYER: &str = "shop-operator";

/// A namespace of a test's own. It is deleted when the test is done with it.
pub struct Shop {
    /// The cluster.
    pub ground: Ground,
    /// The way to it.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

/// `(kind, name)` of a workload.
pub type Name<'a> = (&'a str, &'a str);

/// The workloads of a stocked shop.
pub const WEB: [Name<'static>; 3] = [
    ("Deployment", "web"),
    ("StatefulSet", "web"),
    ("DaemonSet", "web"),
];

impl Shop {
    /// A namespace with nothing but sentinels in it.
    pub async fn open(ground: &Ground, name: &str) -> Shop {
        let shop = Self::empty(ground, name, json!({})).await;
        shop.add_sentinels().await;
        shop
    }

    /// A namespace with nothing but sentinels in it, whose workloads go through the webhook; nothing where
    /// there is none.
    pub async fn injected(name: &str) -> Option<Shop> {
        let (ground, _) = Ground::shared_with_webhook(name).await?;
        Some(Self::injected_on(&ground, name).await)
    }

    /// As [`Shop::injected`], on a cluster that has a webhook.
    pub async fn injected_on(ground: &Ground, name: &str) -> Shop {
        let shop = Self::empty(ground, name, json!({ "restamp.dev/inject": "enabled" })).await;
        shop.add_sentinels().await;
        shop
    }

    /// A namespace with nothing in it.
    pub async fn empty(ground: &Ground, name: &str, labels: Value) -> Shop {
        let client = ground.client().await;
        let namespace = format!("{name}-{}", unique());
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": namespace, "labels": labels },
        });
        let object: Namespace = serde_json::from_value(object).expect("a namespace");
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces
            .create(&PostParams::default(), &object)
            .await
            .expect("a namespace");
        Shop {
            ground: ground.clone(),
            client,
            namespace,
        }
    }

    /// A namespace with one workload of every kind, recorded and at rest.
    pub async fn stocked(ground: &Ground, name: &str) -> Shop {
        let shop = Self::open(ground, name).await;
        shop.stock().await;
        shop.until_recorded(&WEB).await;
        shop.until_quiet().await;
        shop
    }

    /// Makes one workload of every kind, and what they use.
    pub async fn stock(&self) {
        self.set_password("one").await;
        self.set_config_map("app", &[("level", "info")]).await;
        for name in WEB {
            self.create_workload(name, json!({ AUTO: "true" }), web_pod())
                .await;
        }
    }

    /// Sets labels of the namespace, such as `env=prod`, or takes them away, such as `env-`.
    pub async fn label(&self, labels: &str) {
        let args = ["label", "--overwrite", "namespace", &self.namespace, labels];
        self.ground.kubectl(&args).await;
    }

    /// Creates or updates a Secret, so that it holds exactly `data`.
    pub async fn set_secret(&self, name: &str, data: &[(&str, &str)]) {
        self.set_annotated_secret(name, json!({}), data).await;
    }

    /// Creates or updates a Secret, so that it has exactly these annotations and `data`.
    pub async fn set_annotated_secret(
        &self,
        name: &str,
        annotations: Value,
        data: &[(&str, &str)],
    ) {
        let data: BTreeMap<_, _> = data.iter().copied().collect();
        let metadata = json!({ "name": name, "annotations": annotations });
        let object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data });
        self.put::<Secret>(name, object).await;
    }

    /// Creates or updates the Secret `db` of [`web_pod`], with one password or another.
    pub async fn set_password(&self, password: &str) {
        self.set_secret("db", &[("user", "app"), ("password", password)])
            .await;
    }

    /// Creates or updates a ConfigMap, so that it holds exactly `data`.
    pub async fn set_config_map(&self, name: &str, data: &[(&str, &str)]) {
        let data: BTreeMap<_, _> = data.iter().copied().collect();
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data });
        self.put::<ConfigMap>(name, object).await;
    }

    async fn put<K>(&self, name: &str, object: Value)
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let object: K = serde_json::from_value(object).expect("an object");
        let created = api.create(&PostParams::default(), &object).await;
        match created {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                api.replace(name, &PostParams::default(), &object)
                    .await
                    .expect("it can be replaced");
            }
            created => drop(created.expect("it can be created")),
        }
    }

    /// Deletes a Secret.
    pub async fn delete_secret(&self, name: &str) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        api.delete(name, &DeleteParams::default())
            .await
            .expect("it is there");
    }

    /// Deletes a ConfigMap.
    pub async fn delete_config_map(&self, name: &str) {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        api.delete(name, &DeleteParams::default())
            .await
            .expect("it is there");
    }

    /// Merges into a Secret's metadata.
    pub async fn annotate_secret(&self, name: &str, metadata: Value) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        api.patch(name, &PatchParams::default(), &patch)
            .await
            .expect("it can be patched");
    }

    /// Merges into a ConfigMap.
    pub async fn patch_config_map(&self, name: &str, patch: Value) {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let patch = Patch::Merge(patch);
        api.patch(name, &PatchParams::default(), &patch)
            .await
            .expect("it can be patched");
    }

    /// Creates a workload.
    pub async fn create_workload(
        &self,
        (kind, name): Name<'_>,
        annotations: Value,
        template: Value,
    ) {
        let object = workload((kind, name), &annotations, &template);
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        let api = self.workloads(kind);
        let params = PostParams {
            field_manager: Some(DEPLOYER.to_owned()),
            ..PostParams::default()
        };
        api.create(&params, &object)
            .await
            .expect("it can be created");
    }

    /// The API of a kind of workload.
    pub fn workloads(&self, kind: &str) -> Api<DynamicObject> {
        let kind = kind_of(kind);
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.api_resource())
    }

    /// A workload as it is.
    pub async fn workload(&self, (kind, name): Name<'_>) -> DynamicObject {
        self.workloads(kind)
            .get(name)
            .await
            .expect("the workload is there")
    }

    /// Merges into a workload, as some other writer.
    pub async fn patch_workload(&self, name: Name<'_>, manager: &str, patch: Value) {
        self.patch(name, manager, Patch::Merge(patch)).await;
    }

    /// As [`Shop::patch_workload`], with lists merged by their keys.
    pub async fn patch_strategically(&self, name: Name<'_>, manager: &str, patch: Value) {
        self.patch(name, manager, Patch::Strategic(patch)).await;
    }

    async fn patch(&self, (kind, name): Name<'_>, manager: &str, patch: Patch<Value>) {
        let params = PatchParams {
            field_manager: Some(manager.to_owned()),
            ..Default::default()
        };
        self.workloads(kind)
            .patch(name, &params, &patch)
            .await
            .expect("it can be patched");
    }

    /// The stamp on a workload's template.
    pub async fn stamp(&self, name: Name<'_>) -> Option<String> {
        let object = self.workload(name).await;
        let annotations = &object.data["spec"]["template"]["metadata"]["annotations"];
        annotations[STAMP].as_str().map(str::to_owned)
    }

    /// What is recorded of a workload.
    pub async fn observed(&self, name: Name<'_>) -> Option<Value> {
        let object = self.workload(name).await;
        let text = object.metadata.annotations?.remove(OBSERVED)?;
        serde_json::from_str(&text).ok()
    }

    /// The messages of the Events on a workload with a reason.
    pub async fn events(&self, name: Name<'_>, reason: &str) -> Vec<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let selector = format!(
            "involvedObject.kind={},involvedObject.name={},reason={reason}",
            name.0, name.1
        );
        let events = api
            .list(&ListParams::default().fields(&selector))
            .await
            .expect("events");
        events
            .items
            .into_iter()
            .filter_map(|event| event.message)
            .collect()
    }

    /// Waits until Restamp has recorded the workloads.
    pub async fn until_recorded(&self, names: &[Name<'_>]) {
        for name in names {
            until("the workload is recorded", async || {
                self.observed(*name).await.ok_or(name)
            })
            .await;
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let args = ["delete", "namespace", &self.namespace, "--wait=false"];
        // A test that failed must not fail a second time here.
        let _ = self.ground.kubectl_command().args(args).output();
    }
}

/// A workload.
pub fn workload((kind, name): Name<'_>, annotations: &Value, template: &Value) -> Value {
    let labels = json!({ "app": name, "kind": kind });
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": { "name": name, "annotations": annotations },
        "spec": { "selector": { "matchLabels": labels }, "template": template },
    });
    object["spec"]["template"]["metadata"]["labels"] = labels;
    object
}

/// A pod template with one container.
pub fn pod(container: Value) -> Value {
    let mut container = container;
    container["name"] = json!("app");
    container["image"] = json!("app:1");
    json!({ "metadata": {}, "spec": { "containers": [container] } })
}

/// A pod template that takes a key of Secret `db` as a variable, and mounts ConfigMap `app`.
pub fn web_pod() -> Value {
    let mut template = pod(json!({
        "env": [{ "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "db", "key": "password" } } }],
        "volumeMounts": [{ "name": "config", "mountPath": "/etc/app" }],
    }));
    template["spec"]["volumes"] = json!([{ "name": "config", "configMap": { "name": "app" } }]);
    template
}

fn kind_of(kind: &str) -> &'static WorkloadKind {
    Kinds::default().find(kind).expect("a kind of the table")
}
