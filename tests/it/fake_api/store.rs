//! Objects with versions, and the watches that hear of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use jiff::Timestamp;
use restamp::cluster::csi;
use serde_json::{Value, json};

use super::{clock::now, filter::Filter, request::status};

/// The optional API groups that there can be, and their resources.
const OPTIONAL: [(&str, &[&str]); 2] = [
    (csi::GROUP, &["secretproviderclasses", csi::POD_STATUSES]),
    ("argoproj.io", &["rollouts"]),
];

/// Names an object, or with an empty name or namespace all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Plural.
    pub resource: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// Names an object.
pub fn key(resource: &str, namespace: &str, name: &str) -> Key {
    Key {
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// The lines of a watch.
pub type Lines = UnboundedReceiver<Bytes>;

/// Everything that is stored, every change ever made, and who watches.
#[derive(Default)]
pub struct Store {
    version: u64,
    objects: BTreeMap<Key, Value>,
    changes: Vec<Change>,
    oldest: u64,
    watches: Vec<Watch>,
    held: BTreeSet<String>,
    /// The optional API groups that are served.
    served: BTreeSet<String>,
}

/// What became of an object.
pub struct Past {
    /// Which one.
    pub key: Key,
    /// As it was then; nothing if it was deleted.
    pub object: Option<Value>,
    /// Who did that.
    pub manager: String,
    /// When.
    pub at: Timestamp,
}

struct Change {
    version: u64,
    resource: String,
    what: &'static str,
    manager: String,
    at: Timestamp,
    object: Value,
    before: Option<Value>,
}

struct Watch {
    resource: String,
    filter: Filter,
    metadata: bool,
    seen: u64,
    lines: UnboundedSender<Bytes>,
}

impl Store {
    /// The version of the last change.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    pub fn list(&self, resource: &str) -> impl Iterator<Item = &Value> {
        let objects = self.objects.iter();
        objects.filter_map(move |(key, object)| (key.resource == resource).then_some(object))
    }

    /// Serves an optional API group from now on.
    pub fn serve(&mut self, group: &str) {
        self.served.insert(group.to_owned());
    }

    /// What is served of an optional API group; 404 if it is not there.
    pub fn discover(&self, group: &str) -> Result<Value, u16> {
        let served = OPTIONAL.iter().find(|(name, _)| *name == group);
        let served = served.filter(|_| self.served.contains(group));
        let (_, resources) = served.ok_or(404_u16)?;
        let resources = resources.iter().map(|name| {
            json!({ "name": name, "singularName": "", "namespaced": true, "kind": "", "verbs": [] })
        });
        Ok(json!({
            "apiVersion": "v1", "kind": "APIResourceList",
            "groupVersion": format!("{group}/v1"), "resources": resources.collect::<Vec<_>>(),
        }))
    }

    /// Whether objects of a resource can be had.
    pub fn serves(&self, resource: &str) -> bool {
        let group = OPTIONAL.iter().find(|(_, all)| all.contains(&resource));
        group.is_none_or(|(group, _)| self.served.contains(*group))
    }

    /// Makes or replaces an object; an equal one stays as it is, version and all.
    pub fn put(&mut self, object: &Value, manager: &str) -> Value {
        let key = key_of(object);
        let before = self.objects.get(&key).cloned();
        let mut object = without_empty_annotations(object.clone());
        if let Some(before) = &before {
            for field in ["uid", "resourceVersion", "generation", "managedFields"] {
                object["metadata"][field] = before["metadata"][field].clone();
            }
            if object == *before {
                return object;
            }
        }
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = self.version.to_string().into();
        metadata["managedFields"] = managed(&metadata["managedFields"], manager, self.version);
        match &before {
            None => {
                metadata["uid"] = format!("uid-{}", self.version).into();
                metadata["generation"] = 1.into();
            }
            Some(before) if content(before) != content(&object) => {
                let generation = before["metadata"]["generation"].as_u64().unwrap_or(0);
                object["metadata"]["generation"] = (generation + 1).into();
            }
            Some(_) => {}
        }
        let what = if before.is_none() {
            "ADDED"
        } else {
            "MODIFIED"
        };
        self.objects.insert(key.clone(), object.clone());
        self.changed(&key, what, manager, object.clone(), before);
        object
    }

    pub fn delete(&mut self, key: &Key, manager: &str) {
        if let Some(mut object) = self.objects.remove(key) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.changed(key, "DELETED", manager, object.clone(), Some(object));
        }
    }

    /// Follows a resource from after a version on; 410 if that is too long ago.
    pub fn watch(
        &mut self,
        resource: &str,
        filter: Filter,
        metadata: bool,
        from: u64,
    ) -> Result<Lines, u16> {
        if from < self.oldest {
            return Err(410);
        }
        let (lines, received) = unbounded();
        self.watches.push(Watch {
            resource: resource.to_owned(),
            filter,
            metadata,
            seen: from,
            lines,
        });
        self.deliver();
        Ok(received)
    }

    pub fn watches(&self, resource: &str) -> usize {
        let open = self.watches.iter().filter(|watch| !watch.lines.is_closed());
        open.filter(|watch| watch.resource == resource).count()
    }

    pub fn hold(&mut self, resource: &str) {
        self.held.insert(resource.to_owned());
    }

    pub fn release(&mut self, resource: &str) {
        self.held.remove(resource);
        self.deliver();
    }

    pub fn cut(&mut self, resource: &str) {
        self.watches.retain(|watch| watch.resource != resource);
    }

    pub fn expire(&mut self, resource: &str) {
        for watch in self
            .watches
            .iter()
            .filter(|watch| watch.resource == resource)
        {
            watch.send("ERROR", &status(410, "Expired"));
        }
        self.cut(resource);
    }

    /// Everything that was ever written in a namespace, in order.
    pub fn history(&self, namespace: &str) -> impl Iterator<Item = Past> {
        let is_there = move |change: &&Change| change.object["metadata"]["namespace"] == namespace;
        self.changes.iter().filter(is_there).map(|change| Past {
            key: key_of(&change.object),
            object: (change.what != "DELETED").then(|| change.object.clone()),
            manager: change.manager.clone(),
            at: change.at,
        })
    }

    pub fn compact(&mut self) {
        self.oldest = self.version;
    }

    fn changed(
        &mut self,
        key: &Key,
        what: &'static str,
        manager: &str,
        object: Value,
        before: Option<Value>,
    ) {
        self.changes.push(Change {
            version: self.version,
            resource: key.resource.clone(),
            what,
            manager: manager.to_owned(),
            at: now(),
            object,
            before,
        });
        self.deliver();
    }

    fn deliver(&mut self) {
        let watches = self.watches.iter_mut();
        for watch in watches.filter(|watch| !self.held.contains(&watch.resource)) {
            let first = self
                .changes
                .partition_point(|change| change.version <= watch.seen);
            for change in &self.changes[first..] {
                if change.resource == watch.resource {
                    watch.tell(change);
                }
                watch.seen = change.version;
            }
        }
        self.watches.retain(|watch| !watch.lines.is_closed());
    }
}

