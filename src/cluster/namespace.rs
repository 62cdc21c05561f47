//! Namespaces, as far as they decide what is followed.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};

use super::{Error, error::Request};
use crate::stamp::scope::Namespaces;

/// Whether a namespace is among those that are followed, by its name and by its labels.
///
/// # Errors
/// When its labels decide and cannot be read.
pub async fn is_followed(
    client: &Client,
    name: &str,
    namespaces: &Namespaces,
) -> Result<bool, Error> {
    if namespaces.scope_of(name).is_none() {
        return Ok(false);
    }
    let Some(selector) = namespaces.selector() else {
        return Ok(true);
    };
    let request = Request {
        verb: "get",
        resource: "namespaces".to_owned(),
        namespace: None,
        name: Some(name.to_owned()),
    };
    let api: Api<Namespace> = Api::all(client.clone());
    let found = request.send(api.get_metadata(name)).await?;
    Ok(selector.matches(found.labels()))
}
