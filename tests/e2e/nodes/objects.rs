//! Every object of a cluster, whatever its kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kube::{
    Api, Client, Discovery, ResourceExt,
    api::{DynamicObject, ListParams},
    discovery::verbs::LIST,
};
use restamp::{cluster::discovery::name_of, stamp::annotations::OBSERVED};

use crate::support::ground::SYSTEM;

/// They come and go by themselves, or are of nodes, which may join a little later.
const NOT_KEPT: [&str; 4] = [
    "events",
    "events.events.k8s.io",
    "componentstatuses",
    "csinodes.storage.k8s.io",
];
const NAMESPACES: &str = "namespaces";
/// What Kubernetes puts into every namespace.
const OF_KUBERNETES: [(&str, &str); 2] = [
    ("configmaps", "kube-root-ca.crt"),
    ("serviceaccounts", "default"),
];
/// Each node makes one when it joins.
const LEASES_OF_NODES: &str = "kube-node-lease";
const INJECT: &str = "restamp.dev/inject";

/// An object by its resource, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    resource: String,
    namespace: String,
    name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.resource, self.namespace, self.name)
    }
}

/// All of them, and whether each carries what Restamp writes beside pod templates, or what it is told by.
pub struct Objects(BTreeMap<Id, bool>);

impl Objects {
    pub async fn of(client: &Client) -> Self {
        let discovery = Discovery::new(client.clone()).run().await;
        let discovery = discovery.expect("what is served");
        let resources = discovery
            .groups()
            .flat_map(|it| it.resources_by_stability());
        let mut objects = BTreeMap::new();
        for (resource, capabilities) in resources {
            let name = name_of(&resource);
            if !capabilities.supports_operation(LIST) || NOT_KEPT.contains(&&*name) {
                continue;
            }
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let listed = api.list_metadata(&ListParams::default()).await;
            for object in listed.unwrap_or_else(|error| panic!("{name}: {error}")) {
                let id = Id {
                    resource: name.clone(),
                    namespace: object.namespace().unwrap_or_default(),
                    name: object.name_any(),
                };
                let is_marked = object.annotations().contains_key(OBSERVED)
                    || object.labels().contains_key(INJECT);
                objects.insert(id, is_marked);
            }
        }
        Self(objects)
    }

    /// What is there and was not `before`, but for what is in namespaces of others that are new, and these.
    pub fn new_since(&self, before: &Self) -> BTreeSet<String> {
        let were_there = before.namespaces();
        let is_of_others = |namespace: &str| {
            !namespace.is_empty() && namespace != SYSTEM && !were_there.contains(namespace)
        };
        let new = self.0.keys().filter(|id| {
            let namespace = if id.resource == NAMESPACES {
                &id.name
            } else {
                &id.namespace
            };
            let is_of_kubernetes = OF_KUBERNETES.contains(&(&id.resource, &id.name))
                || id.namespace == LEASES_OF_NODES;
            !before.0.contains_key(id) && !is_of_others(namespace) && !is_of_kubernetes
        });
        new.map(Id::to_string).collect()
    }

    /// Those that carry something of Restamp's.
    pub fn marked(&self) -> BTreeSet<String> {
        let marked = self.0.iter().filter(|(_, is_marked)| **is_marked);
        marked.map(|(id, _)| id.to_string()).collect()
    }

    fn namespaces(&self) -> BTreeSet<&str> {
        let ids = self.0.keys().filter(|id| id.resource == NAMESPACES);
        ids.map(|id| &*id.name).collect()
    }
}
