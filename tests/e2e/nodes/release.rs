//! The chart, installed as its documentation says.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStatus, Node, Pod},
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde_json::Value;

use crate::{
    certificates::{documented::copy, site::folder},
    support::{Ground, Shop, ground::SYSTEM, wait::until},
};

const NAME: &str = "restamp";
const CERTIFICATE: &str = "restamp-webhook-tls";
const AUTHORITY: &str = "restamp-webhook-tls-ca";
const DEPLOYMENTS: [&str; 2] = ["restamp-watcher", "restamp-webhook"];
const COMPONENTS: [&str; 2] = ["watcher", "webhook"];
/// That of the chart, and that of `make tools-images` to upgrade to.
pub const IMAGE: &str = "restamp:dev";
pub const NEXT_IMAGE: &str = "restamp:next";
pub const NEXT_VERSION: &str = "99.0.0";
/// The exit code of a container that was killed.
const KILLED: i32 = 128 + 9;

/// What a release runs.
#[derive(Debug, PartialEq)]
pub struct Version {
    /// Of the chart.
    pub version: String,
    /// The image, by its name and by its digest.
    pub image: String,
    pub id: String,
}

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

    /// Another version of chart and image, as a package.
    pub async fn upgrade(&self) {
        let files = tempfile::tempdir().expect("a temporary folder");
        let package = self.package_next(files.path()).await;
        let package = package.to_str().expect("a path in UTF-8");
        self.helm(&["upgrade", NAME, package, "--namespace", SYSTEM])
            .await;
        self.until_rolled_out().await;
    }

    /// The version of before.
    pub async fn roll_back(&self) {
        self.helm(&["rollback", NAME, "--namespace", SYSTEM]).await;
        self.until_rolled_out().await;
    }

    /// Packages the chart as another version, which runs another image.
    async fn package_next(&self, files: &Path) -> PathBuf {
        let chart = files.join("restamp");
        copy(&folder("charts/restamp"), &chart);
        let about = chart.join("Chart.yaml");
        let text = fs::read_to_string(&about).expect("a file");
        assert_eq!(text.matches(IMAGE).count(), 1, "{text}");
        fs::write(&about, text.replace(IMAGE, NEXT_IMAGE)).expect("a file");
        let [chart, files_] = [&chart, files].map(|path| path.to_str().expect("a path in UTF-8"));
        let version = ["--version", NEXT_VERSION, "--app-version", NEXT_VERSION];
        let package = ["package", chart, "--destination", files_];
        self.helm(&[&package[..], &version].concat()).await;
        files.join(format!("restamp-{NEXT_VERSION}.tgz"))
    }

    /// What is installed, and what all of its pods run.
    pub async fn runs(&self) -> Version {
        let list = ["list", "--namespace", SYSTEM, "--output", "json"];
        let list: Value = serde_json::from_str(&self.helm(&list).await).expect("JSON");
        let chart = list[0]["chart"].as_str().expect("a chart");
        let mut images = BTreeSet::new();
        for pod in self.all_pods().await {
            let id = container(&pod).expect("a status").image_id.clone();
            let image = pod.spec.expect("a spec").containers.remove(0).image;
            images.insert((image.expect("an image"), id));
        }
        assert_eq!(images.len(), 1, "{images:?}");
        let (image, id) = images.pop_first().expect("one");
        Version {
            version: chart.trim_start_matches("restamp-").to_owned(),
            image,
            id,
        }
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

    /// The pods of a component that are to stay.
    pub async fn pods_of(&self, component: &str) -> Vec<Pod> {
        let selector = format!("app.kubernetes.io/component={component}");
        let params = ListParams::default().labels(&selector);
        let mut pods = self.pods_api().list(&params).await.expect("a list").items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods
    }

    /// Those of all components.
    pub async fn all_pods(&self) -> Vec<Pod> {
        let pods = COMPONENTS.map(|component| self.pods_of(component));
        join_all(pods).await.concat()
    }

    /// What the kubelet has counted for the container of a pod.
    pub async fn counted(&self, pod: &Pod) -> Value {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let node = node.expect("it is on a node");
        let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
        until("the kubelet has counted", async || {
            let summary = self.ground.kubectl(&["get", "--raw", &path]).await;
            let summary: Value = serde_json::from_str(&summary).expect("JSON");
            container_in(&summary, pod).ok_or(summary)
        })
        .await
    }

    /// The pod that a Lease says is the leader.
    pub async fn pod_of_holder(&self, holder: &str) -> Pod {
        let (pod, _) = holder
            .rsplit_once('_')
            .expect("the name of a pod, and digits");
        self.pods_api().get(pod).await.expect("it is there")
    }

    /// Waits until these pods are ready, with containers of which the last one was killed.
    pub async fn until_restarted_after_kill(&self, pods: &[Pod]) {
        let is_back = |pod: &Pod| {
            let last = container(pod).and_then(|it| it.last_state.clone());
            let code = last.and_then(|last| Some(last.terminated?.exit_code));
            code == Some(KILLED) && is_ready(pod)
        };
        self.until_each(pods, "the kubelet has started it again", is_back)
            .await;
    }

    /// Waits until the kubelet has started these pods in vain, and leaves them for a while: before that, they are back
    /// sooner than they are taken for dead.
    pub async fn until_left_dead(&self, pods: &[Pod]) {
        let is_left = |pod: &Pod| {
            let state = container(pod).and_then(|it| it.state.clone());
            let waits = state.and_then(|state| state.waiting?.reason);
            waits.as_deref() == Some("CrashLoopBackOff")
        };
        self.until_each(pods, "the kubelet leaves it dead", is_left)
            .await;
    }

    async fn until_each(&self, pods: &[Pod], what: &str, is_so: impl Fn(&Pod) -> bool) {
        for pod in pods {
            until(what, async || {
                let pod = self.pods_api().get(&pod.name_any()).await;
                let pod = pod.expect("it is there");
                is_so(&pod).then_some(()).ok_or(pod.status)
            })
            .await;
        }
    }

    /// What `restamp explain` in a pod says about a workload.
    pub async fn explain(&self, workload: &str, namespace: &str) -> String {
        let program = ["exec", "deployment/restamp-watcher", "--", "/restamp"];
        let explain = ["explain", workload, "-n", namespace];
        self.kubectl(&[program, explain].concat()).await
    }

    fn pods_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), SYSTEM)
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
    folder("charts/restamp").display().to_string()
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

/// What the summary of a kubelet says of the container of a pod, once all of it is there.
fn container_in(summary: &Value, pod: &Pod) -> Option<Value> {
    let uid = pod.uid()?;
    let mut pods = summary["pods"].as_array()?.iter();
    let pod = pods.find(|it| it["podRef"]["uid"] == *uid)?;
    let container = &pod["containers"][0];
    container["memory"]["workingSetBytes"].as_f64()?;
    container["cpu"]["usageNanoCores"].as_f64()?;
    Some(container.clone())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|it| it.type_ == "Ready" && it.status == "True")
}
