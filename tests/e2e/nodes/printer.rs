//! Pods that print what they run on.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::support::{
    Shop,
    shop::{Name, web_pod},
    wait::until,
};

/// Prints variable and file at the start, and each change of the file.
const SCRIPT: &str = r#"
trap exit TERM
level=$(busybox cat /etc/app/level)
echo "start password=$PASSWORD level=$level"
while :; do
  now=$(busybox cat /etc/app/level)
  [ "$now" = "$level" ] || echo "file $level -> $now"
  level=$now
  busybox sleep 0.2
done"#;

/// A Deployment of such pods, with a variable of Secret `db` and a file of ConfigMap `app`.
pub struct Printer<'a> {
    shop: &'a Shop,
    name: &'static str,
}

impl<'a> Printer<'a> {
    /// Creates it.
    pub async fn create(shop: &'a Shop, name: &'static str, annotations: Value) -> Self {
        let mut template = web_pod();
        let container = &mut template["spec"]["containers"][0];
        container["command"] = json!(["/bin/busybox", "sh", "-c", SCRIPT]);
        let workload: Name<'_> = ("Deployment", name);
        shop.create_workload(workload, annotations, template).await;
        Self { shop, name }
    }

    /// Waits until the rollout is done and every pod has printed that it started on this.
    pub async fn until_all_print(&self, password: &str, level: &str) {
        let line = format!("start password={password} level={level}");
        until("all pods run on it", async || {
            let deployments: Api<Deployment> = self.api();
            let deployment = deployments.get(self.name).await.expect("it is there");
            let is_old = deployment.metadata.generation
                != deployment
                    .status
                    .as_ref()
                    .and_then(|status| status.observed_generation);
            let pods = self.pods().await;
            for pod in &pods {
                let log = self.log(pod).await;
                if is_old || log.lines().next() != Some(&*line) {
                    return Err(format!("{}: {log}", pod.name_any()));
                }
            }
            if pods.is_empty() {
                Err("no pods".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
    }

    /// What its pods have printed.
    pub async fn logs(&self) -> String {
        let mut logs = String::new();
        for pod in self.pods().await {
            logs += &self.log(&pod).await;
        }
        logs
    }

    /// Those that are not about to end.
    async fn pods(&self) -> Vec<Pod> {
        let api: Api<Pod> = self.api();
        let params = ListParams::default().labels(&format!("app={}", self.name));
        let mut pods = api.list(&params).await.expect("a list").items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods
    }

    async fn log(&self, pod: &Pod) -> String {
        let args = ["logs", &pod.name_any()];
        self.shop.try_kubectl(&args, &Value::Null).await.1.out
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.shop.client.clone(), &self.shop.namespace)
    }
}
