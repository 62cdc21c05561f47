//! Every way in which a pod template uses a ConfigMap, a Secret or a SecretProviderClass.
//!
//! The rules of what counts are Reloader's (its `upgrade.go`): `env`, `envFrom`, and volumes that some
//! container mounts; not `imagePullSecrets`, service-account tokens or storage-driver secrets. Unlike
//! Reloader, every volume and every container counts, and only the keys that are really used.

mod containers;

use std::collections::{BTreeMap, BTreeSet};

pub use containers::{Containers, Told};
use serde::{Deserialize, Deserializer};

use super::{
    source::{Keys, SourceKind, SourceName, Usage, is_source_name},
    warning::Warning,
};

/// What of a pod template is ours to look at. Fields that are absent or null are empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodTemplate {
    /// Nothing if the field is absent or null.
    pub metadata: Option<ObjectMeta>,
    #[serde(deserialize_with = "or_default")]
    spec: PodSpec,
}

impl PodTemplate {
    /// The annotations of the template.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let metadata = self.metadata.as_ref();
        metadata
            .and_then(|metadata| metadata.annotations.as_ref())
            .unwrap_or(&NONE)
    }

    /// The sources that the pod spec uses, with what it uses of each, and what is wrong with their names.
    pub fn usages(&self) -> (BTreeMap<SourceName, Usage>, Vec<Warning>) {
        let mut found = Usages::default();
        for container in self
            .spec
            .containers
            .iter()
            .chain(&self.spec.init_containers)
        {
            container.collect(&mut found);
        }
        for volume in &self.spec.volumes {
            let mounts = self.mounts_of(&volume.name);
            if !mounts.is_empty() {
                volume.collect(&mounts, &mut found);
            }
        }
        let warning = |(kind, name)| Warning::InvalidName { kind, name };
        (
            found.valid,
            found.invalid.into_iter().map(warning).collect(),
        )
    }

    fn mounts_of(&self, volume: &str) -> Vec<&VolumeMount> {
        self.spec
            .containers
            .iter()
            .chain(&self.spec.init_containers)
            .flat_map(|container| &container.volume_mounts)
            .filter(|mount| mount.name == volume)
            .collect()
    }
}

#[derive(Default)]
struct Usages {
    valid: BTreeMap<SourceName, Usage>,
    /// The API server does not check the names in volumes.
    invalid: BTreeSet<(SourceKind, String)>,
}

impl Usages {
    fn add(&mut self, kind: SourceKind, name: &str, keys: Keys, optional: bool) {
        // The API server accepts an empty name, for compatibility; nothing can be meant by it.
        if name.is_empty() {
            return;
        }
        if !is_source_name(name) {
            self.invalid.insert((kind, name.to_owned()));
            return;
        }
        let usage = Usage { keys, optional };
        let source = SourceName::new(kind, name);
        let merged = match self.valid.remove(&source) {
            Some(known) => known.union(usage),
            None => usage,
        };
        self.valid.insert(source, merged);
    }
}

/// The metadata of a workload or of a pod template.
#[derive(Debug, Deserialize)]
pub struct ObjectMeta {
    /// Nothing if the field is absent or null.
    pub annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    #[serde(deserialize_with = "or_default")]
    containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    init_containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    volumes: Vec<Volume>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    #[serde(deserialize_with = "or_default")]
    env: Vec<EnvVar>,
    #[serde(deserialize_with = "or_default")]
    env_from: Vec<EnvFrom>,
    #[serde(deserialize_with = "or_default")]
    volume_mounts: Vec<VolumeMount>,
}

