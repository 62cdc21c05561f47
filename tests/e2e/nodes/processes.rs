//! The processes of pods, as somebody sees them who is on the node.

use std::{collections::BTreeMap, convert::Infallible};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::support::{Ground, Shop};

const NAME: &str = "on-the-node";
/// Says so, since it kills what it finds, or nothing.
const KILL: &str = r#"kill -9 "$id" && echo "killed $id""#;

/// A shell on every node, which goes with this.
pub struct Processes {
    shop: Shop,
    shells: BTreeMap<String, String>,
}

impl Processes {
    /// Starts a pod on every node, among its processes.
    pub async fn of_every_node(ground: &Ground) -> Self {
        let shop = Shop::empty(ground, "processes", json!({})).await;
        let labels = json!({ "app": NAME });
        let pod = json!({
            "hostPID": true,
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "shell", "image": "app:1" }],
        });
        let daemons = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": NAME },
            "spec": {
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": pod },
            },
        });
        shop.kubectl(&["create", "-f", "-"], &daemons).await;
        let status = ["rollout", "status", "daemonset", NAME, "--timeout=90s"];
        shop.kubectl(&status, &Value::Null).await;
        let pods: Api<Pod> = Api::namespaced(shop.client.clone(), &shop.namespace);
        let pods = pods.list(&ListParams::default()).await.expect("a list");
        let shells = pods.items.iter().map(|pod| (node(pod), pod.name_any()));
        let shells = shells.collect();
        Self { shop, shells }
    }

    /// Ends Restamp in these pods as a crash does: it has no time for anything.
    pub async fn kill(&self, pods: &[Pod]) {
        for pod in pods {
            let said = self.each(pod, KILL).await;
            assert!(said.starts_with("killed"), "{}: {said:?}", pod.name_any());
        }
    }

    /// The same, and again whenever it is there once more, as long as `action` takes.
    pub async fn keep_dead(&self, pods: &[Pod], action: impl Future<Output = ()>) {
        self.kill(pods).await;
        tokio::select! {
            () = action => {}
            never = self.go_on_killing(pods) => match never {},
        }
    }

    async fn go_on_killing(&self, pods: &[Pod]) -> Infallible {
        loop {
            for pod in pods {
                self.each(pod, KILL).await;
            }
        }
    }

    /// Does that for every process of Restamp in a pod, whose id is `$id`; gives what it printed.
    pub async fn each(&self, pod: &Pod, action: &str) -> String {
        // Depending on who makes the groups, they have it with the one or the other.
        let uid = pod.uid().expect("an id").replace('-', "[-_]");
        let script = format!(
            r#"for process in /proc/[0-9]*; do
                 id=${{process#/proc/}}
                 busybox grep -qs '{uid}' "$process/cgroup" || continue
                 [ "$(busybox cat "$process/comm")" = restamp ] || continue
                 {action}
               done"#
        );
        let shell = &self.shells[&node(pod)];
        let run = ["exec", shell, "--", "/bin/busybox", "sh", "-c", &script];
        let (_, said) = self.shop.try_kubectl(&run, &Value::Null).await;
        said.out
    }
}

fn node(pod: &Pod) -> String {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    node.expect("it is on a node")
}
