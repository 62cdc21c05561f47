//! What the Secrets Store CSI driver writes down of each pod (SecretProviderClassPodStatus): which version of which
//! object it mounted. It has no status subresource, so that every update of its content counts in
//! `metadata.generation`, and one of metadata does not (driver v1.5.5, `config/crd`).

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
};

use kube::{
    Api, Client,
    api::{ApiResource, ListParams},
    core::{GroupVersionKind, object::NotUsed},
};
use serde::Deserialize;

use super::{
    Error,
    error::Request,
    source::{self, Content},
    version_number,
};
use crate::stamp::{
    digest::Keyring,
    mounts::{Mount, Objects, Provided},
    settings::ReloadStrategy,
    source::{SourceId, SourceKind, SourceName},
};

/// The API group of the driver.
pub const GROUP: &str = "secrets-store.csi.x-k8s.io";
/// The version of the group that is looked for.
pub const VERSION: &str = "v1";
/// The name of pod statuses in API paths and RBAC rules.
pub const POD_STATUSES: &str = "secretproviderclasspodstatuses";

/// Pod statuses of one page of a list.
const PAGE: u32 = 500;

/// How pod statuses are addressed.
pub fn pod_statuses() -> ApiResource {
    let kind = GroupVersionKind::gvk(GROUP, VERSION, "SecretProviderClassPodStatus");
    ApiResource::from_gvk_with_plural(&kind, POD_STATUSES)
}

/// A SecretProviderClassPodStatus.
pub type PodStatus = kube::core::Object<Option<NotUsed>, Status>;

/// What is used of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    secret_provider_class_name: Option<String>,
    objects: Option<Vec<Object>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Object {
    id: String,
    version: String,
}

/// All that is kept of a pod status that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodStatusRow {
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
    /// The class, and a hash of what it provided; nothing while that is nothing.
    pub mount: Option<(SourceId, Mount<u64>)>,
}

/// The row of a pod status; nothing for one without a name, which cannot be.
pub fn row(status: PodStatus) -> Option<PodStatusRow> {
    let namespace: Box<str> = status.metadata.namespace.as_deref()?.into();
    let name = status.metadata.name.as_deref()?.into();
    let mount = mount(status).map(|(class, mount)| {
        let id = SourceName::new(SourceKind::SecretProviderClass, class).within(&namespace);
        let hashed = Mount {
            content: hash(&mount.content),
            updated: mount.updated,
            version: mount.version,
        };
        (id, hashed)
    });
    Some(PodStatusRow {
        namespace,
        name,
        mount,
    })
}

/// The class, and what it provided. One that provided nothing yet says nothing.
fn mount(
    PodStatus {
        metadata, status, ..
    }: PodStatus,
) -> Option<(String, Mount<Objects>)> {
    let status = status?;
    let class = status.secret_provider_class_name?;
    let objects = status.objects.into_iter().flatten();
    let content: Objects = objects.map(|it| (it.id, it.version)).collect();
    let version = metadata.resource_version.as_deref();
    let mount = Mount {
        content,
        updated: metadata.generation != Some(1),
        // One that is no number is later than any other: in doubt, it is news.
        version: version.and_then(version_number).unwrap_or(u64::MAX),
    };
    (!class.is_empty() && !mount.content.is_empty()).then_some((class, mount))
}

fn hash(objects: &Objects) -> u64 {
    let mut hasher = DefaultHasher::new();
    objects.hash(&mut hasher);
    hasher.finish()
}

/// Reads what pods show of a class.
///
/// # Errors
/// When the API server does not answer with the list. Where the driver is not installed, nothing is shown.
pub(super) async fn read(
    client: &Client,
    id: &SourceId,
    keyring: &Keyring,
    strategy: ReloadStrategy,
) -> Result<Content, Error> {
    let (at, mounts) = match list(client, &id.namespace).await {
        Err(error) if source::is_not_served(&error) => return Ok(Content::Unmounted),
        listed => listed?,
    };
    let of_class = mounts.into_iter().filter_map(mount);
    let of_class = of_class.filter(|(class, _)| **class == *id.source.name);
    let of_class = of_class.map(|(_, mount)| mount);
    let provided = Provided::of(keyring, id, strategy, at, of_class);
    Ok(provided.map_or(Content::Unmounted, Content::Mounted))
}

/// Lists the pod statuses of a namespace (a quorum read), and says at which version.
async fn list(client: &Client, namespace: &str) -> Result<(u64, Vec<PodStatus>), Error> {
    let request = Request {
        verb: "list",
        resource: format!("{POD_STATUSES}.{GROUP}"),
        namespace: Some(namespace.to_owned()),
        name: None,
    };
    let api: Api<PodStatus> = Api::namespaced_with(client.clone(), namespace, &pod_statuses());
    let mut params = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    let version = loop {
        let page = request.send(api.list(&params)).await?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break page.metadata.resource_version,
        }
    };
    let version = version.as_deref().and_then(version_number);
    Ok((version.unwrap_or_default(), found))
}
