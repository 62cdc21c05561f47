//! How an installation is doing, as far as the API server can tell.

use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use super::{Error, error::Request};
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
pub async fn ready(client: &Client, namespace: &str, name: &str) -> Result<(i32, i32), Error> {
    let request = Request::object("get", "deployments.apps", namespace, name);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = request.send(deployments.get(name)).await?;
    let wanted = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.unwrap_or_default();
    let is_of_now = status.observed_generation >= deployment.metadata.generation;
    let updated = status.updated_replicas.unwrap_or(0);
    let ready = status.ready_replicas.unwrap_or(0).min(updated);
    Ok((if is_of_now { ready } else { 0 }, wanted))
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
        "metadata": { "name": TRIAL, "annotations": { auto: "true" } },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    });
    let request = Request::object("create", "deployments.apps", namespace, TRIAL);
    let trial: Deployment = serde_json::from_value(trial).map_err(|error| Error::Unreadable {
        request: request.clone(),
        what: error.to_string(),
    })?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let made = request.send(deployments.create(&params, &trial)).await?;
    let template = made.spec.and_then(|spec| spec.template.metadata);
    let annotations = template.and_then(|metadata| metadata.annotations);
    Ok(annotations.is_some_and(|annotations| annotations.contains_key(STAMP)))
}
