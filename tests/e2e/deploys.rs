//! P3 (one deploy, one rollout) and P4 (no drift, no fights), for every kind, counted by revision: with the
//! webhook of the release's own configuration.

mod kubectl_rollout;

use futures::future::join_all;
use restamp::stamp::annotations::{AUTO, OBSERVED, SETTLE, STAMP};
use serde_json::{Value, json};

use crate::support::{
    Shop,
    deploys::with_image,
    rollouts::{Rollouts, each},
    shop::{Name, WEB, web_pod, workload},
};

fn manifest(name: Name<'_>) -> Value {
    workload(name, &json!({ AUTO: "true" }), &web_pod())
}

/// A shop with a workload of every kind that `kubectl apply` made, at rest.
async fn applied(name: &str) -> Option<Shop> {
    let shop = Shop::injected(name).await?;
    shop.set_password("one").await;
    shop.set_config_map("app", &[("level", "info")]).await;
    for name in WEB {
        shop.kubectl(&["apply", "-f", "-"], &manifest(name)).await;
    }
    shop.until_quiet().await;
    Some(shop)
}

async fn stamps(shop: &Shop) -> Vec<Option<String>> {
    join_all(WEB.map(|name| shop.stamp(name))).await
}

/// Every workload runs on what is live, and nothing is left to do.
async fn assert_current(shop: &Shop) {
    for name in WEB {
        assert_eq!(shop.conclusion(name).await, "Current", "{name:?}");
        assert!(shop.stamp(name).await.is_some(), "{name:?} is stamped");
    }
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Secret,
    ConfigMap,
    Workloads,
}

async fn create(shop: &Shop, part: Part) {
    match part {
        Part::Secret => shop.set_password("one").await,
        Part::ConfigMap => shop.set_config_map("app", &[("level", "info")]).await,
        Part::Workloads => {
            for name in WEB {
                shop.create_workload(name, json!({ AUTO: "true" }), web_pod())
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn p3_created_together_in_every_order_is_one_rollout() {
    use Part::{ConfigMap, Secret, Workloads};
    let orders = [
        [Secret, ConfigMap, Workloads],
        [ConfigMap, Secret, Workloads],
        [Secret, Workloads, ConfigMap],
        [ConfigMap, Workloads, Secret],
        [Workloads, Secret, ConfigMap],
        [Workloads, ConfigMap, Secret],
    ];
    let deploy = async |order: [Part; 3]| {
        let Some(shop) = Shop::injected("p3-created").await else {
            return;
        };
        let together = async {
            for part in order {
                create(&shop, part).await;
            }
        };
        // Being created is the one rollout.
        assert_eq!(shop.rollouts(together).await, each(0), "{order:?}");
        assert_current(&shop).await;
    };
    join_all(orders.map(deploy)).await;
}

#[tokio::test]
async fn p3_configuration_and_then_the_workload_within_the_settle_window_is_one_rollout() {
    let Some(shop) = applied("p3-config-first").await else {
        return;
    };
    // Longer than kubectl takes on a busy machine.
    let settle = json!({ "metadata": { "annotations": { SETTLE: "10s" } } });
    for name in WEB {
        shop.patch_workload(name, "kubectl", settle.clone()).await;
    }
    let deploy = async {
        shop.set_password("two").await;
        shop.set_config_map("app", &[("level", "debug")]).await;
        for name in WEB {
            let next = with_image(&manifest(name), "app:2");
            shop.kubectl(&["apply", "-f", "-"], &next).await;
        }
    };
    assert_eq!(shop.rollouts(deploy).await, each(1));
    // So nothing is waiting for the end of the window, either.
    assert_current(&shop).await;
}

#[tokio::test]
async fn p3_the_workload_and_then_its_configuration_is_at_most_two_rollouts() {
    let Some(shop) = applied("p3-workload-first").await else {
        return;
    };
    let deploy = async {
        for name in WEB {
            let next = with_image(&manifest(name), "app:2");
            shop.kubectl(&["apply", "-f", "-"], &next).await;
        }
        shop.set_password("two").await;
    };
    let rollouts = shop.rollouts(deploy).await;
    assert!(
        rollouts.values().all(|count| (1..=2).contains(count)),
        "{rollouts:?}"
    );
    assert_current(&shop).await;
}

/// Has something done to every workload three times; gives the rollouts.
async fn thrice(shop: &Shop, act: impl AsyncFn(Name<'static>)) -> Rollouts {
    let all = async {
        for _ in 0..3 {
            for name in WEB {
                act(name).await;
            }
        }
    };
    shop.rollouts(all).await
}

#[tokio::test]
async fn p4_whoever_writes_the_same_manifest_again_changes_nothing() {
    let Some(shop) = applied("p4-again").await else {
        return;
    };
    // So that there is more to lose than the first stamp.
    let changed = shop.rollouts(shop.set_password("two")).await;
    assert_eq!(changed, each(1));
    let before = stamps(&shop).await;
    let apply: [&[&str]; 4] = [
        &["apply", "-f", "-"],
        &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager",
            "flux",
            "-f",
            "-",
        ],
        &["replace", "-f", "-"],
        &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager",
            "argocd-controller",
            "-f",
            "-",
        ],
    ];
    for args in apply {
        let written = thrice(&shop, async |name| {
            let said = shop.kubectl(args, &manifest(name)).await;
            assert_eq!(said.err.matches("restamp").count(), 0, "{}", said.err);
        });
        assert_eq!(written.await, each(0), "{args:?}");
        assert_eq!(stamps(&shop).await, before, "{args:?}");
    }
    let put = thrice(&shop, async |name| {
        shop.put_workload(name, &manifest(name)).await
    });
    assert_eq!(put.await, each(0), "a full update");
    assert_eq!(stamps(&shop).await, before);
    assert_current(&shop).await;
}

#[tokio::test]
async fn p4_opting_out_and_in_again_rolls_nothing() {
    let Some(shop) = applied("p4-out").await else {
        return;
    };
    let before = stamps(&shop).await;
    let plain = async || {
        for name in WEB {
            let plain = workload(name, &json!({}), &web_pod());
            shop.put_workload(name, &plain).await;
        }
    };
    assert_eq!(shop.rollouts(plain()).await, each(0));
    assert_eq!(stamps(&shop).await, before);
    let again = async || {
        for name in WEB {
            shop.put_workload(name, &manifest(name)).await;
        }
    };
    assert_eq!(shop.rollouts(again()).await, each(0));
    assert_current(&shop).await;
}

#[tokio::test]
async fn p4_update_strategies_that_hold_pods_back_are_counted_by_revision_alike() {
    let Some(shop) = applied("p4-strategies").await else {
        return;
    };
    let strategies = [
        json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } }),
        json!({ "type": "OnDelete" }),
    ];
    let web = WEB[1];
    for (round, strategy) in strategies.into_iter().enumerate() {
        let mut held = manifest(web);
        held["spec"]["updateStrategy"] = strategy;
        let apply = async {
            shop.put_workload(web, &held).await;
        };
        assert_eq!(
            shop.rollouts(apply).await,
            each(0),
            "a strategy is no template"
        );
        let change = shop.set_password(if round == 0 { "two" } else { "three" });
        assert_eq!(shop.rollouts(change).await, each(1));
        let again = async {
            shop.put_workload(web, &held).await;
        };
        assert_eq!(shop.rollouts(again).await, each(0));
        assert_current(&shop).await;
    }
}

