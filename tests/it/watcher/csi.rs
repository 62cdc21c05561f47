//! Classes of the Secrets Store CSI driver, whose content only the status of each pod shows.

use std::time::Duration;

use restamp::{
    cluster::csi::{GROUP, POD_STATUSES},
    stamp::{
        annotations::{
            AUTO, IGNORE, MATCH, SEARCH, SECRET_AUTO, SECRET_PROVIDER_CLASS_AUTO,
            SECRET_PROVIDER_CLASS_EXCLUDE, SECRET_PROVIDER_CLASS_RELOAD,
        },
        scope::Namespaces,
        settings::PolicySettings,
    },
};
use serde_json::{Value, json};

use super::{SHOP, World, deployment, name, next_image, secret, until};
use crate::{
    fake_api::{Effect, FakeApi, key},
    webhook::Webhook,
};

const CLASS: &str = "SecretProviderClass/vault";

pub fn class(annotations: &Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "SecretProviderClass",
        "metadata": { "namespace": SHOP, "name": "vault", "annotations": annotations },
        "spec": { "provider": "vault" },
    })
}

/// What the driver writes down of a pod that has a version of the one object of the class.
pub fn status(pod: &str, version: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "SecretProviderClassPodStatus",
        "metadata": { "namespace": SHOP, "name": format!("{pod}-{SHOP}-vault") },
        "status": {
            "podName": pod, "secretProviderClassName": "vault", "mounted": true,
            "objects": [{ "id": "password", "version": version }],
        },
    })
}

/// A Deployment whose pods mount the class.
fn web(annotations: Value) -> Value {
    let mut web = deployment("web", &[], &[]);
    web["metadata"]["annotations"] = annotations;
    mount(&mut web);
    web
}

fn mount(web: &mut Value) {
    let spec = &mut web["spec"]["template"]["spec"];
    spec["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/secrets" }]);
    spec["volumes"] = json!([{ "name": "v", "csi": {
        "driver": "secrets-store.csi.k8s.io", "readOnly": true,
        "volumeAttributes": { "secretProviderClass": "vault" },
    }}]);
}

fn auto() -> Value {
    web(json!({ AUTO: "true" }))
}

/// An API server with the driver's kinds.
pub fn served() -> FakeApi {
    let api = FakeApi::default();
    api.serve_group(GROUP);
    api
}

/// A watcher that has recorded `web`, whose pods are a, b and c and have version 1.
async fn running(web: &Value) -> World {
    running_with(web, PolicySettings::default()).await
}

async fn running_with(web: &Value, policy: PolicySettings) -> World {
    let api = served();
    api.put("kubectl", &class(&json!({})));
    for pod in ["a", "b", "c"] {
        api.put("driver", &status(pod, "1"));
    }
    api.put("kubectl", web);
    let world = World::start_with(&api, policy).await;
    world.quiet().await;
    api.forget_calls();
    world
}

impl World {
    /// The driver gives a pod another version, or a new pod its first one.
    fn mounted(&self, pod: &str, version: &str) {
        self.api.put("driver", &status(pod, version));
    }

    fn unmounted(&self, pod: &str) {
        let name = format!("{pod}-{SHOP}-vault");
        self.api.delete(&key(POD_STATUSES, SHOP, &name));
    }

    async fn expect_rollouts(&self, times: u64) {
        self.until_rolled("web", times).await;
        self.quiet().await;
        assert_eq!(self.rollouts("web"), times);
    }