impl Container {
    fn collect(&self, found: &mut Usages) {
        for from in self.env.iter().filter_map(|var| var.value_from.as_ref()) {
            if let Some(key) = &from.config_map_key_ref {
                found.add(SourceKind::ConfigMap, &key.name, key.keys(), key.optional);
            }
            if let Some(key) = &from.secret_key_ref {
                found.add(SourceKind::Secret, &key.name, key.keys(), key.optional);
            }
        }
        for from in &self.env_from {
            if let Some(all) = &from.config_map_ref {
                found.add(SourceKind::ConfigMap, &all.name, Keys::All, all.optional);
            }
            if let Some(all) = &from.secret_ref {
                found.add(SourceKind::Secret, &all.name, Keys::All, all.optional);
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EnvVar {
    #[serde(deserialize_with = "or_default")]
    name: String,
    value: Option<String>,
    value_from: Option<EnvVarSource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EnvVarSource {
    config_map_key_ref: Option<KeyRef>,
    secret_key_ref: Option<KeyRef>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EnvFrom {
    config_map_ref: Option<KeyRef>,
    secret_ref: Option<KeyRef>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KeyRef {
    #[serde(deserialize_with = "or_default")]
    name: String,
    key: String,
    #[serde(deserialize_with = "or_default")]
    optional: bool,
}

impl KeyRef {
    fn keys(&self) -> Keys {
        Keys::one(self.key.as_str())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VolumeMount {
    name: String,
    #[serde(deserialize_with = "or_default")]
    sub_path: String,
    #[serde(deserialize_with = "or_default")]
    sub_path_expr: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Volume {
    name: String,
    config_map: Option<Projection>,
    secret: Option<Projection>,
    projected: Option<Projected>,
    csi: Option<Csi>,
}

impl Volume {
    fn collect(&self, mounts: &[&VolumeMount], found: &mut Usages) {
        if let Some(class) = self.csi.as_ref().and_then(Csi::class) {
            found.add(SourceKind::SecretProviderClass, class, Keys::All, false);
        }
        if let Some(files) = &self.config_map {
            files.collect(SourceKind::ConfigMap, mounts, found);
        }
        if let Some(files) = &self.secret {
            files.collect(SourceKind::Secret, mounts, found);
        }
        for source in self.projected.iter().flat_map(|all| &all.sources) {
            if let Some(files) = &source.config_map {
                files.collect(SourceKind::ConfigMap, mounts, found);
            }
            if let Some(files) = &source.secret {
                files.collect(SourceKind::Secret, mounts, found);
            }
        }
    }
}

/// A volume of any CSI driver: as with Reloader, its name is not looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Csi {
    volume_attributes: Option<CsiAttributes>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CsiAttributes {
    secret_provider_class: Option<String>,
}

impl Csi {
    fn class(&self) -> Option<&str> {
        let attributes = self.volume_attributes.as_ref()?;
        attributes.secret_provider_class.as_deref()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Projected {
    #[serde(deserialize_with = "or_default")]
    sources: Vec<ProjectedSource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ProjectedSource {
    config_map: Option<Projection>,
    secret: Option<Projection>,
}

/// A source as files: all of its keys, or `items`, each at a path of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Projection {
    #[serde(alias = "secretName", deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    items: Vec<Item>,
    #[serde(deserialize_with = "or_default")]
    optional: bool,
}

impl Projection {
    fn collect(&self, kind: SourceKind, mounts: &[&VolumeMount], found: &mut Usages) {
        let keys = self.keys(mounts);
        // A sub-path of a projected volume may be another source's, so its key need not be there.
        let guessed = self.items.is_empty() && keys != Keys::All;
        found.add(kind, &self.name, keys, self.optional || guessed);
    }

    /// The keys whose files some mount shows.
    fn keys(&self, mounts: &[&VolumeMount]) -> Keys {
        let Some(paths) = sub_paths(mounts) else {
            return self.all_items();
        };
        if self.items.is_empty() {
            return Keys::Only(paths.into_iter().map(Box::from).collect());
        }
        let shown = |item: &&Item| paths.iter().any(|path| item.is_under(path));
        Keys::Only(self.items.iter().filter(shown).map(Item::key).collect())
    }

    fn all_items(&self) -> Keys {
        if self.items.is_empty() {
            Keys::All
        } else {
            Keys::Only(self.items.iter().map(Item::key).collect())
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    key: String,
    path: String,
}

impl Item {
    fn key(&self) -> Box<str> {
        self.key.as_str().into()
    }

    fn is_under(&self, path: &str) -> bool {
        self.path == path
            || self
                .path
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/'))
    }
}

/// The sub-paths of the mounts, or nothing if one of them shows the whole volume (or a path that only
/// the kubelet can work out).
fn sub_paths<'a>(mounts: &[&'a VolumeMount]) -> Option<BTreeSet<&'a str>> {
    mounts
        .iter()
        .map(|mount| {
            let path = mount.sub_path.trim_end_matches('/');
            let plain = !path.is_empty()
                && mount.sub_path_expr.is_empty()
                && path
                    .split('/')
                    .all(|part| !matches!(part, "" | ".") && !part.starts_with(".."));
            plain.then_some(path)
        })
        .collect()
}

fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
