//! What a source is called, and which part of it a workload uses.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// The kinds of object that a pod can take configuration from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Secret.
    Secret,
    /// SecretProviderClass of the Secrets Store CSI driver.
    SecretProviderClass,
}

impl SourceKind {
    /// Every kind, in the order in which they are listed to people.
    pub const ALL: [SourceKind; 3] = [
        SourceKind::ConfigMap,
        SourceKind::Secret,
        SourceKind::SecretProviderClass,
    ];

    /// Those of the core API: every API server serves them, and their content is what is stored. What a class of the
    /// CSI driver provides is stored elsewhere, and only the pods that mount it show what they got.
    pub const CORE: [SourceKind; 2] = [SourceKind::ConfigMap, SourceKind::Secret];

    /// Whether it is one of [`SourceKind::CORE`].
    pub fn is_core(self) -> bool {
        Self::CORE.contains(&self)
    }

    /// The Kubernetes kind.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceKind::ConfigMap => "ConfigMap",
            SourceKind::Secret => "Secret",
            SourceKind::SecretProviderClass => "SecretProviderClass",
        }
    }

    /// The name of the kind in Kubernetes API paths and RBAC rules.
    pub fn plural(self) -> &'static str {
        match self {
            SourceKind::ConfigMap => "configmaps",
            SourceKind::Secret => "secrets",
            SourceKind::SecretProviderClass => "secretproviderclasses",
        }
    }

    /// The type string in Reloader's Events and variables (`CONFIGMAP`, `SECRET`, `SECRETPROVIDERCLASS`).
    pub fn type_string(self) -> &'static str {
        match self {
            SourceKind::ConfigMap => "CONFIGMAP",
            SourceKind::Secret => "SECRET",
            SourceKind::SecretProviderClass => "SECRETPROVIDERCLASS",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A source within the namespace of the workload that uses it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName {
    /// What it is.
    pub kind: SourceKind,
    /// `metadata.name`.
    pub name: Box<str>,
}

impl SourceName {
    /// Names a source.
    pub fn new(kind: SourceKind, name: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }

    /// The same source, with the namespace it is in.
    pub fn within(&self, namespace: &str) -> SourceId {
        SourceId {
            namespace: namespace.into(),
            source: self.clone(),
        }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Whether a source can have the name (a DNS subdomain, RFC 1123).
pub fn is_source_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Whether a namespace can have the name (a DNS label, RFC 1123).
pub fn is_namespace(name: &str) -> bool {
    name.len() <= 63 && is_label(name)
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    label.bytes().all(|byte| inner(byte) || byte == b'-')
        && label.bytes().next().is_some_and(inner)
        && label.bytes().next_back().is_some_and(inner)
}

/// A text that is not the kind of a source, a slash and a name.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a source is written ConfigMap/NAME, Secret/NAME or SecretProviderClass/NAME")]
pub struct NotASource;

impl FromStr for SourceName {
    type Err = NotASource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) = text.split_once('/').ok_or(NotASource)?;
        let kind = SourceKind::ALL
            .into_iter()
            .find(|candidate| candidate.as_str() == kind)
            .ok_or(NotASource)?;
        if !is_source_name(name) {
            return Err(NotASource);
        }
        Ok(Self::new(kind, name))
    }
}

/// A source in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId {
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// Kind and name.
    pub source: SourceName,
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}/{}",
            self.source.kind, self.namespace, self.source.name
        )
    }
}

/// The data keys of a source that a workload uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keys {
    /// Whatever keys there are.
    All,
    /// These, whether they exist or not.
    Only(BTreeSet<Box<str>>),
}

impl Keys {
    /// One key.
    pub fn one(key: impl Into<Box<str>>) -> Self {
        Keys::Only(BTreeSet::from([key.into()]))
    }

    /// Everything that either uses.
    pub fn union(self, other: Keys) -> Keys {
        match (self, other) {
            (Keys::Only(mut ours), Keys::Only(theirs)) => {
                ours.extend(theirs);
                Keys::Only(ours)
            }
            _ => Keys::All,
        }
    }
}

/// How a workload uses a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Which part of it.
    pub keys: Keys,
    /// Whether pods start without it.
    pub optional: bool,
}

impl Usage {
    /// Both uses at once: the keys of either, and required if either requires it.
    pub fn union(self, other: Usage) -> Usage {
        Usage {
            keys: self.keys.union(other.keys),
            optional: self.optional && other.optional,
        }
    }
}
