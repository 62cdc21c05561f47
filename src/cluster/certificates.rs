//! The Secrets of certificates that Restamp makes itself, and the webhook configuration that trusts them.

use std::collections::BTreeMap;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::{
    ByteString, Resource as _,
    api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Error, FIELD_MANAGER, as_us,
    error::Request,
    source::{self, SourceMetadata},
};
use crate::stamp::{json, source::SourceKind};

/// The label of the Secrets that are ours to write.
pub const MARK: &str = "restamp.dev/certificates";
/// Its value.
const MANAGED: &str = "managed";

const CONFIGURATIONS: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";

/// What a Secret holds.
pub type Data = BTreeMap<String, Vec<u8>>;

/// A Secret as it was read.
pub struct Stored {
    /// What it holds.
    pub data: Data,
    /// Whether it is ours to write.
    pub is_ours: bool,
    metadata: ObjectMeta,
}

/// A MutatingWebhookConfiguration, as far as it is about certificates.
pub struct Configuration {
    /// Its webhooks.
    pub webhooks: Vec<Webhook>,
    /// Tells its states apart: no two of them with other webhooks have the same.
    pub state: (Option<String>, Option<i64>),
    name: String,
    resource_version: Option<String>,
}

/// One webhook of it.
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// Whom the API server trusts, PEM; empty if it is not set.
    pub bundle: Vec<u8>,
    /// The hosts under which the API server calls it.
    pub hosts: Vec<String>,
}

/// Reads a configuration.
///
/// # Errors
/// When it cannot be read ([`Error::NotFound`] if there is none).
pub async fn configuration(client: &Client, name: &str) -> Result<Configuration, Error> {
    let get = configuration_request("get", name);
    let DynamicObject {
        metadata, mut data, ..
    } = get.send(configurations(client).get(name)).await?;
    let webhooks = data.get_mut("webhooks").map(Value::take);
    let webhooks = serde_json::from_value(webhooks.unwrap_or_default());
    let webhooks: Option<Vec<Written>> = webhooks.map_err(|error| Error::Unreadable {
        request: get,
        what: json::describe(&error),
    })?;
    Ok(Configuration {
        webhooks: webhooks.into_iter().flatten().map(webhook).collect(),
        state: (metadata.uid, metadata.generation),
        name: name.to_owned(),
        resource_version: metadata.resource_version,
    })
}

/// A webhook as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    name: String,
    client_config: ClientConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientConfig {
    service: Option<Service>,
    url: Option<String>,
    ca_bundle: Option<ByteString>,
}

#[derive(Deserialize)]
struct Service {
    name: String,
    namespace: String,
}

fn webhook(webhook: Written) -> Webhook {
    let client = webhook.client_config;
    let of_service = client.service.map(|service| {
        let host = format!("{}.{}.svc", service.name, service.namespace);
        vec![format!("{host}.cluster.local"), host]
    });
    let of_url = || client.url.as_deref().and_then(host).into_iter().collect();
    Webhook {
        name: webhook.name,
        hosts: of_service.unwrap_or_else(of_url),
        bundle: client.ca_bundle.unwrap_or_default().0,
    }
}

/// The host of a URL, as in certificates.
fn host(url: &str) -> Option<String> {
    let url: http::Uri = url.parse().ok()?;
    let host = url.host()?;
    Some(host.trim_matches(['[', ']']).to_owned())
}

/// Has every webhook of a configuration trust `bundle`, PEM, and writes nothing else. What others manage stays theirs.
///
/// # Errors
/// When the configuration has changed since it was read ([`Error::Conflict`]), or the API server does not take it.
pub async fn publish(
    client: &Client,
    configuration: &Configuration,
    bundle: &str,
) -> Result<(), Error> {
    let name = &*configuration.name;
    let bundle = ByteString(bundle.as_bytes().to_vec());
    let webhooks = configuration
        .webhooks
        .iter()
        .map(|webhook| json!({ "name": webhook.name, "clientConfig": { "caBundle": bundle } }));
    let patch = Patch::Apply(json!({
        "apiVersion": MutatingWebhookConfiguration::API_VERSION,
        "kind": MutatingWebhookConfiguration::KIND,
        "metadata": { "name": name, "resourceVersion": configuration.resource_version },
        "webhooks": webhooks.collect::<Vec<_>>(),
    }));
    let params = PatchParams::apply(FIELD_MANAGER).force();
    configuration_request("patch", name)
        .send(configurations(client).patch(name, &params, &patch))
        .await
        .map(drop)
}

