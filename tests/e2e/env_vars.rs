//! The strategy `env-vars`: templates tell of a change by Reloader's variables. On a cluster of its own, since the
//! strategy is one for all.

use restamp::stamp::{
    annotations::AUTO, digest::Encoding, reloader::ContentHash, source::SourceKind,
};
use serde_json::{Value, json};

use crate::support::{
    Ground, Shop,
    rollouts::each,
    shop::{Name, pod},
};

const DEPLOYMENT: Name<'static> = ("Deployment", "web");
const ALL: [Name<'static>; 3] = [DEPLOYMENT, ("StatefulSet", "web"), ("DaemonSet", "web")];
const VARIABLE: &str = "STAKATER_DB_SECRET";

/// The hash that Reloader writes for a password.
fn hash(password: &str) -> String {
    let content = [("password", Encoding::Binary, password.as_bytes())];
    ContentHash::of(SourceKind::Secret, &content).to_string()
}

/// A template that Reloader restarted when the password became `password`.
fn reloaded(password: &str) -> Value {
    pod(json!({
        "envFrom": [{ "secretRef": { "name": "db" } }],
        "env": [{ "name": "TZ", "value": "UTC" }, { "name": VARIABLE, "value": hash(password) }],
    }))
}

async fn variables(shop: &Shop, name: Name<'_>) -> Value {
    let workload = shop.workload(name).await;
    workload.data["spec"]["template"]["spec"]["containers"][0]["env"].clone()
}

#[tokio::test]
async fn with_env_vars_a_change_is_told_by_reloaders_variable() {
    let Some(ground) = Ground::own("env-vars").await else {
        return;
    };
    let watcher = ground
        .leading_watcher_with("env-vars", &["--reload-strategy=env-vars"])
        .await;
    let shop = Shop::open(&ground, "env-vars").await;
    shop.set_secret("db", &[("password", "one")]).await;
    for name in ALL {
        let template = match name {
            DEPLOYMENT => reloaded("one"),
            _ => pod(json!({ "envFrom": [{ "secretRef": { "name": "db" } }] })),
        };
        shop.create_workload(name, json!({ AUTO: "true" }), template)
            .await;
    }
    shop.until_recorded(&ALL).await;
    shop.until_quiet().await;
    let rollouts = shop
        .rollouts(shop.set_secret("db", &[("password", "two")]))
        .await;
    assert_eq!(rollouts, each(1), "{}", watcher.log());
    let told = json!({ "name": VARIABLE, "value": hash("two") });
    for name in ALL {
        let expected = match name {
            DEPLOYMENT => json!([{ "name": "TZ", "value": "UTC" }, told]),
            _ => json!([told]),
        };
        assert_eq!(variables(&shop, name).await, expected, "{name:?}");
        assert_eq!(shop.stamp(name).await, None, "{name:?}");
    }

    let undone = json!({ "spec": { "template": reloaded("one") } });
    shop.patch_workload(DEPLOYMENT, "undo", undone).await;
    shop.until_quiet().await;
    let rollouts = shop
        .rollouts(shop.set_secret("db", &[("password", "one")]))
        .await;
    assert_eq!(rollouts, each(1), "{}", watcher.log());
    assert!(
        shop.stamp(DEPLOYMENT).await.is_some(),
        "the variable alone cannot tell"
    );
    let workload = ["explain", "deployment/web", "-n", &shop.namespace];
    let args = [&workload[..], &["--reload-strategy=env-vars"]].concat();
    let (_, out, err) = ground.restamp(ground.kubeconfig(), &args).await;
    assert!(out.contains("nothing to do"), "{out}{err}");
}
