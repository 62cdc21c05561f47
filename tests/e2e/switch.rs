//! The switch from Reloader, and back to it, each on a cluster of its own: `restamp migrate`, and what it says.

use futures::future::join_all;
use restamp::stamp::{
    annotations::{AUTO, LAST_RELOADED_FROM, PAUSE_PERIOD},
    digest::Encoding,
    reloader::ContentHash,
    source::SourceKind,
};
use serde_json::{Value, json};

use crate::support::{Ground, Shop, rollouts::Rollouts, shop::pod};

const KINDS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];
/// Where Reloader is.
const TOOLS: &str = "default";
const SECRETS: usize = 5;
const WORKLOADS: usize = 50;

fn secret_of(workload: usize) -> String {
    format!("s{}", workload % SECRETS)
}

fn variable_of(workload: usize) -> String {
    format!("STAKATER_{}_SECRET", secret_of(workload).to_uppercase())
}

fn kind_of(workload: usize) -> &'static str {
    KINDS[workload % KINDS.len()]
}

/// The number of a workload that is called `Deployment/w0`, or the like.
fn number_of(workload: &str) -> usize {
    let (_, number) = workload.split_once("/w").expect("w0");
    number.parse().expect("a number")
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
        container["env"] = json!([{ "name": variable_of(workload), "value": hash(password) }]);
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

/// The Secrets, and the workloads that Reloader restarted when the password of theirs was what `run_on` says.
async fn deploy(shop: &Shop, run_on: fn(usize) -> &'static str) {
    for secret in 0..SECRETS {
        let name = format!("s{secret}");
        shop.set_secret(&name, &[("password", "one")]).await;
    }
    join_all((0..WORKLOADS).map(async |number| {
        let (name, template) = (format!("w{number}"), reloaded(number, run_on(number)));
        shop.create_workload((kind_of(number), &name), json!({ AUTO: "true" }), template)
            .await;
    }))
    .await;
}

/// Those that use a Secret were rolled out once, and no other.
fn assert_one_for_each_user(rolled: &Rollouts, secret: &str) {
    assert_eq!(rolled.len(), WORKLOADS);
    for (name, count) in rolled {
        let uses_it = secret_of(number_of(name)) == secret;
        assert_eq!(*count, u64::from(uses_it), "{name}");
    }
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
                        "args": ["--log-level=info", "--reload-on-delete=true", "--enable-ha=true", "--reload-on-create=True"],
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
    let pause = json!({ "metadata": { "annotations": { PAUSE_PERIOD: "5m" } } });
    shop.patch_workload(("Deployment", "w0"), "someone", pause)
        .await;
    let (code, out, err) = ground.restamp(ground.kubeconfig(), &["migrate"]).await;
    assert_eq!(code, Some(0), "{err}");
    let missed = format!("StatefulSet {}/w7: Secret/s2", shop.namespace);
    let different = format!(
        "wait for the pause period; spec.paused is never set:\n  Deployment {}/w0\n",
        shop.namespace
    );
    for said in [
        "--reload-on-delete=true",
        "  reloader:\n    logLevel: \"info\"\n    reloadOnDelete: true",
        "--log-level=info",
        "--reload-on-create=True: invalid value",
        "--enable-ha=true: several replicas always elect one",
        "ALERT_ON_RELOAD",
        "Reloader has restarted 50 of them.",
        &missed,
        &different,
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
    let values = json!({ "reloader": { "logLevel": "info", "reloadOnDelete": true } });
    assert_eq!(report["values"], values);
}

#[tokio::test]
async fn fifty_workloads_of_reloader_switch_without_a_rollout_and_go_on() {
    let Some(ground) = Ground::own("the switch").await else {
        return;
    };
    let shop = Shop::open(&ground, "switch").await;
    // Number 7 was restarted for another password than the one that is live.
    let run_on = |number| if number == 7 { "zero" } else { "one" };
    deploy(&shop, run_on).await;
    install_reloader(&ground, TOOLS).await;

    migration_is_told(&ground, &shop).await;
    let flags = [
        "--log-level=debug",
        "--reload-on-delete=true",
        "--enable-ha=true",
    ];
    let mut watcher = None;
    let switch = async {
        let started = ground.leading_watcher_with("switch", &flags).await;
        watcher = Some(started);
    };
    let rolled = shop.rollouts(switch).await;
    assert!(rolled.values().all(|count| *count == 0), "{rolled:?}");
    let rolled = shop
        .rollouts(shop.set_secret("s2", &[("password", "two")]))
        .await;
    assert_one_for_each_user(&rolled, "s2");
    let restarted = shop.workload(("StatefulSet", "w7")).await;
    let annotations = &restarted.data["spec"]["template"]["metadata"]["annotations"];
    let last = annotations[LAST_RELOADED_FROM].as_str().unwrap_or_default();
    assert!(last.contains(&hash("zero")), "{annotations}");
}

/// How often each workload was rolled out since, where no Restamp is left that could do it later.
async fn rolled_since(shop: &Shop, before: &Rollouts) -> Rollouts {
    shop.until_rolled_out().await;
    let now = shop.revisions().await.into_iter();
    now.map(|(name, revision)| (name.clone(), revision - before[&name]))
        .collect()
}

/// What Reloader would restart at its start if it took every Secret for created, as it does with
/// `--sync-after-restart --reload-on-create`: whatever lacks the variable of what is live.
async fn without_their_variable(shop: &Shop, password: &str) -> Vec<usize> {
    let lacks_it = async |number: usize| {
        let name = format!("w{number}");
        let workload = shop.workload((kind_of(number), &name)).await;
        let env = &workload.data["spec"]["template"]["spec"]["containers"][0]["env"];
        let right = json!({ "name": variable_of(number), "value": hash(password) });
        let found = env.as_array().is_some_and(|env| env.contains(&right));
        (!found).then_some(number)
    };
    let found = join_all((0..WORKLOADS).map(lacks_it)).await;
    found.into_iter().flatten().collect()
}

/// Restarts what uses a Secret, with the patch and the field manager of Reloader.
async fn restart_as_reloader(shop: &Shop, secret: &str, password: &str) {
    let users = (0..WORKLOADS).filter(|number| secret_of(*number) == secret);
    join_all(users.map(async |number| {
        let name = format!("w{number}");
        let env = json!([{ "name": variable_of(number), "value": hash(password) }]);
        let patch = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "app", "env": env }] } } } });
        shop.patch_strategically((kind_of(number), &name), "Reloader", patch)
            .await;
    }))
    .await;
}

