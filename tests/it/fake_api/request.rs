//! Requests: read from HTTP, and carried out on the store.

use http::{header::ACCEPT, header::CONTENT_TYPE, request::Parts};
use restamp::cluster::FIELD_MANAGER;
use serde_json::{Value, json};

use super::{
    Answer, Key,
    filter::Filter,
    key,
    merge::merge,
    store::{Store, metadata_only, version_of},
};

/// A request that was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// As RBAC calls it.
    pub verb: &'static str,
    /// What it is about; without a name, or without a namespace too, for lists and watches.
    pub key: Key,
    /// Whether metadata was asked for instead of objects.
    pub metadata: bool,
    /// The query of the URL.
    pub query: String,
    /// The kind of patch.
    pub content_type: String,
    /// The body; null if there is none.
    pub body: Value,
}

impl Call {
    /// Reads a request.
    pub fn read(parts: &Parts, body: &[u8]) -> Self {
        let header = |name| {
            let value = parts.headers.get(name);
            value.map_or("", |value| value.to_str().expect("text"))
        };
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let key = path_key(parts.uri.path());
        let verb = match (parts.method.as_str(), key.name.is_empty()) {
            ("GET", true) if key.resource.is_empty() => "discover",
            ("GET", false) => "get",
            ("GET", true) if parameter(&query, "watch") == Some("true") => "watch",
            ("GET", true) => "list",
            ("POST", true) => "create",
            ("PUT", false) => "update",
            ("PATCH", false) => "patch",
            ("DELETE", false) => "delete",
            other => panic!(
                "a request that the fake does not know: {other:?} {}",
                parts.uri
            ),
        };
        Self {
            verb,
            key,
            metadata: header(ACCEPT).contains("PartialObjectMetadata"),
            content_type: header(CONTENT_TYPE).to_owned(),
            body: serde_json::from_slice(body).unwrap_or_default(),
            query,
        }
    }

    /// Does it; an error is an HTTP status.
    pub(super) fn carry_out(&self, store: &mut Store) -> Result<Answer, u16> {
        let resource = &*self.key.resource;
        match self.verb {
            "discover" => store.discover(&self.key.namespace).map(Answer::Object),
            _ if !store.serves(resource) => Err(404),
            "list" => Ok(Answer::Object(self.list(store))),
            "watch" => {
                let from = self
                    .parameter("resourceVersion")
                    .and_then(|v| v.parse().ok());
                store
                    .watch(
                        resource,
                        self.filter(),
                        self.metadata,
                        from.unwrap_or_default(),
                    )
                    .map(Answer::Stream)
            }
            "get" => {
                let object = store.get(&self.key).ok_or(404_u16)?;
                Ok(Answer::Object(self.as_asked(object)))
            }
            "create" => self.create(store).map(Answer::Object),
            "update" => self.replace(store, &self.body).map(Answer::Object),
            "delete" => self.delete(store).map(Answer::Object),
            _ => self.patch(store).map(Answer::Object),
        }
    }

    /// The object of an error answer.
    pub fn status(&self, code: u16) -> Value {
        let reason = match code {
            403 => "Forbidden",
            404 => "NotFound",
            409 if self.verb == "create" => "AlreadyExists",
            409 => "Conflict",
            _ => "InternalError",
        };
        let mut status = status(code, reason);
        status["details"] = json!({ "name": self.key.name, "kind": self.key.resource });
        status
    }

    /// Whether it is to have no effect.
    pub fn is_dry_run(&self) -> bool {
        self.parameter("dryRun").is_some()
    }

    /// The field manager of a write.
    pub fn manager(&self) -> &str {
        self.parameter("fieldManager").unwrap_or_default()
    }

    fn list(&self, store: &Store) -> Value {
        let (filter, all) = (self.filter(), store.list(&self.key.resource));
        let listed = all.filter(|object| filter.matches(object));
        let items: Vec<_> = listed.map(|object| self.as_asked(object)).collect();
        let kind = if self.metadata {
            "PartialObjectMetadataList"
        } else {
            "List"
        };
        json!({
            "apiVersion": "v1",
            "kind": kind,
            "metadata": { "resourceVersion": store.version().to_string() },
            "items": items,
        })
    }

    fn filter(&self) -> Filter {
        let [labels, fields] = ["labelSelector", "fieldSelector"].map(|it| self.parameter(it));
        Filter::new(&self.key.namespace, labels, fields)
    }

    fn as_asked(&self, object: &Value) -> Value {
        if self.metadata {
            metadata_only(object)
        } else {
            object.clone()
        }
    }

    fn create(&self, store: &mut Store) -> Result<Value, u16> {
        let mut object = self.body.clone();
        let metadata = &mut object["metadata"];
        metadata["namespace"] = self.key.namespace.clone().into();
        if let Some(prefix) = metadata["generateName"].as_str() {
            metadata["name"] = format!("{prefix}{}", store.version()).into();
        }
        let name = metadata["name"].as_str().expect("a name").to_owned();
        let key = key(&self.key.resource, &self.key.namespace, &name);
        if store.get(&key).is_some() {
            return Err(409);
        }
        if self.is_dry_run() {
            return Ok(object);
        }
        Ok(store.put(&object, self.manager()))
    }

    fn patch(&self, store: &mut Store) -> Result<Value, u16> {
        let mut object = store.get(&self.key).cloned().ok_or(404_u16)?;
        match &*self.content_type {
            "application/merge-patch+json" => merge(&mut object, &self.body),
            "application/json-patch+json" => {
                let patch: json_patch::Patch =
                    serde_json::from_value(self.body.clone()).map_err(|_| 400_u16)?;
                json_patch::patch(&mut object, &patch).map_err(|_| 422_u16)?;
            }
            _ => return Err(415),
        }
        self.replace(store, &object)
    }

    /// Only we delete by request, and nothing keeps an object.
    fn delete(&self, store: &mut Store) -> Result<Value, u16> {
        let now = &store.get(&self.key).ok_or(404_u16)?["metadata"];
        let wanted = &self.body["preconditions"];
        let is_as_wanted = |field| wanted[field].is_null() || wanted[field] == now[field];
        if !["uid", "resourceVersion"].into_iter().all(is_as_wanted) {
            return Err(409);
        }
        store.delete(&self.key, FIELD_MANAGER);
        Ok(json!({ "apiVersion": "v1", "kind": "Status", "status": "Success" }))
    }

    fn replace(&self, store: &mut Store, object: &Value) -> Result<Value, u16> {
        let now = store.get(&self.key).ok_or(404_u16)?;
        if version_of(object) != version_of(now) {
            return Err(409);
        }
        Ok(store.put(object, self.manager()))
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.query, name)
    }
}

/// An error, as the API server puts it.
pub fn status(code: u16, reason: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": format!("the fake says {code}"),
    })
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .into_iter()
        .find_map(|(key, value)| (key == name).then_some(value))
}

fn path_key(path: &str) -> Key {
    let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
    if let ["apis", group, _] = parts[..] {
        return key("", group, "");
    }
    let rest = if parts[0] == "api" {
        &parts[2..]
    } else {
        &parts[3..]
    };
    match rest {
        ["namespaces", name] => key("namespaces", "", name),
        ["namespaces", namespace, resource] => key(resource, namespace, ""),
        ["namespaces", namespace, resource, name] => key(resource, namespace, name),
        [resource] => key(resource, "", ""),
        other => panic!("a path that the fake does not know: {other:?}"),
    }
}
