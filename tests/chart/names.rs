//! Names that Kubernetes takes for something else, or keeps for itself.

use serde_json::json;

use super::{
    cert_manager,
    helm::{HELMS, OLDEST, cases, helm, printed, values},
    objects::{objects, one},
    release::Namespace,
    releases::{dry_run, serve_kinds_of_others},
};

/// What `helm template` makes of the chart under a name of a release, in a namespace.
fn called(release: &str, namespace: &str, more: &[&str]) -> String {
    let args = ["template", release, "charts/restamp", "-n", namespace];
    let args = [&args[..], &["--kube-version", OLDEST], more].concat();
    printed(&helm(HELMS[0], &args))
}

#[test]
fn a_release_and_a_namespace_may_be_called_like_numbers() {
    let namespace = Namespace::called(std::process::id().to_string(), &json!({}));
    let serves_others = cert_manager::served("names in others' kinds").is_some();
    if serves_others {
        serve_kinds_of_others();
    }
    for case in cases() {
        let file = values(&case);
        // A Service may not.
        let more = ["-f", &file, "--set", "fullnameOverride=restamp,namespace="];
        let rendered = called("123", &namespace.name, &more);
        for (id, object) in objects(&rendered) {
            let metadata = &object["metadata"];
            let home = metadata.get("namespace").into_iter();
            let labels = metadata["labels"].as_object().unwrap().values();
            for text in home.chain(labels).chain([&metadata["name"]]) {
                assert!(text.is_string(), "{case}: {id:?}: {text}");
            }
        }
        let warnings = dry_run(&namespace, &rendered, serves_others);
        assert_eq!(warnings, "", "{case}");
    }
}

#[test]
fn no_class_is_called_as_only_those_of_kubernetes_are() {
    let namespace = Namespace::new("chart-system", &json!({}));
    for (release, class) in [
        ("system", "restamp-system-restamp"),
        ("restamp", "restamp"),
        ("systems", "systems-restamp"),
    ] {
        let rendered = called(release, &namespace.name, &[]);
        dry_run(&namespace, &rendered, false);
        let objects = objects(&rendered);
        one(&objects, "PriorityClass", class);
        for ((kind, _, name), object) in &objects {
            if kind == "Deployment" {
                let used = &object["spec"]["template"]["spec"]["priorityClassName"];
                assert_eq!(used, class, "{name}");
            }
        }
    }
}