#[tokio::test]
async fn p4_an_object_restored_into_another_namespace_starts_afresh() {
    let Some(shop) = applied("p4-backup").await else {
        return;
    };
    let Some(other) = Shop::injected("p4-restored").await else {
        return;
    };
    other.set_password("another one").await;
    other.set_config_map("app", &[("level", "info")]).await;
    let restore = async {
        for name in WEB {
            let mut object = serde_json::to_value(shop.workload(name).await).unwrap();
            object["metadata"] = json!({
                "name": name.1,
                "annotations": object["metadata"]["annotations"],
            });
            let said = other.kubectl(&["create", "-f", "-"], &object).await;
            let warning = format!("{STAMP}: what was sent is not used");
            assert!(said.err.contains(&warning), "{}", said.err);
        }
    };
    assert_eq!(other.rollouts(restore).await, each(0));
    assert_current(&other).await;
    for name in WEB {
        let observed = other.observed(name).await.unwrap();
        assert_eq!(observed["ns"], json!(other.namespace));
    }
    assert_eq!(other.rollouts(other.set_password("two")).await, each(1));
}

#[tokio::test]
async fn p4_a_dry_run_answers_as_the_real_request_and_shows_no_drift() {
    let Some(shop) = applied("p4-dry-run").await else {
        return;
    };
    for name in WEB {
        let said = shop.kubectl(&["diff", "-f", "-"], &manifest(name)).await;
        assert_eq!(said.out, "", "no drift");
    }
    let before = shop.revisions().await;
    for name in WEB {
        let next = with_image(&manifest(name), "app:2");
        let (stamp, observed) = (shop.stamp(name).await, shop.observed(name).await);
        let args = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "-o",
            "json",
            "-f",
            "-",
        ];
        let dry = [&args[..], &["--dry-run=server"]].concat();
        let dry = shop.kubectl(&dry, &next).await;
        assert_eq!(
            (shop.stamp(name).await, shop.observed(name).await),
            (stamp, observed)
        );
        let real = shop.kubectl(&args, &next).await;
        let ours = |said: &str| {
            let object: Value = serde_json::from_str(said).unwrap();
            let template = &object["spec"]["template"]["metadata"]["annotations"][STAMP];
            (
                template.clone(),
                object["metadata"]["annotations"][OBSERVED].clone(),
            )
        };
        assert!(ours(&dry.out).0.is_string());
        assert_eq!(ours(&dry.out), ours(&real.out));
        let said = shop.kubectl(&["diff", "-f", "-"], &next).await;
        assert_eq!(said.out, "", "no drift");
    }
    shop.until_quiet().await;
    let after = shop.revisions().await;
    for (name, revision) in &before {
        assert_eq!(after[name], revision + 1, "{name}");
    }
}
