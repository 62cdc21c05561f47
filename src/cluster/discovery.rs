//! What the API server serves: not every one serves every kind.

use kube::{Client, api::ApiResource};

use super::{Error, error::Request};

/// A resource in RBAC's words.
pub fn name_of(resource: &ApiResource) -> String {
    match &*resource.group {
        "" => resource.plural.clone(),
        group => format!("{}.{group}", resource.plural),
    }
}

/// Whether the API server serves a resource.
///
/// # Errors
/// When it does not say.
pub async fn is_served(client: &Client, resource: &ApiResource) -> Result<bool, Error> {
    let request = Request {
        verb: "discover",
        resource: name_of(resource),
        namespace: None,
        name: None,
    };
    let asked = async {
        match client.list_api_group_resources(&resource.api_version).await {
            Ok(found) => Ok(found.resources.iter().any(|it| it.name == resource.plural)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(error),
        }
    };
    request.send(asked).await
}
