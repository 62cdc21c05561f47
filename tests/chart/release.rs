//! A release of the chart, in a namespace of its own.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    helm::{helm, kubectl, printed},
    objects::{Id, objects},
};

/// What Kubernetes puts into every namespace.
const OF_KUBERNETES: [&str; 2] = ["configmap/kube-root-ca.crt", "serviceaccount/default"];

/// A namespace of the test's own, which goes with it.
pub struct Namespace {
    pub name: String,
    files: TempDir,
}

impl Namespace {
    /// Makes it, with these labels.
    pub fn new(name: &str, labels: &Value) -> Self {
        Self::called(format!("{name}-{}", std::process::id()), labels)
    }

    /// The same, with all of its name.
    pub fn called(name: String, labels: &Value) -> Self {
        let namespace = Self {
            name,
            files: tempfile::tempdir().unwrap(),
        };
        let metadata = json!({ "name": namespace.name, "labels": labels });
        namespace.apply(
            &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }),
            &[],
        );
        namespace
    }

    /// Applies an object or a list; gives what kubectl complained about.
    pub fn apply(&self, object: &Value, more: &[&str]) -> String {
        let file = self.files.path().join("object.json");
        fs::write(&file, object.to_string()).unwrap();
        let file = file.to_str().unwrap();
        let args = [
            &["apply", "--server-side", "--force-conflicts", "-f", file],
            more,
        ]
        .concat();
        let output = kubectl(&args);
        printed(&output);
        String::from_utf8(output.stderr).unwrap()
    }

    /// An object in it, as it is.
    pub fn get(&self, what: &str) -> Value {
        let args = ["get", what, "-n", &self.name, "-o", "json"];
        serde_json::from_str(&printed(&kubectl(&args))).unwrap()
    }

    /// Where files of the test are.
    pub fn folder(&self) -> &Path {
        self.files.path()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

pub fn restricted() -> Value {
    let modes = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}"));
    modes
        .into_iter()
        .map(|mode| (mode, json!("restricted")))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A release of the chart in a namespace of its own.
pub struct Release {
    pub name: String,
    pub home: Namespace,
    helm: &'static str,
}

impl Release {
    pub fn install(helm: &'static str, name: &str, values: &[&str]) -> Self {
        let release = Self::prepare(helm, name);
        release.helm("install", &[&["charts/restamp"], values].concat());
        release
    }

    /// Nothing but its namespace.
    pub fn prepare(helm: &'static str, name: &str) -> Self {
        Release {
            name: format!("restamp-{name}"),
            home: Namespace::new(&format!("chart-{name}"), &restricted()),
            helm,
        }
    }

    pub fn upgrade(&self, values: &[&str]) {
        self.helm(
            "upgrade",
            &[&["charts/restamp", "--reuse-values"], values].concat(),
        );
    }

    /// Helm, until what it did is ready.
    pub fn helm(&self, verb: &str, more: &[&str]) -> String {
        let args = [
            verb,
            &self.name,
            "-n",
            &self.home.name,
            "--wait",
            "--timeout",
            "2m",
        ];
        let args = if verb == "template" {
            &args[..4]
        } else {
            &args[..]
        };
        printed(&helm(self.helm, &[args, more].concat()))
    }

    /// What is installed.
    pub fn objects(&self) -> BTreeMap<Id, Value> {
        let args = ["get", "manifest", &self.name, "-n", &self.home.name];
        objects(&printed(&helm(self.helm, &args)))
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let args = [
            "uninstall",
            &self.name,
            "-n",
            &self.home.name,
            "--ignore-not-found",
        ];
        helm(self.helm, &args);
    }
}

/// All that is in a namespace, but for what Kubernetes puts there, and what it says of what happened.
pub fn left_in(namespace: &str) -> Vec<String> {
    let kinds = "configmaps,secrets,serviceaccounts,services,deployments,pods,roles,rolebindings,leases,poddisruptionbudgets,networkpolicies";
    let names = printed(&kubectl(&["get", kinds, "-n", namespace, "-o", "name"]));
    let names = names.lines().map(str::to_owned);
    names
        .filter(|name| !OF_KUBERNETES.contains(&name.as_str()))
        .collect()
}
