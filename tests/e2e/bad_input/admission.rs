//! What whoever applies a workload is told at once, and that nothing is refused: through the API server
//! and the webhook.

use futures::future::join_all;
use restamp::stamp::{
    annotations::{AUTO, CONFIG_MAP_RELOAD, OBSERVED, STAMP},
    patch::MAX_ANNOTATION_BYTES,
};
use serde_json::{Value, json};

use super::WEB;
use crate::support::{
    Ground, Shop,
    deploys::{stamp_of, with_image},
    rollouts::each,
    shop::{WEB as ALL, pod, web_pod, workload},
};

async fn shop(name: &str) -> Option<Shop> {
    let shop = Shop::injected(name).await?;
    shop.set_password("one").await;
    shop.set_config_map("app", &[("level", "info")]).await;
    Some(shop)
}

/// A workload that is too much for any node, so that there are no pods of it.
fn idle(annotations: &Value) -> Value {
    let mut object = workload(WEB, annotations, &web_pod());
    object["spec"]["replicas"] = json!(0);
    object
}

async fn no_refusal() {
    let shared = Ground::shared_with_webhook("refusals").await;
    let (_, webhook) = shared.expect("there is one");
    let refusals = webhook.replica.metric("restamp_admission_refusals_total");
    assert_eq!(refusals.await, 0.0);
    let log = webhook.replica.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn what_is_wrong_with_a_manifest_is_shown_to_whoever_applies_it() {
    let Some(shop) = shop("told").await else {
        return;
    };
    shop.delete_secret("db").await;
    let auto = json!({ AUTO: "true" });
    for (annotations, parts) in [
        (
            json!({ AUTO: "yes" }),
            [
                AUTO,
                "\"yes\" counts as false",
                "write \"true\" or \"false\"",
            ],
        ),
        (
            json!({ CONFIG_MAP_RELOAD: "app-(" }),
            [
                CONFIG_MAP_RELOAD,
                "\"app-(\" is skipped",
                "write names or Go regular expressions",
            ],
        ),
        (
            auto.clone(),
            [
                "Secret/db",
                "does not exist",
                "create it, or make the reference optional",
            ],
        ),
    ] {
        for name in ALL {
            let object = workload(name, &annotations, &web_pod());
            let said = shop.kubectl(&["apply", "-f", "-"], &object).await.err;
            let start = format!("Warning: {} {}/{}: ", name.0, shop.namespace, name.1);
            let told = |line: &str| {
                line.starts_with(&start) && parts.iter().all(|part| line.contains(part))
            };
            assert!(said.lines().any(told), "{parts:?}: {said}");
        }
        // The next one is created as well: an update of annotations alone starts no pods.
        for (kind, name) in ALL {
            let resource = format!("{kind}/{name}");
            shop.kubectl(&["delete", &resource], &Value::Null).await;
        }
    }
    let empty = workload(WEB, &auto, &pod(json!({})));
    let said = shop.kubectl(&["apply", "-f", "-"], &empty).await.err;
    assert_eq!(said, "", "nothing is wrong with it");
    no_refusal().await;
}

/// With variables that take so many bytes.
fn large(bytes: usize) -> Value {
    let mut object = idle(&json!({ AUTO: "true" }));
    let variables = (0..bytes / 1000).map(|n| {
        let name = format!("N{n:06}");
        let value = "v".repeat(1000 - json!({ "name": name, "value": "" }).to_string().len() - 1);
        json!({ "name": name, "value": value })
    });
    let container = &mut object["spec"]["template"]["spec"]["containers"][0];
    let env = container["env"].as_array_mut().expect("variables");
    env.extend(variables);
    object
}

#[tokio::test]
async fn an_object_of_any_size_that_the_api_server_takes_is_stamped() {
    let Some(shop) = shop("large").await else {
        return;
    };
    // A request may have 3 MiB, and the store takes half of it.
    assert!(shop.dry_run(&large(2_900_000)).await.is_some());
    let stored = large(1_400_000);
    let created = shop.kubectl(&["create", "-o", "json", "-f", "-"], &stored);
    assert!(stamp_in(&created.await.out).is_some());
    shop.until_quiet().await;
    // Its review holds both.
    let args = ["replace", "--dry-run=server", "-o", "json", "-f", "-"];
    let replaced = shop.kubectl(&args, &large(2_900_000)).await;
    assert_eq!(stamp_in(&replaced.out), shop.stamp(WEB).await);
    assert_eq!(replaced.err, "");
    no_refusal().await;
}

fn stamp_in(json: &str) -> Option<String> {
    stamp_of(&serde_json::from_str(json).expect("an object"))
}

#[tokio::test]
async fn annotations_that_leave_no_room_are_accepted_with_a_warning() {
    let Some(shop) = shop("no-room").await else {
        return;
    };
    // Less than a record takes, and enough for what the controller writes.
    let left = 100;
    let others = AUTO.len() + "true".len() + "note".len();
    let note = "n".repeat(MAX_ANNOTATION_BYTES - others - left);
    let object = idle(&json!({ AUTO: "true", "note": note }));
    let said = shop.kubectl(&["create", "-f", "-"], &object).await.err;
    let name = format!("Warning: Deployment {}/web: ", shop.namespace);
    for part in [
        &*name,
        "leave no room for",
        STAMP,
        OBSERVED,
        "remove some",
        "253952 bytes",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(shop.stamp(WEB).await, None);
    no_refusal().await;
}

const NOT_USED: &str = "what was sent is not used, since Restamp writes it; if a manifest has the \
                        annotation, remove it there";

/// A stamp of this installation for other content, of another one, and of a version that is yet to come; and
/// what is said of each in a workload that is created.
fn foreign(own: &str) -> [(String, &'static str); 3] {
    let parts: Vec<_> = own.split('.').collect();
    let [_, key, digest, n] = parts[..] else {
        panic!("{own}");
    };
    let (zero, other_key) = ("0".repeat(digest.len()), "0".repeat(key.len()));
    [
        (format!("v1.{key}.{zero}.{n}"), NOT_USED),
        (format!("v1.{other_key}.{digest}.{n}"), NOT_USED),
        (
            format!("v2.{key}.{digest}.{n}.more"),
            "was not written by Restamp; remove it from the manifest",
        ),
    ]
}

/// Writes every workload by `args`, with `stamp` in the manifest, and expects `told` for each.
async fn write(shop: &Shop, args: &[&str], stamp: &str, image: &str, told: &str) {
    for name in ALL {
        let mut object = workload(name, &json!({ AUTO: "true" }), &web_pod());
        object = with_image(&object, image);
        object["spec"]["template"]["metadata"]["annotations"] = json!({ STAMP: stamp });
        let said = shop.kubectl(args, &object).await.err;
        let start = format!("Warning: {} {}/{}: {STAMP}", name.0, shop.namespace, name.1);
        let is_told = |line: &str| line.starts_with(&start) && line.contains(told);
        assert!(said.lines().any(is_told), "{stamp}: {said}");
    }
}

#[tokio::test]
async fn a_manifest_that_carries_a_stamp_is_one_rollout_and_a_warning() {
    let Some(shop) = shop("carried").await else {
        return;
    };
    let probe = workload(WEB, &json!({ AUTO: "true" }), &web_pod());
    let own = shop.dry_run(&probe).await.expect("a stamp");
    let carry = async |(number, (stamp, told)): (usize, (String, &str))| {
        let shop = self::shop(&format!("carried-{number}"))
            .await
            .expect("a webhook");
        let (create, replace) = (["create", "-f", "-"], ["replace", "-f", "-"]);
        // Being created is the one rollout.
        let created = write(&shop, &create, &stamp, "app:1", told);
        assert_eq!(shop.rollouts(created).await, each(0), "{stamp}");
        let deployed = write(&shop, &replace, &stamp, "app:2", NOT_USED);
        assert_eq!(shop.rollouts(deployed).await, each(1), "{stamp}");
        let before = join_all(ALL.map(|name| shop.stamp(name))).await;
        let again = write(&shop, &replace, &stamp, "app:2", "was put back");
        assert_eq!(shop.rollouts(again).await, each(0), "{stamp}");
        assert_eq!(join_all(ALL.map(|name| shop.stamp(name))).await, before);
        for name in ALL {
            assert_eq!(shop.conclusion(name).await, "Current", "{stamp}");
        }
    };
    join_all(foreign(&own).into_iter().enumerate().map(carry)).await;
    no_refusal().await;
}
