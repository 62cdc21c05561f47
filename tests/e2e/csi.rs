//! Classes of the Secrets Store CSI driver, with the driver's own definitions; the tests act as the driver. Each on a
//! cluster of its own, since the definitions are everybody's.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use restamp::stamp::annotations::{AUTO, IGNORE, SECRET_PROVIDER_CLASS_EXCLUDE};
use serde_json::{Value, json};

use crate::support::{
    Ground, Shop,
    shop::{Name, pod},
    wait::until,
    workload::definition,
};

const GROUP: &str = "secrets-store.csi.x-k8s.io";
const PLURALS: [&str; 2] = ["secretproviderclasses", "secretproviderclasspodstatuses"];
const WEB: Name<'static> = ("Deployment", "web");
/// As [`WEB`], but that it does not want to be restarted.
const APART: Name<'static> = ("Deployment", "apart");
/// Tells how far the watch of pod statuses has come.
const SENTINEL: Name<'static> = ("Deployment", "sentinel-of-classes");

async fn install(ground: &Ground) {
    for plural in PLURALS {
        ground.serve(&format!("{plural}.{GROUP}")).await;
    }
}

/// The definitions as they were before version 1.
async fn install_old(ground: &Ground) {
    for plural in PLURALS {
        let name = format!("{plural}.{GROUP}");
        let file = definition(&name);
        let args = ["create", "--dry-run=client", "-o", "json", "-f", &file];
        let mut crd: Value = serde_json::from_str(&ground.kubectl(&args).await).expect("JSON");
        let versions = crd["spec"]["versions"].as_array_mut().expect("versions");
        versions.retain(|version| version["name"] == "v1alpha1");
        versions[0]["storage"] = json!(true);
        let file = ground.file(&format!("{plural}.json"), &crd.to_string());
        let file = file.to_str().expect("UTF-8");
        ground.serve_from(&name, file).await;
    }
}

/// A pod template that mounts a class.
fn mounts(class: &str) -> Value {
    let mut template = pod(json!({ "volumeMounts": [{ "name": "v", "mountPath": "/secrets" }] }));
    template["spec"]["volumes"] = json!([{ "name": "v", "csi": {
        "driver": "secrets-store.csi.k8s.io", "readOnly": true,
        "volumeAttributes": { "secretProviderClass": class },
    }}]);
    template
}

/// The driver on all nodes of a shop.
struct Driver<'a> {
    shop: &'a Shop,
}

