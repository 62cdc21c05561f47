//! What Helm says after an installation.

use super::helm::{HELMS, RELEASE, SYSTEM, helm, printed};

/// The notes for values as Helm is given them.
pub fn notes(values: &[&str]) -> String {
    let args = ["install", "--dry-run=client", RELEASE, "charts/restamp"];
    let output = helm(HELMS[0], &[&args[..], &["-n", SYSTEM], values].concat());
    let text = printed(&output);
    let (_, notes) = text.split_once("NOTES:").expect("notes");
    notes.to_owned()
}

fn with(set: &str) -> String {
    notes(&["--set", set])
}

const ONE_ROLLOUT: &str = "one rollout";
const LABEL: &str = "kubectl label namespace";

#[test]
fn they_say_which_namespaces_are_followed() {
    for (set, told) in [
        ("", "follows all namespaces."),
        (
            "reloader.ignoreNamespaces=argocd",
            "follows all namespaces but argocd.",
        ),
        (
            "reloader.namespaceSelector=env=prod",
            "follows all namespaces with the labels env=prod.",
        ),
        (
            "reloader.ignoreNamespaces=argocd,reloader.namespaceSelector=env=prod",
            "follows all namespaces with the labels env=prod but argocd.",
        ),
        (
            "reloader.watchGlobally=false,reloader.namespaces={shop}",
            "follows the namespaces restamp-system, shop.",
        ),
    ] {
        let notes = with(set);
        assert!(notes.contains(told), "{set}: {notes}");
    }
}

#[test]
fn the_label_is_the_one_that_the_webhook_asks_for() {
    let by_name = r#"[{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":["a"]}]"#;
    for (expressions, labels, told) in [
        (
            r#"[{"key":"env","operator":"In","values":["a","b"]}]"#,
            "{}",
            "NAMESPACE env=a\n",
        ),
        ("[]", r#"{"tier":"web"}"#, "NAMESPACE tier=web\n"),
        ("[]", "{}", "3. Every namespace that is followed goes"),
        (
            by_name,
            "{}",
            "3. The namespaces that webhook.namespaceSelector asks for go",
        ),
    ] {
        let expressions = format!("webhook.namespaceSelector.matchExpressions={expressions}");
        let labels = format!("webhook.namespaceSelector.matchLabels={labels}");
        let notes = notes(&["--set-json", &expressions, "--set-json", &labels]);
        assert!(notes.contains(told), "{told}: {notes}");
        assert!(notes.contains(ONE_ROLLOUT), "{told}: {notes}");
        assert_eq!(notes.contains(LABEL), told.contains("NAMESPACE"), "{told}");
    }
    assert!(with("").contains("NAMESPACE restamp.dev/inject=enabled\n"));
    let notes = with("reloader.reloadStrategy=env-vars");
    assert!(!notes.contains(ONE_ROLLOUT), "{notes}");
}

#[test]
fn the_annotation_is_the_one_that_counts() {
    let standard = "`reloader.stakater.com/auto: \"true\"`";
    for (set, told) in [
        ("", standard),
        (
            "reloader.custom_annotations.auto=example.com/reload",
            "`example.com/reload: \"true\"`",
        ),
        (
            "reloader.autoReloadAll=true",
            "All workloads are followed, but for those with `reloader.stakater.com/auto: \"false\"`",
        ),
        (
            "reloader.webhookUrl=http://a.example",
            "No workload is restarted: reloader.webhookUrl is told",
        ),
    ] {
        let notes = with(set);
        assert!(notes.contains(told), "{set}: {notes}");
        assert_eq!(notes.contains(standard), set.is_empty(), "{set}");
    }
}

#[test]
fn they_say_what_there_is_no_webhook_for() {
    let notes = with(
        "reloader.webhookUrl=http://a.example,webhook.deployment.replicas=3,certificates.mode=provided",
    );
    for value in ["webhook.deployment.replicas", "certificates.mode"] {
        let line = format!("- {value} has no effect: with reloader.webhookUrl");
        assert!(notes.contains(&line), "{value}: {notes}");
    }
    let untold = with("reloader.webhookUrl=http://a.example");
    assert!(!untold.contains("has no effect"), "{untold}");
    let alone = with("reloader.watchGlobally=false");
    assert!(alone.contains("There is no webhook"), "{alone}");
    assert!(!alone.contains("restamp-webhook"), "{alone}");
}

#[test]
fn they_say_that_the_test_needs_rights_where_the_chart_gives_none() {
    let missing = "`helm test` needs";
    assert!(with("reloader.rbac.enabled=false").contains(missing));
    assert!(!with("").contains(missing));
}
