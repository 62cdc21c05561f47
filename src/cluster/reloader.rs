//! Finds a stakater/Reloader that runs in the cluster, and what belongs to it.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
};
use serde::Deserialize;

use super::{Error, error::Request, kind};
use crate::stamp::json::describe;

/// The last part of the name of Reloader's image.
const IMAGE: &str = "reloader";
/// What Helm writes on what it installs.
const RELEASE: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// A Reloader, as its Deployment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installation {
    /// Its namespace.
    pub namespace: String,
    /// The name of its Deployment.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Its flags.
    pub args: Vec<String>,
    /// The variables of its environment; nothing where the value is neither in the Deployment nor its namespace.
    pub env: BTreeMap<String, Option<String>>,
    /// Its ServiceAccount.
    pub service_account: String,
    /// The Helm release and its namespace.
    pub release: Option<(String, String)>,
}

/// What is read of a Deployment.
#[derive(Deserialize)]
struct Deployment {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    template: Template,
}

#[derive(Deserialize)]
struct Template {
    spec: Pod,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pod {
    containers: Vec<Container>,
    service_account_name: Option<String>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<Variable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Variable {
    name: String,
    value: Option<String>,
    value_from: Option<ValueFrom>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ValueFrom {
    field_ref: Option<FieldRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldRef {
    field_path: String,
}

impl Variable {
    /// Its value in a pod of a namespace, as far as that is known.
    fn value(&self, namespace: &str) -> Option<String> {
        let field = self
            .value_from
            .as_ref()
            .and_then(|from| from.field_ref.as_ref());
        let is_namespace = field.is_some_and(|field| field.field_path == "metadata.namespace");
        self.value
            .clone()
            .or_else(|| is_namespace.then(|| namespace.to_owned()))
    }
}

/// The Reloaders of a namespace, or of all; with a name, only that Deployment, whatever its image.
///
/// # Errors
/// When Deployments cannot be listed.
pub async fn find(
    client: &Client,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<Installation>, Error> {
    let request = Request {
        verb: "list",
        resource: "deployments.apps".to_owned(),
        namespace: namespace.map(str::to_owned),
        name: None,
    };
    let kind = kind::deployments();
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    };
    let mut params = ListParams::default();
    if let Some(name) = name {
        params = params.fields(&format!("metadata.name={name}"));
    }
    let mut found = Vec::new();
    for object in request.send(api.list(&params)).await?.items {
        let DynamicObject { metadata, data, .. } = object;
        let deployment: Deployment =
            serde_json::from_value(data).map_err(|error| Error::Unreadable {
                request: request.clone(),
                what: describe(&error),
            })?;
        found.extend(installation(metadata, deployment, name.is_some()));
    }
    Ok(found)
}

fn installation(
    metadata: ObjectMeta,
    deployment: Deployment,
    any_image: bool,
) -> Option<Installation> {
    let pod = deployment.spec.template.spec;
    let is_reloader = |container: &&Container| repository(&container.image) == IMAGE;
    let first = || pod.containers.first().filter(|_| any_image);
    let container = pod.containers.iter().find(is_reloader).or_else(first)?;
    let annotations = metadata.annotations.unwrap_or_default();
    let release = |key| annotations.get(key).cloned();
    let namespace = metadata.namespace?;
    Some(Installation {
        image: container.image.clone(),
        args: container
            .command
            .iter()
            .skip(1)
            .chain(&container.args)
            .cloned()
            .collect(),
        env: container
            .env
            .iter()
            .map(|var| (var.name.clone(), var.value(&namespace)))
            .collect(),
        service_account: pod
            .service_account_name
            .unwrap_or_else(|| "default".to_owned()),
        release: release(RELEASE).map(|name| {
            let namespace = release(RELEASE_NAMESPACE).unwrap_or_else(|| namespace.clone());
            (name, namespace)
        }),
        name: metadata.name?,
        namespace,
    })
}

/// The last part of an image's name, without tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    let last = name.rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default()
}

/// The bindings and roles of its ServiceAccount, as `kubectl delete` takes them.
///
/// # Errors
/// When bindings cannot be listed.
pub async fn rights(client: &Client, of: &Installation) -> Result<Vec<String>, Error> {
    let request = |resource: &str| Request {
        verb: "list",
        resource: format!("{resource}.rbac.authorization.k8s.io"),
        namespace: None,
        name: None,
    };
    let params = ListParams::default();
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let bindings = request("clusterrolebindings")
        .send(bindings.list(&params))
        .await?;
    let of_cluster = bindings
        .items
        .into_iter()
        .filter(|it| binds(it.subjects.as_ref(), of));
    let of_cluster = of_cluster.flat_map(|it| {
        let name = it.metadata.name.unwrap_or_default();
        let binding = format!("clusterrolebinding/{name}");
        std::iter::once(binding).chain(role(&it.role_ref, None))
    });
    let bindings: Api<RoleBinding> = Api::all(client.clone());
    let bindings = request("rolebindings").send(bindings.list(&params)).await?;
    let of_namespaces = bindings
        .items
        .into_iter()
        .filter(|it| binds(it.subjects.as_ref(), of));
    let of_namespaces = of_namespaces.flat_map(|it| {
        let (name, namespace) = (it.metadata.name, it.metadata.namespace);
        let (name, namespace) = (name.unwrap_or_default(), namespace.unwrap_or_default());
        let binding = format!("rolebinding/{name} -n {namespace}");
        std::iter::once(binding).chain(role(&it.role_ref, Some(&namespace)))
    });
    Ok(of_cluster.chain(of_namespaces).collect())
}

/// Whether it is for that ServiceAccount, which is its own, and nobody else.
fn binds(subjects: Option<&Vec<Subject>>, of: &Installation) -> bool {
    let subjects = subjects.map(Vec::as_slice).unwrap_or_default();
    matches!(subjects, [subject] if subject.kind == "ServiceAccount"
        && subject.name == of.service_account
        && of.service_account != "default"
        && subject.namespace.as_deref() == Some(&of.namespace))
}

/// A role that is Reloader's own by its name; others may serve somebody else, too.
fn role(role: &RoleRef, namespace: Option<&str>) -> Option<String> {
    let (kind, name) = (role.kind.to_ascii_lowercase(), &role.name);
    let text = match namespace.filter(|_| kind == "role") {
        Some(namespace) => format!("{kind}/{name} -n {namespace}"),
        None => format!("{kind}/{name}"),
    };
    name.contains(IMAGE).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As Reloader's chart has it with `watchGlobally: false`.
    #[test]
    fn the_namespace_that_reloader_follows_can_be_its_own() {
        let deployment = json!({ "spec": { "template": { "spec": { "containers": [{
            "image": "reloader",
            "command": ["/manager", "--auto-reload-all"],
            "args": ["--log-level=info"],
            "env": [
                { "name": "KUBERNETES_NAMESPACE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } },
                { "name": "GOMAXPROCS", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } },
                { "name": "ALERT_ON_RELOAD", "value": "true" },
            ],
        }] } } } });
        let metadata = ObjectMeta {
            namespace: Some("tools".to_owned()),
            name: Some("reloader".to_owned()),
            ..ObjectMeta::default()
        };
        let deployment = serde_json::from_value(deployment).unwrap();
        let found = installation(metadata, deployment, false).unwrap();
        assert_eq!(found.args, ["--auto-reload-all", "--log-level=info"]);
        let value = |name: &str| found.env[name].as_deref();
        assert_eq!(value("KUBERNETES_NAMESPACE"), Some("tools"));
        assert_eq!(value("GOMAXPROCS"), None);
        assert_eq!(value("ALERT_ON_RELOAD"), Some("true"));
    }

    #[test]
    fn a_binding_that_others_have_is_not_deleted() {
        let of = |name: &str| Installation {
            namespace: "tools".to_owned(),
            service_account: name.to_owned(),
            ..Installation::default()
        };
        let subject = |name: &str| Subject {
            kind: "ServiceAccount".to_owned(),
            name: name.to_owned(),
            namespace: Some("tools".to_owned()),
            ..Subject::default()
        };
        let own = vec![subject("reloader")];
        assert!(binds(Some(&own), &of("reloader")));
        let shared = vec![subject("reloader"), subject("other")];
        assert!(!binds(Some(&shared), &of("reloader")));
        assert!(!binds(Some(&vec![subject("default")]), &of("default")));
        assert!(!binds(None, &of("reloader")));
    }

    #[test]
    fn a_role_that_others_may_have_is_not_deleted() {
        let role_of = |kind: &str, name: &str| {
            let of = RoleRef {
                kind: kind.to_owned(),
                name: name.to_owned(),
                ..RoleRef::default()
            };
            role(&of, Some("tools"))
        };
        let own = "role/reloader-metadata-role -n tools";
        assert_eq!(
            role_of("Role", "reloader-metadata-role").as_deref(),
            Some(own)
        );
        let own = "clusterrole/my-reloader-role";
        assert_eq!(
            role_of("ClusterRole", "my-reloader-role").as_deref(),
            Some(own)
        );
        assert_eq!(role_of("ClusterRole", "cluster-admin"), None);
    }

    #[test]
    fn an_image_is_known_wherever_it_comes_from() {
        for image in [
            "reloader",
            "stakater/reloader:v1.4.21",
            "ghcr.io/stakater/reloader@sha256:0",
            "registry.example.com:5000/mirror/reloader:1@sha256:0",
        ] {
            assert_eq!(repository(image), IMAGE, "{image}");
        }
        for image in ["", "reloader-ui", "reloader/ui:1", "config-reloader"] {
            assert_ne!(repository(image), IMAGE, "{image}");
        }
    }
}