/// Has a Restamp with that strategy restart every workload once, and ends it.
async fn restart_all(ground: &Ground, shop: &Shop, strategy: &str) {
    let flags = [strategy, &format!("--namespaces={}", shop.namespace)];
    let watcher = ground.leading_watcher_with("going-back", &flags).await;
    for number in 0..WORKLOADS {
        let name = format!("w{number}");
        shop.until_recorded(&[(kind_of(number), &name)]).await;
    }
    shop.until_quiet().await;
    let adopted = shop.revisions().await;
    assert_eq!(adopted.len(), WORKLOADS);
    assert!(adopted.values().all(|it| *it == 1), "{adopted:?}");
    let change = async {
        for secret in 0..SECRETS {
            let name = format!("s{secret}");
            shop.set_secret(&name, &[("password", "two")]).await;
        }
    };
    let rolled = shop.rollouts(change).await;
    assert!(rolled.values().all(|count| *count == 1), "{rolled:?}");
    watcher.stop().await;
}

#[tokio::test]
async fn going_back_to_reloader_rolls_nothing_and_it_can_go_on() {
    let Some(ground) = Ground::own("going back").await else {
        return;
    };
    let strategies = [
        "--reload-strategy=annotations",
        "--reload-strategy=env-vars",
    ];
    let mut shops = Vec::new();
    for strategy in strategies {
        let shop = Shop::open(&ground, "back").await;
        deploy(&shop, |_| "one").await;
        restart_all(&ground, &shop, strategy).await;
        let before = shop.revisions().await;
        shops.push((shop, before));
    }

    ground.kubectl(&["delete", "-k", "manifests/base"]).await;
    for (shop, before) in &shops {
        let rolled = rolled_since(shop, before).await;
        assert!(rolled.values().all(|count| *count == 0), "{rolled:?}");
    }
    let (told_by_variables, _) = &shops[1];
    let untold = without_their_variable(told_by_variables, "two").await;
    assert!(untold.is_empty(), "{untold:?}");
    for (shop, before) in &shops {
        shop.set_secret("s2", &[("password", "three")]).await;
        restart_as_reloader(shop, "s2", "three").await;
        assert_one_for_each_user(&rolled_since(shop, before).await, "s2");
    }
}
