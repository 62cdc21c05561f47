//! `restamp explain`: what the watcher would do and why, and what it cannot know.

use std::path::{Path, PathBuf};

use restamp::stamp::annotations::{
    AUTO, CONFIG_MAP_EXCLUDE, IGNORE, SECRET_AUTO, SECRET_RELOAD, SETTLE,
};
use serde_json::{Value, json};

use crate::support::{
    Ground, Shop,
    ground::SYSTEM,
    shop::{Name, web_pod},
    wait::until,
};

const WEB: Name<'static> = ("Deployment", "web");
/// Leaves a stale workload as it is for as long as a test looks at it.
const LONG: &str = "10m";

/// A shop with one workload that uses Secret `db` and ConfigMap `app`, which exist.
async fn shop(name: &str, annotations: Value) -> Shop {
    let shop = Shop::open(&Ground::shared().await, name).await;
    shop.set_password("one").await;
    shop.set_config_map("app", &[("level", "info")]).await;
    shop.create_workload(WEB, annotations, web_pod()).await;
    shop
}

async fn explain_as(shop: &Shop, who: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let mut args = vec!["explain", "deployment/web", "-n", &shop.namespace];
    args.extend(more);
    shop.ground.restamp(who, &args).await
}

/// What explain prints for an administrator.
async fn explain(shop: &Shop) -> String {
    let (code, text, error) = explain_as(shop, shop.ground.kubeconfig(), &[]).await;
    assert_eq!((code, &*error), (Some(0), ""), "{text}");
    text
}

/// The same for programs.
async fn explain_json(shop: &Shop) -> Value {
    let (code, text, error) = explain_as(shop, shop.ground.kubeconfig(), &["-o", "json"]).await;
    assert_eq!((code, &*error), (Some(0), ""), "{text}");
    serde_json::from_str(&text).expect("JSON")
}

fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        let found = text.lines().any(|found| found.trim() == *line);
        assert!(found, "no line {line:?} in:\n{text}");
    }
}

/// The states of the sources, by name.
fn states(report: &Value) -> Vec<(&str, &str)> {
    let sources = report["sources"].as_array().expect("sources");
    sources
        .iter()
        .filter_map(|source| Some((source["source"].as_str()?, source["state"].as_str()?)))
        .collect()
}

#[tokio::test]
async fn each_source_is_shown_before_and_after_it_changed() {
    let shop = shop("explain", json!({ AUTO: "true", SETTLE: LONG })).await;
    shop.until_recorded(&[WEB]).await;
    assert_lines(
        &explain(&shop).await,
        &[
            &format!("Deployment {}/web", shop.namespace),
            "opted in: by reloader.stakater.com/auto",
            "stamp:    none",
            "now:      nothing to do: it runs on the live content (Current)",
            "ConfigMap/app: as recorded (auto; all keys)",
            "Secret/db: as recorded (auto; keys password)",
        ],
    );
    let report = explain_json(&shop).await;
    assert_eq!(report["action"], "nothing");
    assert_eq!(report["reason"], "Current");
    assert_eq!(report["optedInBy"], json!([AUTO]));

    shop.set_secret("db", &[("password", "two")]).await;
    assert_lines(
        &explain(&shop).await,
        &[
            "now:      would be restarted: a source changed since its pods started (ContentChanged)",
            "ConfigMap/app: as recorded (auto; all keys)",
            "Secret/db: changed since the pods started (auto; keys password)",
        ],
    );
    let report = explain_json(&shop).await;
    assert_eq!(report["action"], "restamp");
    assert_eq!(report["reason"], "ContentChanged");
    let changed = [
        ("ConfigMap/app", "as recorded"),
        ("Secret/db", "changed since the pods started"),
    ];
    assert_eq!(states(&report), changed);

    shop.delete_secret("db").await;
    let report = explain_json(&shop).await;
    assert_eq!(report["action"], "nothing", "{report}");
    let deleted = "deleted since the pods started; nothing happens until it is back";
    assert_eq!(states(&report)[1], ("Secret/db", deleted));
    assert_eq!(
        report["warnings"][0],
        "Secret/db does not exist; create it, or make the reference optional"
    );
    assert_eq!(
        shop.stamp(WEB).await,
        None,
        "the settle window was long enough"
    );
}

#[tokio::test]
async fn a_workload_that_has_not_opted_in_is_left_alone() {
    let shop = shop("explain-out", json!({ AUTO: "false" })).await;
    assert_lines(
        &explain(&shop).await,
        &[
            "opted in: no",
            "now:      nothing to do: no annotation asks for restarts (NotOptedIn)",
        ],
    );
    assert_eq!(explain_json(&shop).await["optedInBy"], json!([]));
}

