//! The chart, installed as its documentation says.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{Node, Pod, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
};

use crate::support::{Ground, Shop, ground::SYSTEM, wait::until};

const NAME: &str = "restamp";
const CERTIFICATE: &str = "restamp-webhook-tls";
const AUTHORITY: &str = "restamp-webhook-tls-ca";
const DEPLOYMENTS: [&str; 2] = ["restamp-watcher", "restamp-webhook"];
/// A release of the chart.
pub struct Release<'a> {
    ground: &'a Ground,
    client: Client,
}

impl<'a> Release<'a> {
    /// Nothing but its namespace, which takes restricted pods alone.
    pub async fn new(ground: &'a Ground) -> Self {
        ground.kubectl(&["create", "namespace", SYSTEM]).await;
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        ground
            .kubectl(&["label", "namespace", SYSTEM, restricted])
            .await;
        Self::of_manifests(ground).await
    }

    /// What is installed without Helm.
    pub async fn of_manifests(ground: &'a Ground) -> Self {
        let client = ground.client().await;
        Self { ground, client }
    }

    /// Installs it with default values, and says how long it took to be ready.
    pub async fn install(&self) -> Duration {
        let start = Instant::now();
        let chart = chart();
        let install = ["install", NAME, &chart, "--namespace", SYSTEM];
        self.helm(&install).await;
        self.until_available(2).await;
        start.elapsed()
    }

    /// What the chart's own test says.
    pub async fn test(&self) {
        let args = ["test", NAME, "--namespace", SYSTEM, "--timeout", "90s"];
        self.helm(&args).await;
    }

    /// A new CA, and what follows from it; then a new serving certificate of the same CA. As the documentation says.
    pub async fn renew_certificates(&self) {
        for secret in [AUTHORITY, CERTIFICATE] {
            let served = self.served().await;
            self.kubectl(&["delete", "secret", secret]).await;
            self.until_served(served + 2).await;
        }
    }

    /// Waits until the replicas of the webhook have begun to serve so many certificates.
    pub async fn until_served(&self, count: usize) {
        until("every replica serves a new certificate", async || {
            if self.served().await >= count {
                Ok(())
            } else {
                Err(self.log("watcher").await)
            }
        })
        .await;
    }

    /// How many certificates the replicas of the webhook have begun to serve.
    pub async fn served(&self) -> usize {
        let log = self.log("webhook").await;
        log.matches("serving a new certificate").count()
    }

    /// Of all pods of a component.
    async fn log(&self, component: &str) -> String {
        let selector = format!("app.kubernetes.io/component={component}");
        self.kubectl(&["logs", "--selector", &selector, "--tail=-1"])
            .await
    }

    /// A new release that changes every pod.
    pub async fn upgrade(&self) {
        let annotation = "reloader.deployment.pod.annotations.release=next";
        let chart = chart();
        let upgrade = [
            "upgrade",
            NAME,
            &chart,
            "--namespace",
            SYSTEM,
            "--set",
            annotation,
        ];
        self.helm(&upgrade).await;
        self.until_rolled_out().await;
    }

    /// Waits until every pod is one of the newest template.
    pub async fn until_rolled_out(&self) {
        for deployment in DEPLOYMENTS {
            let deployment = format!("deployment/{deployment}");
            let status = ["rollout", "status", &deployment, "--timeout=3m"];
            self.kubectl(&status).await;
        }
    }

    /// Each pod of the webhook, and how often it was started again.
    pub async fn restarts(&self) -> String {
        let path = "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[*].restartCount}{\"\\n\"}{end}";
        let selector = "--selector=app.kubernetes.io/component=webhook";
        self.kubectl(&["get", "pods", selector, "-o", path]).await
    }

