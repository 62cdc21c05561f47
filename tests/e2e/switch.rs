//! The switch from Reloader, on a cluster of its own: `restamp migrate`, and what it says.

use futures::future::join_all;
use restamp::stamp::{
    annotations::{AUTO, LAST_RELOADED_FROM},
    digest::Encoding,
    reloader::ContentHash,
    source::SourceKind,
};
use serde_json::{Value, json};

use crate::support::{Ground, Shop, ground::SYSTEM, shop::pod};

const KINDS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];
/// Where Reloader is.
const TOOLS: &str = "default";
const SECRETS: usize = 5;
const WORKLOADS: usize = 50;

fn secret_of(workload: usize) -> String {
    format!("s{}", workload % SECRETS)
}

fn hash(password: &str) -> String {
    let content = [("password", Encoding::Binary, password.as_bytes())];
    ContentHash::of(SourceKind::Secret, &content).to_string()
}

/// A template that Reloader restarted when the password was that, by one strategy or the other.
fn reloaded(workload: usize, password: &str) -> Value {
    let secret = secret_of(workload);
    let mut container = json!({ "envFrom": [{ "secretRef": { "name": secret } }] });
    let by_variable = workload.is_multiple_of(2);
    if by_variable {
        let name = format!("STAKATER_{}_SECRET", secret.to_uppercase());
        container["env"] = json!([{ "name": name, "value": hash(password) }]);
    }
    let mut template = pod(container);
    if !by_variable {
        let last = json!({
            "type": "SECRET", "name": secret, "namespace": "shop", "hash": hash(password),
            "containerRefs": ["app"], "observedAt": 1_700_000_000,
        });
        template["metadata"]["annotations"] = json!({ LAST_RELOADED_FROM: last.to_string() });
    }
    template
}

/// Reloader, as its chart installs it.
fn reloader(namespace: &str) -> [Value; 4] {
    let labels = json!({ "app": "reloader" });
    let subjects =
        json!([{ "kind": "ServiceAccount", "name": "reloader", "namespace": namespace }]);
    let binding = |kind: &str, name: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": kind },
            "subjects": subjects,
        })
    };
    [
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "reloader", "namespace": namespace } }),
        binding("reloader-role", "reloader-role-binding"),
        binding("view", "reloader-views"),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "reloader", "namespace": namespace },
            "spec": {
                "replicas": 0, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": {
                    "serviceAccountName": "reloader",
                    "containers": [{
                        "name": "reloader", "image": "ghcr.io/stakater/reloader:v1.4.21",
                        "args": ["--log-level=info", "--reload-on-delete=true", "--enable-ha=true"],
                        "env": [
                            { "name": "ALERT_ON_RELOAD", "value": "false" },
                            { "name": "GOMAXPROCS", "value": "1" },
                        ],
                    }],
                } },
            },
        }),
    ]
}

async fn install_reloader(ground: &Ground, namespace: &str) {
    for (number, object) in reloader(namespace).iter().enumerate() {
        let file = ground.file(&format!("reloader-{number}.json"), &object.to_string());
        let file = file.to_str().expect("UTF-8");
        ground.kubectl(&["apply", "-f", file]).await;
    }
}

async fn migration_is_told(ground: &Ground, shop: &Shop) {
    let (code, out, err) = ground.restamp(ground.kubeconfig(), &["migrate"]).await;
    assert_eq!(code, Some(0), "{err}");
    let missed = format!("StatefulSet {}/w7: Secret/s2", shop.namespace);
    for said in [
        "--reload-on-delete=true",
        "--log-level=info",
        "--enable-ha=true: several replicas always elect one",
        "ALERT_ON_RELOAD",
        "Reloader has restarted 50 of them.",
        &missed,
        "kubectl delete serviceaccount/reloader -n default",
        "kubectl delete clusterrolebinding/reloader-views",
        "kubectl delete clusterrole/reloader-role",
    ] {
        assert!(out.contains(said), "{said}\n{out}");
    }
    assert!(!out.contains("clusterrole/view"), "{out}");
    assert_eq!(out.matches(": Secret/").count(), 1, "{out}");
    let (_, out, _) = ground
        .restamp(ground.kubeconfig(), &["migrate", "-o", "json"])
        .await;
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(report["flags"], json!(["--reload-on-delete=true"]));
}

#[tokio::test]
async fn fifty_workloads_of_reloader_switch_without_a_rollout_and_go_on() {
    let Some(ground) = Ground::own("the switch").await else {
        return;
    };
    let shop = Shop::open(&ground, "switch").await;
    for secret in 0..SECRETS {
        shop.set_secret(&format!("s{secret}"), &[("password", "one")])
            .await;
    }
    // Number 7 was restarted for another password than the one that is live.
    join_all((0..WORKLOADS).map(async |number| {
        let name = format!("w{number}");
        let template = reloaded(number, if number == 7 { "zero" } else { "one" });
        let kind = KINDS[number % KINDS.len()];
        shop.create_workload((kind, &name), json!({ AUTO: "true" }), template)
            .await;
    }))
    .await;
    install_reloader(&ground, TOOLS).await;

    migration_is_told(&ground, &shop).await;
    let kubeconfig = ground.kubeconfig_of(SYSTEM, "restamp-watcher").await;
    let flags = [
        "--log-level=debug",
        "--reload-on-delete=true",
        "--enable-ha=true",
    ];
    let mut watcher = None;
    let switch = async {
        let started = ground.watcher_with("switch", &kubeconfig, &flags);
        started.until_leading().await;
        watcher = Some(started);
    };
    let rolled = shop.rollouts(switch).await;
    assert!(rolled.values().all(|count| *count == 0), "{rolled:?}");
    let rolled = shop
        .rollouts(shop.set_secret("s2", &[("password", "two")]))
        .await;
    for (name, count) in rolled {
        let number: usize = name
            .split_once("/w")
            .expect("w0")
            .1
            .parse()
            .expect("a number");
        let uses_it = secret_of(number) == "s2";
        assert_eq!(count, u64::from(uses_it), "{name}");
    }
}