    fn lists(&self) -> usize {
        self.count("list", POD_STATUSES, "")
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_one_rollout_however_many_pods_there_are() {
    let world = running(&auto()).await;
    world.mounted("a", "2");
    world.expect_rollouts(1).await;
    assert_eq!(world.lists(), 1, "one read");
    assert_eq!(world.count("get", "secretproviderclasses", "vault"), 0);
    world.mounted("d", "2");
    world.mounted("b", "2");
    world.unmounted("a");
    world.unmounted("b");
    world.mounted("c", "2");
    world.unmounted("c");
    world.mounted("e", "2");
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
    let message = &world.events("Reloaded")[0];
    let said = "Changes detected in 'vault' of type 'SECRETPROVIDERCLASS' in namespace 'shop'";
    assert!(message.starts_with(said), "{message}");

    world.mounted("d", "1");
    world.expect_rollouts(2).await;
}

#[tokio::test(start_paused = true)]
async fn rotations_are_seen_where_single_namespaces_are_watched() {
    let policy = PolicySettings {
        namespaces: Namespaces::Only([SHOP].into()),
        ..PolicySettings::default()
    };
    let world = running_with(&auto(), policy).await;
    world.mounted("a", "2");
    world.expect_rollouts(1).await;
    assert_eq!(world.count("watch", POD_STATUSES, ""), 0, "it goes on");
    assert_eq!(world.api.watches(POD_STATUSES), 1);
}

/// Another namespace has been listed by then, so that the work has begun.
#[tokio::test(start_paused = true)]
async fn a_namespace_whose_pod_statuses_are_listed_last_is_looked_at_then() {
    let api = served();
    let late = Effect::AnswerLate(Duration::from_secs(5));
    api.fail("list", &key(POD_STATUSES, SHOP, ""), 1, late);
    api.put("kubectl", &secret("login", "one"));
    api.put("kubectl", &deployment("web", &["login"], &[]));
    let policy = PolicySettings {
        namespaces: Namespaces::Only(["mall", SHOP].into()),
        ..PolicySettings::default()
    };
    let world = World::start_with(&api, policy).await;
    world.until_recorded().await;
}

/// The pod that is behind goes first, and another one has not got the new version before it goes.
#[tokio::test(start_paused = true)]
async fn what_an_old_pod_still_gets_while_it_is_being_replaced_is_no_news() {
    let world = running(&auto()).await;
    world.mounted("a", "2");
    world.expect_rollouts(1).await;
    world.unmounted("a");
    world.quiet().await;
    world.mounted("d", "2");
    world.quiet().await;
    world.mounted("b", "2");
    world.quiet().await;
    world.unmounted("b");
    world.unmounted("c");
    world.expect_rollouts(1).await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_and_go_cost_nothing() {
    let policy = PolicySettings {
        reload_on_create: true,
        reload_on_delete: true,
        ..PolicySettings::default()
    };
    let world = running_with(&auto(), policy).await;
    for pod in 0..100 {
        world.mounted(&format!("new-{pod}"), "1");
    }
    world.quiet().await;
    assert_eq!((world.lists(), world.rollouts("web")), (0, 0));
    for pod in 0..100 {
        world.unmounted(&format!("new-{pod}"));
    }
    for pod in ["a", "b", "c"] {
        world.unmounted(pod);
    }
    world.quiet().await;
    assert!(world.recorded("web", CLASS).is_string());
    world.mounted("d", "1");
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 0);
    assert_eq!(world.count("patch", "deployments", "web"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_pods_start_on_is_recorded_and_restarts_nothing() {
    let world = running(&auto()).await;
    let before = world.recorded("web", CLASS);
    for (old, new) in [("a", "d"), ("b", "e"), ("c", "f")] {
        world.mounted(new, "2");
        world.unmounted(old);
    }
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 0);
    assert_ne!(world.recorded("web", CLASS), before);
    assert_eq!(
        world
            .metrics
            .decisions
            .with_label_values(&["PodsStarted"])
            .get(),
        1
    );
    world.mounted("e", "1");
    world.expect_rollouts(1).await;
}

#[tokio::test(start_paused = true)]
async fn one_pod_that_starts_ahead_does_not_hide_that_the_others_are_behind() {
    for back in ["1", "2"] {
        let world = running(&auto()).await;
        world.mounted("d", "2");
        world.quiet().await;
        assert_eq!(world.rollouts("web"), 0);
        // The others get it, or the rotation is taken back.
        world.mounted(if back == "1" { "d" } else { "a" }, back);
        world.expect_rollouts(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn labels_on_classes_and_pods_cost_at_most_a_look() {
    let world = running(&auto()).await;
    let label = |object: &mut Value| object["metadata"]["labels"] = json!({ "a": "b" });
    let pod = name(POD_STATUSES, &format!("a-{SHOP}-vault"));
    let vault = name("secretproviderclasses", "vault");
    world.api.edit("kubectl", &pod, label);
    world.api.edit("kubectl", &vault, label);
    world
        .api
        .edit("kubectl", &vault, |vault| vault["spec"] = json!({}));
    world.quiet().await;
    assert_eq!((world.rollouts("web"), world.lists()), (0, 0));
    assert_eq!(world.count("patch", "deployments", "web"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_pod_gets_for_the_first_time_is_no_change() {
    let api = served();
    let mut unpopulated = status("a", "1");
    unpopulated["status"]["objects"].take();
    api.put("driver", &unpopulated);
    api.put("kubectl", &auto());
    let world = World::start(&api).await;
    world.quiet().await;
    world.mounted("a", "1");
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 0);
    assert!(world.recorded("web", CLASS).is_string());
    world.mounted("a", "2");
    world.expect_rollouts(1).await;
}

#[tokio::test(start_paused = true)]
async fn annotations_decide_about_classes_as_about_other_sources() {
    let cases = [
        (json!({ AUTO: "true" }), json!({}), 1),
        (json!({ AUTO: "true" }), json!({ IGNORE: "true" }), 0),
        (json!({ SECRET_PROVIDER_CLASS_AUTO: "true" }), json!({}), 1),
        (json!({ SECRET_AUTO: "true" }), json!({}), 0),
        (
            json!({ SECRET_PROVIDER_CLASS_RELOAD: "other, va.*" }),
            json!({}),
            1,
        ),
        (json!({ SEARCH: "true" }), json!({ MATCH: "true" }), 1),
        (json!({ SEARCH: "true" }), json!({}), 0),
        (
            json!({ AUTO: "true", SECRET_PROVIDER_CLASS_EXCLUDE: "vault" }),
            json!({}),
            0,
        ),
    ];
    for (of_workload, of_class, rollouts) in cases {
        let world = running(&deployment("other", &[], &[])).await;
        world.api.put("kubectl", &class(&of_class));
        world.api.put("kubectl", &web(of_workload.clone()));
        world.quiet().await;
        world.mounted("a", "2");
        world.quiet().await;
        let found = world.rollouts("web");
        assert_eq!(found, rollouts, "{of_workload}, {of_class}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_named_need_not_be_mounted_by_the_workload() {
    let mut named = deployment("web", &[], &[]);
    named["metadata"]["annotations"] = json!({ SECRET_PROVIDER_CLASS_RELOAD: "vault" });
    let world = running(&named).await;
    world.mounted("a", "2");
    world.expect_rollouts(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_while_nobody_watches_is_acted_upon_once() {
    let world = running(&auto()).await;
    let api = world.stop().await;
    let world = World::start(&api).await;
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 0, "a restart alone");

    let api = world.stop().await;
    api.put("driver", &status("a", "2"));
    let world = World::start(&api).await;
    world.expect_rollouts(1).await;

    let api = world.kill().await;
    for new in ["d", "e"] {
        api.put("driver", &status(new, "2"));
    }
    api.delete(&key(POD_STATUSES, SHOP, &format!("a-{SHOP}-vault")));
    api.put("driver", &status("b", "2"));
    let world = World::start(&api).await;
    world.expect_rollouts(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_while_the_watch_is_down_is_found_by_the_next_list() {
    let world = running(&auto()).await;
    world.api.cut(POD_STATUSES);
    world.mounted("a", "2");
    world.api.compact();
    world.expect_rollouts(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_lags_behind_a_restart_causes_no_other() {
    let web = auto();
    let world = running(&web).await;
    world.api.hold(POD_STATUSES);
    world.mounted("a", "2");
    world.api.put("kubectl", &secret("login", "one"));
    // The workload comes to use a Secret: everything about it is read again for the record.
    let mut more = world.deployment("web");
    more["spec"]["template"]["spec"]["containers"][0]["envFrom"] =
        json!([{ "secretRef": { "name": "login" } }]);
    world.api.put("kubectl", &more);
    world.quiet().await;
    world.api.release(POD_STATUSES);
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 2, "the deploy, and the rotation");
}

/// Without the driver nothing waits for it, and nothing is recorded that would be a change when it is installed.
#[tokio::test(start_paused = true)]
async fn a_driver_that_is_installed_later_is_picked_up_without_a_rollout() {
    let api = FakeApi::default();
    let mut web = deployment("web", &["login"], &[]);
    mount(&mut web);
    api.put("kubectl", &secret("login", "one"));
    api.put("kubectl", &web);
    let world = World::start(&api).await;
    world.until_recorded().await;
    assert!(world.recorded("web", CLASS).is_null());
    let observed = &world.deployment("web")["metadata"]["annotations"]["restamp.dev/observed"];
    assert!(!observed.as_str().unwrap().contains("vault"), "{observed}");
    api.put("kubectl", &secret("login", "two"));
    world.expect_rollouts(1).await;

    api.serve_group(GROUP);
    world.quiet().await;
    api.put("kubectl", &class(&json!({})));
    world.mounted("a", "1");
    until("the class is recorded", || {
        world.recorded("web", CLASS).is_string()
    })
    .await;
    world.expect_rollouts(1).await;
    world.mounted("a", "2");
    world.expect_rollouts(2).await;
}

/// As with the rights that Reloader's chart gives without its integration.
#[tokio::test(start_paused = true)]
async fn a_driver_that_may_not_be_looked_at_holds_nothing_up() {
    let api = served();
    for resource in [POD_STATUSES, "secretproviderclasses"] {
        for namespace in ["", SHOP] {
            api.fail(
                "list",
                &key(resource, namespace, ""),
                u32::MAX,
                Effect::Refused(403),
            );
        }
    }
    let mut web = deployment("web", &["login"], &[]);
    mount(&mut web);
    api.put("kubectl", &secret("login", "one"));
    api.put("kubectl", &web);
    let world = World::start(&api).await;
    world.until_recorded().await;
    api.put("kubectl", &secret("login", "two"));
    world.expect_rollouts(1).await;
    world.mounted("a", "1");
    api.heal();
    world.expect_rollouts(1).await;
    world.mounted("a", "2");
    world.expect_rollouts(2).await;
}

#[tokio::test(start_paused = true)]
async fn the_webhook_reads_no_class_and_keeps_what_is_recorded_of_one() {
    let world = running(&auto()).await;
    let recorded = world.recorded("web", CLASS);
    assert!(recorded.is_string());
    let webhook = Webhook::start(&world.api).await;
    world.api.forget_calls();
    let (web, make) = (name("deployments", "web"), |stored: Option<&Value>| {
        next_image(stored.unwrap())
    });
    webhook.write(&world.api, "kubectl", &web, make).await;
    let of_driver = |call: &&crate::fake_api::Call| call.key.resource.starts_with("secretprovider");
    assert_eq!(world.calls().iter().filter(of_driver).count(), 0);
    assert_eq!(world.recorded("web", CLASS), recorded);
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1, "the deploy");
    world.mounted("a", "2");
    world.expect_rollouts(2).await;
}