impl Watch {
    /// An object that comes to match is added to what is watched, and one that no longer does is deleted from it.
    fn tell(&self, change: &Change) {
        let before = change.before.as_ref();
        let was_in = before.is_some_and(|before| self.filter.matches(before));
        let is_in = change.what != "DELETED" && self.filter.matches(&change.object);
        match (was_in, is_in) {
            (false, false) => {}
            (false, true) => self.send("ADDED", &change.object),
            (true, true) => self.send("MODIFIED", &change.object),
            (true, false) => self.send("DELETED", &change.object),
        }
    }

    fn send(&self, what: &str, object: &Value) {
        let object = if self.metadata && what != "ERROR" {
            metadata_only(object)
        } else {
            object.clone()
        };
        let line = format!("{}\n", json!({ "type": what, "object": object }));
        // Whoever watched has gone away: the watch is dropped by the caller.
        let _ = self.lines.unbounded_send(line.into());
    }
}

/// What the API server makes of an object when only metadata is asked for.
pub fn metadata_only(object: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": object["metadata"],
    })
}

/// What a write is checked against.
pub fn version_of(object: &Value) -> Option<&str> {
    object["metadata"]["resourceVersion"].as_str()
}

/// What counts in the generation.
fn content(object: &Value) -> Value {
    let mut content = object.clone();
    content["metadata"].take();
    content
}

fn key_of(object: &Value) -> Key {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let kind = text(&object["kind"]).to_lowercase();
    let plural = if kind.ends_with('s') { "es" } else { "s" };
    Key {
        resource: format!("{kind}{plural}"),
        namespace: object["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        name: text(&object["metadata"]["name"]),
    }
}

fn without_empty_annotations(mut object: Value) -> Value {
    for parent in [
        "/metadata",
        "/spec/template/metadata",
        "/spec/jobTemplate/spec/template/metadata",
    ] {
        if let Some(Value::Object(metadata)) = object.pointer_mut(parent) {
            metadata.retain(|field, value| field != "annotations" || *value != json!({}));
        }
    }
    object
}

/// One entry per manager, with the time of its last write; versions serve as seconds.
fn managed(before: &Value, manager: &str, version: u64) -> Value {
    let before = before.as_array().cloned().unwrap_or_default();
    let others = before
        .into_iter()
        .filter(|entry| entry["manager"] != manager);
    let time = jiff::Timestamp::from_second(1_750_000_000 + i64::try_from(version).expect("small"));
    let entry = json!({
        "manager": manager,
        "operation": "Update",
        "time": time.expect("a time").to_string(),
        // Which fields are whose is not kept: everybody owns a spec.
        "fieldsV1": { "f:spec": {} },
    });
    others.chain([entry]).collect()
}
