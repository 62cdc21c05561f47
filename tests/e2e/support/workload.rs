//! One workload, whatever its kind.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition,
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use restamp::stamp::annotations::{OBSERVED, STAMP};
use serde_json::Value;

use super::{Ground, Shop, wait::until};

/// Group, version and kind.
pub type Gvk = (&'static str, &'static str, &'static str);

/// The kind of `crds/widgets.example.com.yaml`.
pub const WIDGET: Gvk = ("example.com", "v1", "Widget");
/// Where it has its pod template.
pub const WIDGET_TEMPLATE: &str = "/spec/job/template";
/// Has it followed.
pub const WIDGET_FLAG: &str = "--workload-kind=example.com/v1/widgets/Widget=spec.job.template";
/// Argo Rollouts.
pub const ROLLOUT: Gvk = ("argoproj.io", "v1alpha1", "Rollout");
/// A run.
pub const JOB: Gvk = ("batch", "v1", "Job");
/// Where it has its pod template.
pub const JOB_TEMPLATE: &str = "/spec/template";
/// The kind of the batch group that makes Jobs.
pub const CRON_JOB: Gvk = ("batch", "v1", "CronJob");
/// Where it has its pod template.
pub const CRON_JOB_TEMPLATE: &str = "/spec/jobTemplate/spec/template";

/// A workload of a shop.
pub struct Workload {
    /// The API of its kind.
    pub api: Api<DynamicObject>,
    name: &'static str,
    template: &'static str,
}

impl Workload {
    /// One that need not exist, with a JSON pointer to its pod template.
    pub fn of(shop: &Shop, gvk: Gvk, name: &'static str, template: &'static str) -> Self {
        Self {
            api: shop.api_of(gvk),
            name,
            template,
        }
    }

    /// Makes it.
    pub async fn create(&self, object: Value) -> DynamicObject {
        let object = serde_json::from_value(object).expect("an object");
        let created = self.api.create(&PostParams::default(), &object).await;
        created.expect("it can be created")
    }

    /// As it is; nothing if there is none.
    pub async fn find(&self) -> Option<DynamicObject> {
        self.api.get_opt(self.name).await.expect("an answer")
    }

    /// As it is.
    pub async fn get(&self) -> DynamicObject {
        self.find().await.expect("it is there")
    }

    /// The pod template of a state of it.
    pub fn template_of<'a>(&self, object: &'a DynamicObject) -> &'a Value {
        object.data.pointer(self.template).expect("a template")
    }

    /// The stamp on the pod template of a state of it.
    pub fn stamp_of(&self, object: &DynamicObject) -> Option<String> {
        let stamp = self.template_of(object)["metadata"]["annotations"][STAMP].as_str();
        stamp.map(str::to_owned)
    }

    /// How often the spec was written since the object was made.
    pub async fn writes(&self) -> u64 {
        let generation = self.get().await.metadata.generation;
        u64::try_from(generation.expect("a generation") - 1).expect("not before it was made")
    }

    /// Waits until Restamp has recorded it.
    pub async fn until_recorded(&self) {
        until("it is recorded", async || {
            let annotations = self.get().await.metadata.annotations.unwrap_or_default();
            annotations
                .contains_key(OBSERVED)
                .then_some(())
                .ok_or(annotations)
        })
        .await;
    }

    /// Waits until the spec has been written so often since the object was made.
    pub async fn until_writes(&self, writes: u64) {
        until("it is rolled out", async || match self.writes().await {
            now if now >= writes => Ok(()),
            now => Err(now),
        })
        .await;
    }
}

impl Shop {
    /// The API of a kind.
    pub fn api_of(&self, (group, version, kind): Gvk) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }
}

/// The file of `crds` that defines a kind, such as `widgets.example.com`.
pub fn definition(crd: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/crds");
    format!("{folder}/{crd}.yaml")
}

impl Ground {
    /// Has the API server serve a kind of `crds`.
    pub async fn serve(&self, crd: &str) {
        self.serve_from(crd, &definition(crd)).await;
    }

    /// The same, as another file defines it.
    pub async fn serve_from(&self, crd: &str, file: &str) {
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file])
            .await;
        let crds: Api<CustomResourceDefinition> = Api::all(self.client().await);
        until("the kind is served", async || {
            let status = crds.get(crd).await.expect("a definition").status;
            let conditions = status.and_then(|it| it.conditions).unwrap_or_default();
            let is_so = |it: &CustomResourceDefinitionCondition| {
                it.type_ == "Established" && it.status == "True"
            };
            conditions.iter().any(is_so).then_some(()).ok_or(conditions)
        })
        .await;
    }
}
