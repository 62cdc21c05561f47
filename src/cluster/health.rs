//! How an installation is doing, as far as the API server can tell.

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{DynamicObject, PostParams},
};
use serde_json::json;

use super::{Error, error::Request, kind};
use crate::stamp::annotations::STAMP;

/// What the trial workload is called. It is never made.
const TRIAL: &str = "restamp-check";

/// Who holds a Lease, and the version that says so; nothing if nobody does.
///
/// # Errors
/// When it cannot be read.
pub async fn holder(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<(String, String)>, Error> {
    let request = Request::object("get", "leases.coordination.k8s.io", namespace, name);
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let lease = match request.send(leases.get(name)).await {
        Err(Error::NotFound { .. }) => return Ok(None),
        lease => lease?,
    };
    let version = lease.metadata.resource_version.unwrap_or_default();
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    let holder = holder.filter(|holder| !holder.is_empty());
    Ok(holder.map(|holder| (holder, version)))
}

/// How many pods of a Deployment are ready, as it is now, and how many there are to be.
///
/// # Errors
/// When it cannot be read.
pub async fn ready(client: &Client, namespace: &str, name: &str) -> Result<(i64, i64), Error> {
    let request = Request::object("get", "deployments.apps", namespace, name);
    let deployment = request
        .send(deployments(client, namespace).get(name))
        .await?;
    let number = |path: &str| deployment.data.pointer(path)?.as_i64();
    let wanted = number("/spec/replicas").unwrap_or(1);
    let is_of_now = number("/status/observedGeneration") >= deployment.metadata.generation;
    let updated = number("/status/updatedReplicas").unwrap_or(0);
    let ready = number("/status/readyReplicas").unwrap_or(0).min(updated);
    Ok((if is_of_now { ready } else { 0 }, wanted))
}

fn deployments(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind::deployments())
}

/// Whether a workload that is created in a namespace, opted in by the annotation `auto`, is stamped. None is: the API
/// server is asked what it would do.
///
/// # Errors
/// When it would not be created.
pub async fn is_stamped(client: &Client, namespace: &str, auto: &str) -> Result<bool, Error> {
    let source = json!({ "name": TRIAL, "optional": true });
    let container = json!({
        "name": TRIAL,
        "image": TRIAL,
        "envFrom": [{ "configMapRef": source }, { "secretRef": source }],
    });
    let labels = json!({ "app.kubernetes.io/name": TRIAL });
    let trial = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": TRIAL, "annotations": { auto: "true" } },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    });
    let request = Request::object("create", "deployments.apps", namespace, TRIAL);
    let trial: DynamicObject =
        serde_json::from_value(trial).map_err(|error| Error::Unreadable {
            request: request.clone(),
            what: error.to_string(),
        })?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let deployments = deployments(client, namespace);
    let made = request.send(deployments.create(&params, &trial)).await?;
    let annotations = made.data.pointer("/spec/template/metadata/annotations");
    Ok(annotations.is_some_and(|annotations| annotations.get(STAMP).is_some()))
}
