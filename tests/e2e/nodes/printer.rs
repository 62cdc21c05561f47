//! Pods that print what they run on.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use restamp::stamp::annotations::AUTO;
use serde_json::{Value, json};

use crate::support::{
    Ground, Shop,
    ground::unique,
    shop::{Name, pod},
    wait::until,
};

/// Prints everything at the start, and each change of a file.
const SCRIPT: &str = r#"
trap exit TERM
secret=$(busybox cat /etc/Secret/value)
config_map=$(busybox cat /etc/ConfigMap/value)
echo "Secret variable: $SECRET"
echo "Secret file: $secret"
echo "ConfigMap variable: $CONFIG_MAP"
echo "ConfigMap file: $config_map"
while :; do
  now=$(busybox cat /etc/Secret/value)
  [ "$now" = "$secret" ] || echo "Secret file: $secret -> $now"
  secret=$now
  now=$(busybox cat /etc/ConfigMap/value)
  [ "$now" = "$config_map" ] || echo "ConfigMap file: $config_map -> $now"
  config_map=$now
  busybox sleep 0.2
done"#;

/// How a pod comes by a value, in the order of the log: the kind of the source, and its name.
const SOURCES: [(&str, &str); 4] = [
    ("Secret", "variable"),
    ("Secret", "file"),
    ("ConfigMap", "variable"),
    ("ConfigMap", "file"),
];
const REPLICAS: usize = 2;
const PRINTER: &str = "printer";
/// Did not opt in.
const BYSTANDER: &str = "bystander";

/// P1, as containers see it: each source changes by itself, and nothing else does.
pub async fn pods_run_on_what_is_live(ground: &Ground) {
    let shop = Shop::injected_on(ground, "printers").await;
    let mut values = ["old"; SOURCES.len()];
    for source in SOURCES {
        set(&shop, source, "old").await;
    }
    let printer = Printer::create(&shop, PRINTER, json!({ AUTO: "true" })).await;
    let bystander = Printer::create(&shop, BYSTANDER, json!({})).await;
    for printer in [&printer, &bystander] {
        printer.until_all_start_with(&values).await;
    }
    shop.until_quiet().await;
    let once = [(PRINTER, 1), (BYSTANDER, 0)];
    let once: BTreeMap<_, _> = once
        .map(|(name, count)| (format!("Deployment/{name}"), count))
        .into();
    for (index, source) in SOURCES.into_iter().enumerate() {
        values[index] = "new";
        let change = set(&shop, source, "new");
        assert_eq!(shop.rollouts(change).await, once, "{source:?}");
        printer.until_all_start_with(&values).await;
    }
    println!("{PRINTER}: {:?}", printer.logs().await);
    bystander.until_files_alone_are_new().await;
    println!("{BYSTANDER}: {:?}", bystander.logs().await);
}

async fn set(shop: &Shop, (kind, name): (&str, &str), value: &str) {
    match kind {
        "Secret" => shop.set_secret(name, &[("value", value)]).await,
        _ => shop.set_config_map(name, &[("value", value)]).await,
    }
}

/// A Deployment of such pods.
struct Printer<'a> {
    shop: &'a Shop,
    name: &'static str,
}

impl<'a> Printer<'a> {
    async fn create(shop: &'a Shop, name: &'static str, annotations: Value) -> Self {
        let mut template = pod(json!({
            "command": ["/bin/busybox", "sh", "-c", SCRIPT],
            "env": [
                { "name": "SECRET", "valueFrom": { "secretKeyRef": { "name": "variable", "key": "value" } } },
                { "name": "CONFIG_MAP", "valueFrom": { "configMapKeyRef": { "name": "variable", "key": "value" } } },
            ],
            "volumeMounts": [
                { "name": "secret", "mountPath": "/etc/Secret" },
                { "name": "config-map", "mountPath": "/etc/ConfigMap" },
            ],
        }));
        template["spec"]["volumes"] = json!([
            { "name": "secret", "secret": { "secretName": "file" } },
            { "name": "config-map", "configMap": { "name": "file" } },
        ]);
        let workload: Name<'_> = ("Deployment", name);
        shop.create_workload(workload, annotations, template).await;
        let replicas = json!({ "spec": { "replicas": REPLICAS } });
        shop.patch_workload(workload, "test", replicas).await;
        Self { shop, name }
    }

    /// Waits until the pods are as many as there are to be, and each has started on these values.
    async fn until_all_start_with(&self, values: &[&str; SOURCES.len()]) {
        let expected = started_with(values);
        until("all pods run on it", async || {
            let logs = self.logs().await;
            let are_so = logs.values().all(|log| log.starts_with(&expected));
            if logs.len() == REPLICAS && are_so {
                Ok(())
            } else {
                Err(logs)
            }
        })
        .await;
    }

    /// Waits until the files have become new in pods that go on running, whose variables have not.
    async fn until_files_alone_are_new(&self) {
        let started = started_with(&["old"; SOURCES.len()]);
        let expected = ["Secret file: old -> new\n", "ConfigMap file: old -> new\n"];
        until("the files change", async || {
            // A kubelet looks once a minute, or when something is new about a pod.
            let look = format!("look={}", unique());
            let selector = format!("--selector=app={}", self.name);
            let annotate = ["annotate", "pods", &selector, "--overwrite", &look];
            self.shop.kubectl(&annotate, &Value::Null).await;
            let logs = self.logs().await;
            let are_so = logs.values().all(|log| {
                let later = log.strip_prefix(&*started);
                let later = later.unwrap_or_else(|| panic!("{}: {log}", self.name));
                expected.iter().all(|line| later.contains(line))
                    && later.lines().count() == expected.len()
            });
            if logs.len() == REPLICAS && are_so {
                Ok(())
            } else {
                Err(logs)
            }
        })
        .await;
    }

    /// What its pods have printed, but for those that are about to end.
    async fn logs(&self) -> BTreeMap<String, String> {
        let api: Api<Pod> = Api::namespaced(self.shop.client.clone(), &self.shop.namespace);
        let params = ListParams::default().labels(&format!("app={}", self.name));
        let mut pods = api.list(&params).await.expect("a list").items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        let mut logs = BTreeMap::new();
        for pod in pods {
            let name = pod.name_any();
            let (_, said) = self.shop.try_kubectl(&["logs", &name], &Value::Null).await;
            logs.insert(name, said.out);
        }
        logs
    }
}

/// How the log of a pod begins.
fn started_with(values: &[&str; SOURCES.len()]) -> String {
    let lines = SOURCES.iter().zip(values);
    lines
        .map(|((kind, name), value)| format!("{kind} {name}: {value}\n"))
        .collect()
}
