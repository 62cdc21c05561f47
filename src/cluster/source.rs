//! Sources: watched as metadata, read only when a workload uses them.

mod metadata;

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::BodyExt;
use kube::{Api, Client, api::ApiResource, client::Body, core::GroupVersionKind};
pub use metadata::SourceMetadata;
use metadata::TrueAnnotations;
use serde::Deserialize;

use super::{Error, csi, discovery, error::Request};
use crate::stamp::{
    decide::Live,
    digest::{Encoding, Keyring, SourceDigests},
    json,
    mounts::Provided,
    policy::Marks,
    settings::{PolicySettings, ReloadStrategy},
    source::{SourceId, SourceKind, SourceName},
};

/// Which content of a source something is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Tells a re-created object from the one before it.
    pub uid: Box<str>,
    /// Opaque.
    pub resource_version: Box<str>,
}

/// All that is kept of a source that nobody may ever use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it is.
    pub id: SourceId,
    /// Which version was seen.
    pub version: Version,
    /// What its own annotations say.
    pub marks: Marks,
}

/// How a kind of source is addressed.
pub fn api_resource(kind: SourceKind) -> ApiResource {
    let (group, version) = match kind.is_core() {
        true => ("", "v1"),
        false => (csi::GROUP, csi::VERSION),
    };
    let kind_of_group = GroupVersionKind::gvk(group, version, kind.as_str());
    ApiResource::from_gvk_with_plural(&kind_of_group, kind.plural())
}

/// Whether an error says that the API server does not serve what was asked for.
pub(super) fn is_not_served(error: &Error) -> bool {
    matches!(error, Error::Refused { code: 404, .. })
}

/// What the sources of a namespace that are followed say in their own annotations, and why some kinds could not be listed.
pub async fn marks(
    client: &Client,
    kinds: impl Iterator<Item = SourceKind>,
    namespace: &str,
    settings: &PolicySettings,
) -> (BTreeMap<SourceName, Marks>, Vec<Error>) {
    let (mut marks, mut errors) = (BTreeMap::new(), Vec::new());
    for kind in kinds {
        match list(client, kind, namespace, settings).await {
            Ok(rows) => marks.extend(rows.into_iter().map(|row| (row.id.source, row.marks))),
            Err(error) => errors.push(error),
        }
    }
    (marks, errors)
}

/// Lists the sources of a kind, metadata only. There are none of a kind that is not served.
async fn list(
    client: &Client,
    kind: SourceKind,
    namespace: &str,
    settings: &PolicySettings,
) -> Result<Vec<Row>, Error> {
    let request = Request {
        verb: "list",
        resource: discovery::name_of(&api_resource(kind)),
        namespace: Some(namespace.to_owned()),
        name: None,
    };
    let api: Api<SourceMetadata> =
        Api::namespaced_with(client.clone(), namespace, &api_resource(kind));
    let params = kube::api::ListParams {
        label_selector: settings.labels_of(kind).map(ToString::to_string),
        ..kube::api::ListParams::default()
    };
    let found = match request.send(api.list(&params)).await {
        Err(error) if !kind.is_core() && is_not_served(&error) => Vec::new(),
        listed => listed?.items,
    };
    Ok(found
        .into_iter()
        .filter_map(|item| item.into_row(kind, &settings.keys))
        .collect())
}

fn get(id: &SourceId) -> Request {
    let SourceName { kind, name } = &id.source;
    Request::object("get", kind.plural(), &id.namespace, name)
}

/// What a read found.
#[derive(Clone, Debug)]
pub enum Content {
    /// There is no such source.
    Absent,
    /// It lacks the labels that a source needs to be followed. It was dropped as it came.
    NotFollowed,
    /// It was read, digested, and dropped.
    Present {
        /// The version that was read.
        version: Version,
        /// What its own annotations say.
        marks: Marks,
        /// Its digests.
        digests: SourceDigests,
    },
    /// It is a SecretProviderClass, and pods show what it provides.
    Mounted(Provided),
    /// It is a SecretProviderClass that no pod has mounted.
    Unmounted,
}

impl Content {
    /// What that means for whoever uses it, unless labels say more.
    pub fn live(&self) -> Live<'_> {
        match self {
            Content::Absent => Live::Absent,
            Content::NotFollowed => Live::Unreadable,
            Content::Unmounted => Live::Unmounted,
            Content::Present { digests, .. } => Live::Present(digests),
            Content::Mounted(provided) => Live::Mounted(provided),
        }
    }
}

