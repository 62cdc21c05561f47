//! Sources as the watches see them: a few fields of their metadata.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::DynamicResourceScope,
};
use serde::Deserialize;

use super::{Row, Version};
use crate::stamp::{
    annotations::PolicyKeys,
    policy::Marks,
    source::{SourceKind, SourceName},
};

/// The metadata of a source, decoded to the few fields that a [`Row`] needs. An annotation may hold the
/// whole payload (`kubectl.kubernetes.io/last-applied-configuration`), so none is kept but those that are `true`.
#[derive(Clone, Deserialize)]
#[serde(from = "Partial")]
pub struct SourceMetadata {
    metadata: ObjectMeta,
    annotations: TrueAnnotations,
}

impl SourceMetadata {
    /// The row of this object; nothing for an object without a namespace, which cannot be.
    pub fn into_row(self, kind: SourceKind, keys: &PolicyKeys) -> Option<Row> {
        let source = SourceName::new(kind, self.metadata.name?);
        Some(Row {
            id: source.within(&self.metadata.namespace?),
            version: Version {
                uid: self.metadata.uid.unwrap_or_default().into(),
                resource_version: self.metadata.resource_version.unwrap_or_default().into(),
            },
            marks: Marks::of(&self.annotations.0, keys),
        })
    }
}

impl SourceMetadata {
    /// The name of the object, if that is all that matters.
    pub fn into_name(self) -> Option<Box<str>> {
        self.metadata.name.map(Into::into)
    }
}

impl std::fmt::Debug for SourceMetadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceMetadata({})", self.name_any())
    }
}

#[derive(Deserialize)]
struct Partial {
    metadata: PartialMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartialMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    #[serde(default)]
    annotations: Option<TrueAnnotations>,
}

/// The keys of the annotations whose value is exactly `true`: no other can be a mark.
#[derive(Clone, Default)]
pub(super) struct TrueAnnotations(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for TrueAnnotations {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = TrueAnnotations;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("annotations")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut found = Vec::new();
                while let Some((key, value)) = map.next_entry::<Cow<'de, str>, IsTrue>()? {
                    if value.0 {
                        found.push(key.into_owned());
                    }
                }
                Ok(TrueAnnotations(found))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Whether a text is `true`; whatever else it is, it is not kept.
struct IsTrue(bool);

impl<'de> Deserialize<'de> for IsTrue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = IsTrue;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an annotation")
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(IsTrue(text == "true"))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl From<Partial> for SourceMetadata {
    fn from(Partial { metadata }: Partial) -> Self {
        Self {
            annotations: metadata.annotations.unwrap_or_default(),
            metadata: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                ..ObjectMeta::default()
            },
        }
    }
}

impl Resource for SourceMetadata {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn metadata_api() -> bool {
        true
    }
    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(resource)
    }
    fn group(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(resource)
    }
    fn version(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(resource)
    }
    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(resource)
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