/// Reads a Secret, if there is one.
///
/// # Errors
/// When the API server does not say.
pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<Option<Stored>, Error> {
    let get = Request::object("get", "secrets", namespace, name);
    let secret = match get.send(api(client, namespace).get(name)).await {
        Err(Error::NotFound { .. }) => return Ok(None),
        found => found?,
    };
    let labels = secret.metadata.labels.iter().flatten();
    let data = secret.data.unwrap_or_default().into_iter();
    Ok(Some(Stored {
        is_ours: labels
            .into_iter()
            .any(|(key, value)| (&**key, &**value) == (MARK, MANAGED)),
        data: data.map(|(key, value)| (key, value.0)).collect(),
        metadata: secret.metadata,
    }))
}

/// Writes a Secret, in the place of the one that was read, or as a new one if there was none.
///
/// # Errors
/// When it is not as it was read any more ([`Error::Conflict`], [`Error::AlreadyExists`], [`Error::NotFound`]), or
/// the API server does not take it.
pub async fn write(
    client: &Client,
    namespace: &str,
    name: &str,
    type_: &str,
    before: Option<Stored>,
    data: Data,
) -> Result<(), Error> {
    let is_new = before.is_none();
    let mut metadata = before.map(|before| before.metadata).unwrap_or_default();
    metadata.name = Some(name.to_owned());
    metadata.managed_fields = None;
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(MARK.to_owned(), MANAGED.to_owned());
    let data = data.into_iter();
    let secret = Secret {
        metadata,
        type_: Some(type_.to_owned()),
        data: Some(data.map(|(key, value)| (key, ByteString(value))).collect()),
        ..Secret::default()
    };
    let (api, params) = (api(client, namespace), as_us());
    let request = |verb| Request::object(verb, "secrets", namespace, name);
    if is_new {
        let created = request("create").send(api.create(&params, &secret)).await;
        created.map(drop)
    } else {
        let replaced = api.replace(name, &params, &secret);
        request("update").send(replaced).await.map(drop)
    }
}

/// Says when one of these may have changed: an item for each time, or for why it cannot be seen.
pub fn changes(
    client: &Client,
    configuration: &str,
    namespace: &str,
    secrets: [&str; 2],
) -> impl Stream<Item = Result<(), Error>> + Unpin + use<> {
    let configuration = configuration_request("watch", configuration);
    let resource = ApiResource::erase::<MutatingWebhookConfiguration>(&());
    let configurations = watch(Api::all_with(client.clone(), &resource), configuration);
    let resource = source::api_resource(SourceKind::Secret);
    let secrets = secrets.map(|name| {
        let request = Request::object("watch", "secrets", namespace, name);
        let secrets = Api::namespaced_with(client.clone(), namespace, &resource);
        watch(secrets, request)
    });
    stream::select_all(secrets.into_iter().chain([configurations]))
}

/// Metadata only.
fn watch(
    api: Api<SourceMetadata>,
    request: Request,
) -> stream::BoxStream<'static, Result<(), Error>> {
    let name = request.name.clone().unwrap_or_default();
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(api, config).default_backoff();
    let told = events.map(move |event| match event {
        Ok(_) => Ok(()),
        Err(watcher::Error::InitialListFailed(error)) => {
            let list = Request {
                verb: "list",
                ..request.clone()
            };
            Err(list.failed(error))
        }
        Err(watcher::Error::WatchStartFailed(error)) => Err(request.failed(error)),
        // It is resumed by itself.
        Err(_) => Ok(()),
    });
    told.boxed()
}

fn api(client: &Client, namespace: &str) -> Api<Secret> {
    Api::namespaced(client.clone(), namespace)
}

fn configurations(client: &Client) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<MutatingWebhookConfiguration>(&());
    Api::all_with(client.clone(), &resource)
}

fn configuration_request(verb: &'static str, name: &str) -> Request {
    Request {
        verb,
        resource: CONFIGURATIONS.to_owned(),
        namespace: None,
        name: Some(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(client_config: &Value) -> Vec<String> {
        let configured = json!({
            "name": "x", "admissionReviewVersions": [], "sideEffects": "None", "clientConfig": client_config,
        });
        webhook(serde_json::from_value(configured).unwrap()).hosts
    }

    #[test]
    fn hosts_are_those_that_the_api_server_calls() {
        let service = json!({ "service": { "name": "webhook", "namespace": "home", "path": "/mutate", "port": 443 } });
        let of_service = ["webhook.home.svc.cluster.local", "webhook.home.svc"];
        assert_eq!(hosts(&service), of_service);
        for (url, host) in [
            ("https://example.com:9443/mutate", "example.com"),
            ("https://192.0.2.1/mutate", "192.0.2.1"),
            ("https://[2001:db8::1]:9443/mutate", "2001:db8::1"),
        ] {
            assert_eq!(hosts(&json!({ "url": url })), [host]);
        }
        for nowhere in [
            json!({ "url": "https://" }),
            json!({ "url": "/mutate" }),
            json!({}),
        ] {
            assert_eq!(hosts(&nowhere), Vec::<String>::new());
        }
    }
}
