//! The chart and `manifests/` make the same objects.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use super::{
    helm::{HELMS, SYSTEM, cases, kubectl, printed, rendered, template},
    objects::{Id, objects, one},
};

/// Folders, and the case that is the same.
const SAME: [(&str, &str); 3] = [
    ("manifests/base", "provided"),
    ("manifests/default", "default"),
    ("manifests/cert-manager", "cert-manager"),
];

fn kustomized(folder: &str) -> BTreeMap<Id, Value> {
    objects(&printed(&kubectl(&["kustomize", folder])))
}

/// Without what only Helm says (who made it, and the release, by which it selects, too), what means nothing (spaces in
/// expressions, lists that patches left empty), and with variables in one order.
fn normal(mut objects: BTreeMap<Id, Value>) -> BTreeMap<Id, Value> {
    // Helm has the namespace made by `--create-namespace`.
    objects.retain(|(kind, ..), _| kind != "Namespace");
    // Nor does anything but Helm have a test in it.
    objects.retain(|_, object| {
        object["metadata"]["annotations"]
            .get("helm.sh/hook")
            .is_none()
    });
    for object in objects.values_mut() {
        object["metadata"].as_object_mut().unwrap().remove("labels");
        normalize(object);
    }
    objects
}

fn normalize(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("app.kubernetes.io/instance");
            fields.remove("app.kubernetes.io/part-of");
            fields.retain(|_, field| *field != json!([]));
            if let Some(Value::Array(variables)) = fields.get_mut("env") {
                variables.sort_by_key(|variable| variable["name"].to_string());
            }
            fields.values_mut().for_each(normalize);
        }
        Value::Array(items) => items.iter_mut().for_each(normalize),
        Value::String(text) if text.contains('\n') || text.contains(" || ") => {
            *text = text.split_whitespace().collect();
        }
        _ => {}
    }
}

#[test]
fn kustomize_and_the_chart_make_the_same_objects() {
    for (folder, case) in SAME {
        let by_helm = normal(objects(&rendered(case)));
        assert_same(&normal(kustomized(folder)), &by_helm, folder);
    }
}

fn assert_same(by_kustomize: &BTreeMap<Id, Value>, by_helm: &BTreeMap<Id, Value>, folder: &str) {
    let names = |objects: &BTreeMap<Id, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(by_kustomize), names(by_helm), "{folder}");
    for (id, object) in by_kustomize {
        assert_eq!(object, &by_helm[id], "{id:?} of {folder}");
    }
}

/// But for this: the chart follows its own namespace, too, as Reloader's does.
#[test]
fn for_namespaces_that_are_named_both_make_the_same_objects() {
    let mut by_kustomize = normal(kustomized("manifests/namespaced"));
    let followed = kustomized("manifests/namespaced/followed");
    for namespace in ["mall", "shop"] {
        for ((kind, _, name), mut object) in followed.clone() {
            object["metadata"]["namespace"] = json!(namespace);
            by_kustomize.insert((kind, namespace.to_owned(), name), object);
        }
    }
    let values = "reloader.watchGlobally=false,reloader.namespaces={shop,mall}";
    let without_home = printed(&template(HELMS[0], &["--set", values]))
        .replace("mall,restamp-system,shop", "mall,shop")
        .replace(r#""mall","restamp-system","shop""#, r#""mall","shop""#);
    let mut by_helm = normal(objects(&without_home));
    by_helm.retain(|(kind, namespace, name), _| {
        let of_the_webhook = kind.starts_with("Role") && name == "restamp-webhook";
        !(of_the_webhook && namespace == SYSTEM)
    });
    let at_home = (
        "Role".to_owned(),
        SYSTEM.to_owned(),
        "restamp-watcher".to_owned(),
    );
    let own = by_kustomize[&at_home]["rules"].as_array().unwrap().len();
    let rules = by_helm.get_mut(&at_home).unwrap()["rules"]
        .as_array_mut()
        .unwrap();
    rules.truncate(own);
    assert_same(&by_kustomize, &by_helm, "manifests/namespaced");
}

#[test]
fn for_namespaces_that_are_named_both_processes_have_their_names_and_no_rights_in_the_cluster() {
    let made = kustomized("manifests/namespaced");
    for name in ["restamp-watcher", "restamp-webhook"] {
        let deployment = one(&made, "Deployment", name);
        let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        assert_eq!(args[1], "--namespaces=mall,shop", "{name}");
    }
    // The webhook configuration, which certificates that Restamp makes itself are written to, is in no namespace.
    let of_the_cluster = made
        .keys()
        .filter(|(kind, ..)| kind.starts_with("ClusterRole"))
        .map(|(kind, _, name)| (&**kind, &**name));
    let for_certificates =
        ["ClusterRole", "ClusterRoleBinding"].map(|kind| (kind, "restamp-watcher-certificates"));
    assert_eq!(of_the_cluster.collect::<Vec<_>>(), for_certificates);
    let rights = one(&made, "ClusterRole", "restamp-watcher-certificates");
    let [rule] = &rights["rules"].as_array().expect("rules")[..] else {
        panic!("one rule: {rights}");
    };
    assert_eq!(rule["resourceNames"], json!(["restamp"]));
}

#[test]
fn for_the_labels_of_namespaces_both_give_the_same_right() {
    let name = "restamp-watcher-namespaces";
    let by_kustomize = kustomized("manifests/namespace-selector");
    let by_helm = objects(&rendered("workload-kinds"));
    for (kind, part) in [("ClusterRole", "rules"), ("ClusterRoleBinding", "subjects")] {
        assert_eq!(
            one(&by_helm, kind, name)[part],
            one(&by_kustomize, kind, name)[part]
        );
    }
}

/// As Flux does, which refuses a key that is there twice.
#[test]
fn kustomize_takes_what_the_chart_makes() {
    let folder = tempfile::tempdir().unwrap();
    let kustomization = folder.path().join("kustomization.yaml");
    fs::write(kustomization, "resources: [all.yaml]\n").unwrap();
    for case in cases() {
        fs::write(folder.path().join("all.yaml"), rendered(&case)).unwrap();
        let taken = kustomized(folder.path().to_str().unwrap());
        assert_eq!(taken, objects(&rendered(&case)), "{case}");
    }
}
