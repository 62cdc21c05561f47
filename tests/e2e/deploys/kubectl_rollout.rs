//! What `kubectl rollout` does: undo, restart, pause and resume.

use restamp::stamp::annotations::STAMP;
use serde_json::json;

use super::{applied, assert_current, manifest, stamps};
use crate::support::{
    Shop,
    deploys::with_image,
    rollouts::each,
    shop::{Name, WEB},
};

fn rollout(verb: &'static str, (kind, name): Name<'_>) -> [String; 3] {
    [
        "rollout".to_owned(),
        verb.to_owned(),
        format!("{kind}/{name}"),
    ]
}

async fn run_rollout(shop: &Shop, verb: &'static str, name: Name<'_>) -> String {
    let args = rollout(verb, name);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    shop.kubectl(&args, &json!({})).await.err
}

#[tokio::test]
async fn p4_undoing_a_rollout_of_configuration_alone_changes_nothing_and_says_so() {
    let Some(shop) = applied("p4-undo").await else {
        return;
    };
    assert_eq!(shop.rollouts(shop.set_password("two")).await, each(1));
    let before = stamps(&shop).await;
    let undo = async {
        for name in WEB {
            let warnings = run_rollout(&shop, "undo", name).await;
            let said = format!(
                "{} {}/{}: {STAMP} was put back",
                name.0, shop.namespace, name.1
            );
            assert!(warnings.contains(&said), "{name:?}: {warnings}");
        }
    };
    assert_eq!(shop.rollouts(undo).await, each(0));
    assert_eq!(stamps(&shop).await, before);
    assert_current(&shop).await;
}

#[tokio::test]
async fn p3_undoing_and_restarting_a_deploy_is_one_rollout_on_live_content() {
    let Some(shop) = applied("p3-undo").await else {
        return;
    };
    let deploy = async {
        for name in WEB {
            let next = with_image(&manifest(name), "app:2");
            shop.kubectl(&["apply", "-f", "-"], &next).await;
        }
    };
    assert_eq!(shop.rollouts(deploy).await, each(1));
    assert_eq!(shop.rollouts(shop.set_password("two")).await, each(1));
    let undo = async {
        for name in WEB {
            let args = rollout("undo", name);
            let mut args: Vec<_> = args.iter().map(String::as_str).collect();
            args.push("--to-revision=1");
            shop.kubectl(&args, &json!({})).await;
        }
    };
    assert_eq!(shop.rollouts(undo).await, each(1));
    assert_current(&shop).await;
    for name in WEB {
        let image =
            &shop.workload(name).await.data["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(image, "app:1");
    }
    let restart = async {
        for name in WEB {
            run_rollout(&shop, "restart", name).await;
        }
    };
    assert_eq!(shop.rollouts(restart).await, each(1));
    assert_current(&shop).await;
}

#[tokio::test]
async fn p3_what_happens_to_a_paused_deployment_is_one_rollout_when_it_is_resumed() {
    let Some(shop) = applied("p3-paused").await else {
        return;
    };
    let web = WEB[0];
    run_rollout(&shop, "pause", web).await;
    let deploy = async {
        let mut next = with_image(&manifest(web), "app:2");
        next["spec"]["paused"] = json!(true);
        shop.kubectl(&["apply", "-f", "-"], &next).await;
        shop.set_password("two").await;
    };
    let mut expected = each(1);
    expected.insert("Deployment/web".to_owned(), 0);
    assert_eq!(shop.rollouts(deploy).await, expected);
    let resume = async {
        run_rollout(&shop, "resume", web).await;
    };
    let mut expected = each(0);
    expected.insert("Deployment/web".to_owned(), 1);
    assert_eq!(shop.rollouts(resume).await, expected);
    assert_current(&shop).await;
}
