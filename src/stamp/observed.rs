//! `observed`: the one annotation on the workload's metadata, and Restamp's only memory.
//!
//! It says with which content of each source the running pod template is known to have started, and
//! which stamp that template carries. Writing it rolls nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    digest::{Digest, InstallationKey, KeyId, NotADigest},
    json,
    source::{Keys, NotASource, SourceName},
};

/// The most bytes that the entries may take; above it they are folded into one digest.
pub const MAX_BYTES: usize = 32 * 1024;

const VERSION: u64 = 1;

/// What is recorded of each source.
pub type Entries = BTreeMap<SourceName, Entry>;

/// What is recorded of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The part of it that the template used.
    pub keys: Keys,
    /// Its content then; nothing if it did not exist.
    pub digest: Option<Digest>,
    /// Of what only pods show: the resource version at which this was all that they showed.
    pub since: Option<u64>,
}

/// The recorded entries, or what is left of them when there are too many to write down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Each source by itself.
    Entries(Entries),
    /// One digest over all of them.
    Folded(Digest),
}

/// The memory of one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The namespace of the workload that it was written for.
    pub namespace: Box<str>,
    /// The installation key of its digests.
    pub key: KeyId,
    /// The stamp that the template carried, as text; nothing if it carried none.
    pub stamp: Option<Box<str>>,
    /// When it was restarted last, where further restarts have to wait for a while after that (RFC 3339).
    pub restarted: Option<Box<str>>,
    /// With which content the template started.
    pub recorded: Recorded,
}

/// `observed` as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// The value.
    pub text: String,
    /// Whether the entries had to be folded.
    pub folded: bool,
}

/// Why an `observed` annotation cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObservedError {
    /// It was edited or cut short.
    #[error("it is not the JSON that Restamp writes: {0}")]
    Malformed(String),
    /// It names what is no source.
    #[error("it is not what Restamp writes: {0}")]
    Source(#[from] NotASource),
    /// It holds what is no digest.
    #[error("it is not what Restamp writes: {0}")]
    Digest(#[from] NotADigest),
    /// It records nothing, or twice.
    #[error("it is not what Restamp writes: it has to hold either sources or folded")]
    Incomplete,
    /// A newer Restamp wrote it.
    #[error("it is of version {0}, and this Restamp reads version {VERSION}")]
    Version(u64),
}

impl Observed {
    /// Reads the annotation.
    ///
    /// # Errors
    /// When it is of another version, or not what [`Observed::to_annotation`] writes.
    pub fn parse(text: &str) -> Result<Self, ObservedError> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u64,
        }
        let malformed = |error: serde_json::Error| ObservedError::Malformed(json::describe(&error));
        let Versioned { v } = serde_json::from_str(text).map_err(malformed)?;
        if v != VERSION {
            return Err(ObservedError::Version(v));
        }
        let wire: Wire = serde_json::from_str(text).map_err(malformed)?;
        wire.into_observed()
    }

    /// The annotation. Entries that would take more than [`MAX_BYTES`] are folded with `key`, which is
    /// the key that this names.
    pub fn to_annotation(&self, key: &InstallationKey) -> Annotation {
        let text = Wire::from_observed(self).to_json();
        match &self.recorded {
            Recorded::Entries(entries) if text.len() > MAX_BYTES => {
                let recorded = Recorded::Folded(fold(key, &self.namespace, entries));
                let text = Wire::from_observed(&Self {
                    recorded,
                    ..self.clone()
                })
                .to_json();
                Annotation { text, folded: true }
            }
            _ => Annotation {
                text,
                folded: false,
            },
        }
    }

    /// Puts `entries` in the place of a folded digest if they are what was folded.
    pub fn unfold(&mut self, key: &InstallationKey, entries: &Entries) {
        if let Recorded::Folded(digest) = self.recorded
            && *key.id() == self.key
            && fold(key, &self.namespace, entries) == digest
        {
            self.recorded = Recorded::Entries(entries.clone());
        }
    }

    /// The entries, if they are written down one by one.
    pub fn entries(&self) -> Option<&Entries> {
        match &self.recorded {
            Recorded::Entries(entries) => Some(entries),
            Recorded::Folded(_) => None,
        }
    }
}

/// One digest over `entries`, to tell whether they are the same.
pub fn fold(key: &InstallationKey, namespace: &str, entries: &Entries) -> Digest {
    key.set("fold", namespace, &summed(entries))
}

/// The entries that one digest can stand for: those whose content anybody who makes it can read, at any time. What
/// a class of the CSI driver provides changes with the pods that are there, and the webhook does not see it.
pub(super) fn summed(entries: &Entries) -> Vec<(&SourceName, &Keys, Option<&Digest>)> {
    let core = entries.iter().filter(|(source, _)| source.kind.is_core());
    core.map(|(source, entry)| (source, &entry.keys, entry.digest.as_ref()))
        .collect()
}

/// What is written. Names are short: the annotation is copied to every ReplicaSet.
#[derive(Deserialize, Serialize)]
struct Wire {
    v: u64,
    ns: Box<str>,
    key: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stamp: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restarted: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sources: Option<BTreeMap<String, WireEntry>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folded: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct WireEntry {
    /// Null for a source that did not exist.
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<Box<str>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

impl Wire {
    fn from_observed(observed: &Observed) -> Self {
        let (sources, folded) = match &observed.recorded {
            Recorded::Folded(digest) => (None, Some(digest.to_string())),
            Recorded::Entries(entries) => {
                let entry = |(source, entry): (&SourceName, &Entry)| {
                    (source.to_string(), WireEntry::from_entry(entry))
                };
                (Some(entries.iter().map(entry).collect()), None)
            }
        };
        Self {
            v: VERSION,
            ns: observed.namespace.clone(),
            key: observed.key.as_str().into(),
            stamp: observed.stamp.clone(),
            restarted: observed.restarted.clone(),
            sources,
            folded,
        }
    }

    /// Maps with text keys, and numbers: nothing that could fail to serialize.
    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn into_observed(self) -> Result<Observed, ObservedError> {
        let recorded = match (self.sources, self.folded) {
            (Some(sources), None) => Recorded::Entries(
                sources
                    .into_iter()
                    .map(|(source, entry)| Ok((source.parse()?, entry.into_entry()?)))
                    .collect::<Result<_, ObservedError>>()?,
            ),
            (None, Some(digest)) => Recorded::Folded(digest.parse()?),
            _ => return Err(ObservedError::Incomplete),
        };
        Ok(Observed {
            namespace: self.ns,
            key: KeyId::from_text(&self.key),
            stamp: self.stamp,
            restarted: self.restarted,
            recorded,
        })
    }
}

impl WireEntry {
    fn from_entry(entry: &Entry) -> Self {
        Self {
            digest: entry.digest.map(|digest| digest.to_string()),
            keys: match &entry.keys {
                Keys::All => None,
                Keys::Only(keys) => Some(keys.iter().cloned().collect()),
            },
            since: entry.since,
        }
    }

    fn into_entry(self) -> Result<Entry, ObservedError> {
        Ok(Entry {
            keys: self
                .keys
                .map_or(Keys::All, |keys| Keys::Only(keys.into_iter().collect())),
            digest: self.digest.map(|digest| digest.parse()).transpose()?,
            since: self.since,
        })
    }
}

#[cfg(test)]
mod tests;