impl Driver<'_> {
    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1", kind));
        let plural = PLURALS[usize::from(kind != "SecretProviderClass")];
        let resource = ApiResource {
            plural: plural.to_owned(),
            ..resource
        };
        Api::namespaced_with(self.shop.client.clone(), &self.shop.namespace, &resource)
    }

    async fn add_class(&self, name: &str) {
        let class = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "SecretProviderClass",
            "metadata": { "name": name },
            "spec": { "provider": "vault", "parameters": { "objects": "- password" } },
        });
        let class = serde_json::from_value(class).expect("an object");
        let api = self.api("SecretProviderClass");
        let created = api.create(&PostParams::default(), &class).await;
        created.expect("it can be created");
    }

    /// Deletes a class, and makes it again once Restamp has dealt with that.
    async fn replace_class(&self, name: &str) {
        let api = self.api("SecretProviderClass");
        let deleted = api.delete(name, &DeleteParams::default()).await;
        deleted.expect("it was there");
        self.until_quiet().await;
        self.add_class(name).await;
    }

    async fn annotate_class(&self, name: &str, metadata: Value) {
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let api = self.api("SecretProviderClass");
        let patched = api.patch(name, &PatchParams::default(), &patch).await;
        patched.expect("it can be patched");
    }

    fn status_of(&self, pod: &str, class: &str) -> String {
        format!("{pod}-{}-{class}", self.shop.namespace)
    }

    /// A pod of that name mounts a class for the first time. Its status goes with it, if there is such a pod.
    async fn mount(&self, pod: &str, owner: Option<&Pod>, class: &str, version: &str) {
        let owner = owner.and_then(|pod| pod.metadata.uid.as_ref());
        let owners = owner
            .map(|uid| json!([{ "apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid }]));
        let status = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "SecretProviderClassPodStatus",
            "metadata": { "name": self.status_of(pod, class), "ownerReferences": owners },
            "status": {
                "podName": pod, "secretProviderClassName": class, "mounted": true,
                "targetPath": format!("/var/lib/kubelet/pods/{pod}/volumes/kubernetes.io~csi/v/mount"),
                "objects": [{ "id": "password", "version": version }],
            },
        });
        let status = serde_json::from_value(status).expect("an object");
        let api = self.api("SecretProviderClassPodStatus");
        match api.create(&PostParams::default(), &status).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            created => drop(created.expect("it can be created")),
        }
    }

    /// A pod gets another version while it runs: the whole status is written.
    async fn rotate(&self, pod: &str, class: &str, version: &str) {
        let api = self.api("SecretProviderClassPodStatus");
        let name = self.status_of(pod, class);
        let mut status = api.get(&name).await.expect("it is mounted");
        status.data["status"]["objects"][0]["version"] = json!(version);
        let replaced = api.replace(&name, &PostParams::default(), &status).await;
        replaced.expect("it can be replaced");
    }

    async fn label_status(&self, pod: &str) {
        let patch = Patch::Merge(json!({ "metadata": { "labels": { "a": "b" } } }));
        let api = self.api("SecretProviderClassPodStatus");
        let name = self.status_of(pod, "vault");
        let patched = api.patch(&name, &PatchParams::default(), &patch).await;
        patched.expect("it can be patched");
    }

    /// Mounts the class of `web` in every pod that has none yet, once there are `count` of the current revision.
    async fn mount_all(&self, count: usize, version: &str) -> Vec<String> {
        let pods: Api<Pod> = Api::namespaced(self.shop.client.clone(), &self.shop.namespace);
        let of_web = ListParams::default().labels("app=web");
        let running = until("the pods are there", async || {
            let all = pods.list(&of_web).await.expect("a list").items;
            let web = self.shop.workload(WEB).await;
            let done = web.data["status"]["updatedReplicas"] == json!(count)
                && web.data["status"]["observedGeneration"].as_i64() == web.metadata.generation;
            let is_going = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
            match done && all.len() == count && !all.iter().any(is_going) {
                true => Ok(all),
                false => Err((web.data["status"].clone(), all.len())),
            }
        })
        .await;
        let mut names = Vec::new();
        for pod in &running {
            let name = pod.metadata.name.clone().expect("a name");
            self.mount(&name, Some(pod), "vault", version).await;
            names.push(name);
        }
        names
    }

    /// Adds the sentinel and its only pod.
    async fn add_sentinel(&self) {
        self.add_class("sentinel").await;
        let auto = json!({ AUTO: "true" });
        self.shop
            .create_workload(SENTINEL, auto, mounts("sentinel"))
            .await;
        self.mount("sentinel", None, "sentinel", "0").await;
        self.until_class_recorded(SENTINEL, "sentinel").await;
    }

    /// Waits until Restamp has dealt with all pod statuses that were written before.
    async fn until_quiet(&self) {
        let before = self.shop.stamp(SENTINEL).await;
        let next = format!("after {before:?}");
        self.rotate("sentinel", "sentinel", &next).await;
        until("the sentinel is restamped", async || {
            match self.shop.stamp(SENTINEL).await {
                now if now != before => Ok(()),
                now => Err(now),
            }
        })
        .await;
        self.shop.until_quiet().await;
    }

    async fn until_class_recorded(&self, name: Name<'_>, class: &str) {
        let source = format!("SecretProviderClass/{class}");
        until("the class is recorded", async || {
            let observed = self.shop.observed(name).await;
            match observed
                .as_ref()
                .map(|it| it["sources"][&source]["digest"].is_string())
            {
                Some(true) => Ok(()),
                _ => Err(observed),
            }
        })
        .await;
    }

    /// How often `web` was rolled out since it was made, now and when all is quiet.
    async fn expect_rollouts(&self, times: u64) {
        until("it is rolled out", async || {
            match self.rollouts(WEB).await {
                now if now >= times => Ok(()),
                now => Err(now),
            }
        })
        .await;
        self.until_quiet().await;
        assert_eq!(self.rollouts(WEB).await, times);
    }

    async fn rollouts(&self, (kind, name): Name<'_>) -> u64 {
        let revisions = self.shop.revisions().await;
        revisions[&format!("{kind}/{name}")] - 1
    }
}

async fn create_web(shop: &Shop, annotations: Value) {
    shop.create_workload(WEB, annotations, mounts("vault"))
        .await;
    let scale = json!({ "spec": { "replicas": 3 } });
    shop.patch_workload(WEB, "kubectl", scale).await;
}

