//! The ConfigMap in which Reloader says how it is set up; tools look there for it.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::Patch};
use serde_json::json;

use super::{Error, as_us, error::Request, patch_as_us};

/// Its name.
pub const NAME: &str = "reloader-meta-info";
const LABEL: (&str, &str) = ("reloader.stakater.com/meta-info", "reloader");

/// Writes it, and leaves alone what others have written there.
///
/// # Errors
/// When the API server does not take it.
pub async fn publish(
    client: &Client,
    namespace: &str,
    data: BTreeMap<String, String>,
) -> Result<(), Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let (key, value) = LABEL;
    let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let patch = Patch::Merge(json!({ "metadata": { "labels": labels }, "data": data }));
    let request = Request::object("patch", "configmaps", namespace, NAME);
    match request.send(api.patch(NAME, &patch_as_us(), &patch)).await {
        Err(Error::NotFound { .. }) => {}
        patched => return patched.map(drop),
    }
    let config_map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    };
    let request = Request::object("create", "configmaps", namespace, NAME);
    match request.send(api.create(&as_us(), &config_map)).await {
        // By another replica, which says the same.
        Err(Error::AlreadyExists { .. }) => Ok(()),
        created => created.map(drop),
    }
}