    /// Takes it away, and checks that nothing but what is documented stays.
    pub async fn uninstall(&self) {
        self.helm(&["uninstall", NAME, "--namespace", SYSTEM, "--wait"])
            .await;
        let kinds = "deployments,services,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets,\
                     networkpolicies,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,flowschemas,\
                     prioritylevelconfigurations";
        let ours = "app.kubernetes.io/instance=restamp";
        let left = self
            .kubectl(&["get", kinds, "-l", ours, "-o", "name"])
            .await;
        assert_eq!(left.trim(), "", "the release is gone");
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), SYSTEM);
        let secrets = secrets.list(&ListParams::default()).await.expect("a list");
        let names: Vec<_> = secrets.items.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["restamp-key", CERTIFICATE, AUTHORITY]);
        self.ground.kubectl(&["delete", "namespace", SYSTEM]).await;
    }

    /// Waits until the API server calls the webhook.
    pub async fn until_webhook_is_called(&self) {
        let shop = Shop::injected_on(self.ground, "called").await;
        shop.set_password("one").await;
        let object = super::stream::deployment("try");
        until("the API server calls the webhook", async || {
            shop.dry_run(&object).await.ok_or("no stamp")
        })
        .await;
    }

    /// Has that many pods of a Deployment run.
    pub async fn scale(&self, deployment: &str, replicas: i32) {
        let replicas_flag = format!("--replicas={replicas}");
        let scale = ["scale", "deployment", deployment, &replicas_flag];
        self.kubectl(&scale).await;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), SYSTEM);
        let component = deployment.trim_start_matches("restamp-");
        let params =
            ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
        until("the pods are as many", async || {
            let pods = pods.list(&params).await.expect("a list").items;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            let is_so = pods.len() == ready && i32::try_from(ready) == Ok(replicas);
            if is_so {
                Ok(())
            } else {
                Err((pods.len(), ready))
            }
        })
        .await;
    }

    /// Evicts whatever runs on each of the nodes in turn.
    pub async fn drain_every_node(&self) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = nodes.list(&ListParams::default()).await.expect("a list");
        let tainted = |node: &Node| node.spec.as_ref().is_some_and(|spec| spec.taints.is_some());
        for node in nodes.items.iter().filter(|node| !tainted(node)) {
            let node = &node.name_any();
            let drain = [
                "drain",
                node,
                "--ignore-daemonsets",
                "--delete-emptydir-data",
                "--timeout=90s",
            ];
            self.ground.kubectl(&drain).await;
            self.until_available(2).await;
            self.ground.kubectl(&["uncordon", node]).await;
        }
    }

    /// Ends the watcher that leads, without a word.
    pub async fn kill_leader(&self) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), SYSTEM);
        let lease = leases.get("restamp-watcher").await.expect("a Lease");
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        let holder = holder.expect("somebody leads");
        let (pod, _) = holder
            .rsplit_once('_')
            .expect("the name of a pod, and digits");
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), SYSTEM);
        let at_once = DeleteParams::default().grace_period(0);
        pods.delete(pod, &at_once).await.expect("it is there");
    }

    async fn until_available(&self, replicas: i32) {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), SYSTEM);
        for name in DEPLOYMENTS {
            until("the Deployment is available", async || {
                let deployment = api.get(name).await.expect("it is there");
                let status = deployment.status.unwrap_or_default();
                if status.available_replicas == Some(replicas) {
                    Ok(())
                } else {
                    Err(format!("{status:?}\n{}", self.pods().await))
                }
            })
            .await;
        }
    }

    /// What went wrong, for people.
    async fn pods(&self) -> String {
        self.kubectl(&["describe", "pods"]).await
    }

    async fn kubectl(&self, args: &[&str]) -> String {
        self.ground
            .kubectl(&[&["--namespace", SYSTEM], args].concat())
            .await
    }

    async fn helm(&self, args: &[&str]) -> String {
        let mut command = tokio::process::Command::new("helm");
        command
            .args(args)
            .env("KUBECONFIG", self.ground.kubeconfig());
        let output = command.output().await.expect("helm runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "helm {args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn chart() -> String {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/restamp");
    chart.display().to_string()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|it| it.type_ == "Ready" && it.status == "True")
}