#[tokio::test]
async fn a_rotation_is_one_rollout_with_the_real_definitions() {
    let Some((ground, watcher, _webhook)) = Ground::own_with_both("the CSI driver").await else {
        return;
    };
    install(&ground).await;
    let shop = Shop::injected_on(&ground, "csi").await;
    let driver = Driver { shop: &shop };
    driver.add_class("vault").await;
    create_web(&shop, json!({ AUTO: "true" })).await;
    let exclude = json!({ AUTO: "true", SECRET_PROVIDER_CLASS_EXCLUDE: "vault" });
    shop.create_workload(APART, exclude, mounts("vault")).await;
    driver.add_sentinel().await;
    let pods = driver.mount_all(3, "1").await;
    driver.until_class_recorded(WEB, "vault").await;
    driver.until_quiet().await;
    assert_eq!(driver.rollouts(WEB).await, 0, "{}", watcher.log());

    driver.rotate(&pods[0], "vault", "2").await;
    driver.expect_rollouts(1).await;
    let pods = driver.mount_all(3, "2").await;
    driver.until_quiet().await;
    assert_eq!(driver.rollouts(WEB).await, 1, "{}", watcher.log());

    driver.label_status(&pods[0]).await;
    let label = json!({ "labels": { "a": "b" } });
    driver.annotate_class("vault", label).await;
    let api: Api<Pod> = Api::namespaced(shop.client.clone(), &shop.namespace);
    let deleted = api.delete(&pods[0], &DeleteParams::default()).await;
    deleted.expect("it was there");
    let pods = driver.mount_all(3, "2").await;
    driver.until_quiet().await;
    let after_pods = driver.rollouts(WEB).await;
    assert_eq!(after_pods, 1, "labels, and pods that come and go");

    driver.replace_class("vault").await;
    driver.until_quiet().await;
    assert_eq!(driver.rollouts(WEB).await, 1, "a class that goes and comes");

    driver.rotate(&pods[1], "vault", "1").await;
    driver.rotate(&pods[2], "vault", "1").await;
    driver.expect_rollouts(2).await;
    let pods = driver.mount_all(3, "1").await;

    let ignore = json!({ "annotations": { IGNORE: "true" } });
    driver.annotate_class("vault", ignore).await;
    driver.rotate(&pods[0], "vault", "3").await;
    driver.until_quiet().await;
    assert_eq!(driver.rollouts(WEB).await, 2, "ignored");
    assert_eq!(driver.rollouts(APART).await, 0, "excluded");

    let args = ["explain", "deployment/web", "-n", &shop.namespace];
    let (_, out, err) = ground.restamp(ground.kubeconfig(), &args).await;
    let said = "SecretProviderClass/vault: not followed (not selected: it is marked to be ignored";
    assert!(out.contains(said), "{out}{err}");
    let args = [
        "explain",
        "deployment/sentinel-of-classes",
        "-n",
        &shop.namespace,
    ];
    let (_, out, err) = ground.restamp(ground.kubeconfig(), &args).await;
    let said = "SecretProviderClass/sentinel: as recorded (auto; all keys)";
    assert!(out.contains(said), "{out}{err}");
}

#[tokio::test]
async fn a_driver_is_followed_from_when_it_is_installed_also_while_the_watcher_is_down() {
    let Some(ground) = Ground::own("a CSI driver that comes later").await else {
        return;
    };
    let watcher = ground.leading_watcher("first").await;
    let shop = Shop::open(&ground, "csi-later").await;
    let driver = Driver { shop: &shop };
    let mut template = mounts("vault");
    shop.set_secret("db", &[("password", "one")]).await;
    template["spec"]["containers"][0]["envFrom"] = json!([{ "secretRef": { "name": "db" } }]);
    shop.create_workload(WEB, json!({ AUTO: "true" }), template)
        .await;
    shop.until_recorded(&[WEB]).await;
    install_old(&ground).await;
    shop.set_secret("db", &[("password", "two")]).await;
    until(
        "the change of the Secret is followed",
        async || match driver.rollouts(WEB).await {
            1 => Ok(()),
            other => Err(other),
        },
    )
    .await;
    let observed = shop.observed(WEB).await.expect("recorded");
    assert!(!observed.to_string().contains("vault"), "{observed}");
    let args = ["explain", "deployment/web", "-n", &shop.namespace];
    let (_, out, err) = ground.restamp(ground.kubeconfig(), &args).await;
    let said = "SecretProviderClass/vault: no pod has mounted it";
    assert!(
        out.contains("nothing to do") && out.contains(said),
        "{out}{err}"
    );

    install(&ground).await;
    driver.add_class("vault").await;
    let pods = driver.mount_all(1, "1").await;
    driver.until_class_recorded(WEB, "vault").await;
    driver.add_sentinel().await;
    driver.until_quiet().await;
    assert_eq!(driver.rollouts(WEB).await, 1, "{}", watcher.log());

    watcher.stop().await;
    let watcher = ground.leading_watcher("second").await;
    driver.until_quiet().await;
    assert_eq!(driver.rollouts(WEB).await, 1, "{}", watcher.log());
    watcher.stop().await;
    driver.rotate(&pods[0], "vault", "2").await;
    let watcher = ground.leading_watcher("third").await;
    driver.expect_rollouts(2).await;
    driver.mount_all(1, "2").await;
    driver.until_quiet().await;
    assert_eq!(driver.rollouts(WEB).await, 2, "{}", watcher.log());
}