/// Reads a source (a quorum read), and keeps only its digests.
///
/// # Errors
/// When it is neither found nor known not to exist. No error holds anything of the payload.
pub async fn read(
    client: &Client,
    id: &SourceId,
    keyring: &Keyring,
    settings: &PolicySettings,
) -> Result<Content, Error> {
    if !id.source.kind.is_core() {
        return csi::read(client, id, keyring, settings.strategy).await;
    }
    let request = get(id);
    // Not through the client's own decoding: it logs the text that it cannot decode.
    match request.send(fetch(client, id, OBJECT)).await {
        Err(Error::NotFound { .. }) => Ok(Content::Absent),
        Err(error) => Err(error),
        Ok(body) => {
            digest(id, keyring, settings, &body).map_err(|what| Error::Unreadable { request, what })
        }
    }
}

/// As [`read`], of a source that nobody has seen yet. Where labels decide, they are looked at first: a payload that is
/// not followed is not asked for. A source that does not exist is [`Content::NotFollowed`] then, too.
///
/// # Errors
/// As [`read`].
pub async fn read_unseen(
    client: &Client,
    id: &SourceId,
    keyring: &Keyring,
    settings: &PolicySettings,
) -> Result<Content, Error> {
    if let Some(selector) = settings.labels_of(id.source.kind) {
        let request = get(id);
        match request.send(fetch(client, id, METADATA)).await {
            Ok(body) if !selector.matches(&labels(request, &body)?) => {
                return Ok(Content::NotFollowed);
            }
            Ok(_) => {}
            Err(Error::NotFound { .. }) => return Ok(Content::NotFollowed),
            Err(error) => return Err(error),
        }
    }
    read(client, id, keyring, settings).await
}

fn labels(request: Request, body: &[u8]) -> Result<BTreeMap<String, String>, Error> {
    match serde_json::from_slice::<Payload>(body) {
        Ok(found) => Ok(found.metadata.labels.unwrap_or_default()),
        Err(error) => Err(Error::Unreadable {
            request,
            what: json::describe(&error),
        }),
    }
}

/// What is accepted as an answer: the object, or no more of it than its metadata.
const OBJECT: &str = "application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

async fn fetch(client: &Client, id: &SourceId, accept: &str) -> kube::Result<bytes::Bytes> {
    let path = format!(
        "/api/v1/namespaces/{}/{}/{}",
        id.namespace,
        id.source.kind.plural(),
        id.source.name
    );
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, accept)
        .body(Body::empty())
        .map_err(kube::Error::HttpError)?;
    let response = client.send(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status.is_success() {
        return Ok(body);
    }
    let reason = serde_json::from_slice(&body).unwrap_or_else(|_| kube::core::Status {
        code: status.as_u16(),
        message: "the answer was no Kubernetes status".to_owned(),
        reason: status.canonical_reason().unwrap_or_default().to_owned(),
        ..Default::default()
    });
    Err(kube::Error::Api(Box::new(reason)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    metadata: PayloadMetadata,
    data: Option<BTreeMap<String, String>>,
    binary_data: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PayloadMetadata {
    uid: Box<str>,
    resource_version: Box<str>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<TrueAnnotations>,
}

fn digest(
    id: &SourceId,
    keyring: &Keyring,
    settings: &PolicySettings,
    body: &[u8],
) -> Result<Content, String> {
    let payload: Payload = serde_json::from_slice(body).map_err(|error| json::describe(&error))?;
    let labels = payload.metadata.labels.unwrap_or_default();
    let selector = settings.labels_of(id.source.kind);
    if selector.is_some_and(|selector| !selector.matches(&labels)) {
        return Ok(Content::NotFollowed);
    }
    let data = payload.data.unwrap_or_default();
    let (texts, encoded) = match id.source.kind {
        SourceKind::Secret => (BTreeMap::new(), data),
        _ => (data, payload.binary_data.unwrap_or_default()),
    };
    let binaries = encoded
        .into_iter()
        .map(|(key, text)| match STANDARD.decode(text) {
            Ok(bytes) => Ok((key, bytes)),
            Err(_) => Err(format!("the value of key {key:?} is not base64")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let texts = texts
        .iter()
        .map(|(key, text)| (key.as_str(), Encoding::Text, text.as_bytes()));
    let binaries = binaries
        .iter()
        .map(|(key, bytes)| (key.as_str(), Encoding::Binary, bytes.as_slice()));
    let values: Vec<_> = texts.chain(binaries).collect();
    let digests = SourceDigests::of(keyring, id.clone(), &values);
    Ok(Content::Present {
        version: Version {
            uid: payload.metadata.uid,
            resource_version: payload.metadata.resource_version,
        },
        marks: Marks::of(
            &payload.metadata.annotations.unwrap_or_default().0,
            &settings.keys,
        ),
        digests: match settings.strategy {
            ReloadStrategy::Stamp => digests,
            ReloadStrategy::Variables => digests.with_hash(&values),
        },
    })
}