#[tokio::test]
async fn malformed_annotations_are_listed() {
    let bad = json!({ SECRET_RELOAD: "db,([", AUTO: "yes", SETTLE: "soon" });
    let shop = shop("explain-bad", bad).await;
    shop.until_recorded(&[WEB]).await;
    let text = explain(&shop).await;
    assert_lines(
        &text,
        &[
            "opted in: by secret.reloader.stakater.com/reload",
            "Secret/db: as recorded (named by \"db\"; keys password)",
            "warnings:",
        ],
    );
    for told in [
        "\"([\" is skipped",
        "\"yes\" counts as false",
        "\"soon\" is not used",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let report = explain_json(&shop).await;
    let warnings = report["warnings"].as_array().expect("warnings");
    assert_eq!(warnings.len(), 3, "{warnings:?}");
}

#[tokio::test]
async fn excluded_ignored_and_missing_sources_are_shown_with_why() {
    let annotations = json!({ SECRET_AUTO: "true", AUTO: "true", CONFIG_MAP_EXCLUDE: "app" });
    let shop = shop("explain-not", annotations).await;
    shop.annotate_secret("db", json!({ "annotations": { IGNORE: "true" } }))
        .await;
    let named = json!({ "metadata": { "annotations": { SECRET_RELOAD: "missing" } } });
    shop.patch_workload(WEB, "somebody", named).await;
    until("it is recorded", async || {
        let observed = shop.observed(WEB).await.unwrap_or_default();
        if observed["sources"]["Secret/missing"].is_object() {
            Ok(())
        } else {
            Err(observed)
        }
    })
    .await;
    assert_lines(
        &explain(&shop).await,
        &[
            "Secret/missing: does not exist, as recorded (named by \"missing\"; all keys, optional)",
            "ConfigMap/app: not followed (not selected: the workload excludes it; all keys)",
            "Secret/db: not followed (not selected: it is marked to be ignored; keys password)",
        ],
    );
}

/// A kubeconfig of a ServiceAccount that may do this with that in the shop.
async fn somebody(shop: &Shop, rights: &[(&str, &str)]) -> PathBuf {
    let kubectl = async |args: &[&str]| {
        let args = [&["-n", &*shop.namespace], args].concat();
        shop.ground.kubectl(&args).await;
    };
    kubectl(&["create", "serviceaccount", "somebody"]).await;
    for (n, (verbs, resource)) in rights.iter().enumerate() {
        let name = format!("right-{n}");
        let (verbs, resource) = (format!("--verb={verbs}"), format!("--resource={resource}"));
        kubectl(&["create", "role", &name, &verbs, &resource]).await;
        let (role, account) = (
            format!("--role={name}"),
            format!("--serviceaccount={}:somebody", shop.namespace),
        );
        kubectl(&["create", "rolebinding", &name, &role, &account]).await;
    }
    shop.ground.kubeconfig_of(&shop.namespace, "somebody").await
}

#[tokio::test]
async fn what_may_not_be_read_is_unknown() {
    let shop = shop("explain-rights", json!({ AUTO: "true" })).await;
    shop.until_recorded(&[WEB]).await;
    let rights = [("get", "deployments.apps"), ("get,list", "configmaps")];
    let who = somebody(&shop, &rights).await;
    let namespace = &shop.namespace;
    let forbidden = |what: &str| format!("unknown: forbidden (may not {what})");
    let secret = forbidden(&format!("get secrets \"db\" in namespace \"{namespace}\""));
    let key = forbidden(&format!(
        "get secrets \"restamp-key\" in namespace \"{SYSTEM}\""
    ));
    let list = forbidden(&format!("list secrets in namespace \"{namespace}\""));
    let text = until("the rights hold", async || {
        match explain_as(&shop, &who, &[]).await {
            (Some(0), text, _) => Ok(text),
            other => Err(other),
        }
    })
    .await;
    assert_lines(
        &text,
        &[
            "now:      unknown: without the installation key nothing can be compared (Unknown)",
            "ConfigMap/app: exists (auto; all keys)",
            &format!("Secret/db: {secret} (auto; keys password)"),
            &key,
            &list,
            &secret,
        ],
    );
    let (_, json, _) = explain_as(&shop, &who, &["-o", "json"]).await;
    let report: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["action"], "unknown");
    assert_eq!(report["unknown"], json!([key, list, secret]));
}

#[tokio::test]
async fn without_any_right_the_missing_one_is_named() {
    let shop = shop("explain-none", json!({ AUTO: "true" })).await;
    let who = somebody(&shop, &[]).await;
    let (code, text, error) = explain_as(&shop, &who, &[]).await;
    assert_eq!((code, &*text), (Some(1), ""));
    let right = format!(
        "may not get deployments.apps \"web\" in namespace {:?}: grant this right",
        shop.namespace
    );
    assert!(error.contains(&right), "{error}");
}

#[tokio::test]
async fn a_workload_that_does_not_exist_is_named() {
    let ground = Ground::shared().await;
    let args = ["explain", "sts/nobody", "-n", "default"];
    let (code, text, error) = ground.restamp(ground.kubeconfig(), &args).await;
    assert_eq!((code, &*text), (Some(1), ""));
    let told =
        "cannot get statefulsets.apps \"nobody\" in namespace \"default\": it does not exist";
    assert!(error.contains(told), "{error}");
}

#[tokio::test]
async fn no_word_of_a_secret_is_printed() {
    let shop = shop("explain-secret", json!({ AUTO: "true" })).await;
    shop.set_secret("more", &[("k", "swordfish")]).await;
    let named = json!({ "metadata": { "annotations": { SECRET_RELOAD: "more" } } });
    shop.patch_workload(WEB, "somebody", named).await;
    let (_, text, error) =
        explain_as(&shop, shop.ground.kubeconfig(), &["--log-level", "trace"]).await;
    assert!(text.contains("Secret/more"), "{text}");
    for hidden in ["swordfish", "c3dvcmRmaXNo"] {
        assert!(!text.contains(hidden) && !error.contains(hidden));
    }
}
