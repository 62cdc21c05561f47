//! What the pods that mount a SecretProviderClass show of its content, and whether one of them is behind.
//!
//! The content itself is in some store outside. The CSI driver writes down for each pod which version of each object
//! it mounted, and writes that anew when it puts another version under the feet of a running pod. So a status that
//! was never updated tells on what its pod started, and one that was updated tells that its pod started on something
//! else. Why the rule is what it is: `docs/adr/0005-content-that-only-pods-show.md`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    decide::Comparison,
    digest::{Encoding, InstallationKey, Keyring, SourceDigests, Value},
    observed::Entry,
    settings::ReloadStrategy,
    source::SourceId,
};

/// The version of each object that a class provides, by the object's id.
pub type Objects = BTreeMap<String, String>;

/// What the driver wrote down of one pod. `T` stands for the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount<T> {
    /// What the pod has mounted now.
    pub content: T,
    /// Whether that was written anew since the status was made.
    pub updated: bool,
    /// The resource version: of two statuses, the higher was written later.
    pub version: u64,
}

/// Some content, and the last resource versions at which pods got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<T> {
    /// The content.
    pub content: T,
    /// When it started.
    pub started: Option<u64>,
    /// While it ran.
    pub updated: Option<u64>,
}

impl<T> Shown<T> {
    fn last(&self) -> Option<u64> {
        self.started.max(self.updated)
    }
}

/// The contents that pods show, the newest at the end.
pub fn shown<T: Clone + Ord>(mounts: impl IntoIterator<Item = Mount<T>>) -> Vec<Shown<T>> {
    let mut by_content = BTreeMap::new();
    for mount in mounts {
        let (started, updated) = by_content.entry(mount.content).or_insert((None, None));
        let last = if mount.updated { updated } else { started };
        *last = (*last).max(Some(mount.version));
    }
    let mut contents: Vec<_> = by_content
        .into_iter()
        .map(|(content, (started, updated))| Shown {
            content,
            started,
            updated,
        })
        .collect();
    contents.sort_by_key(Shown::last);
    contents
}

/// All that a comparison can depend on: while it is the same, there is nothing to compare anew. Most pods come with what
/// others have already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline<T: Ord> {
    newest: Option<T>,
    /// Each content, and whether a running pod got it.
    contents: BTreeSet<(T, bool)>,
}

impl<T: Clone + Ord> Outline<T> {
    /// The outline of what pods show.
    pub fn of(mounts: impl IntoIterator<Item = Mount<T>>) -> Self {
        let contents = shown(mounts);
        Self {
            newest: contents.last().map(|it| it.content.clone()),
            contents: contents
                .into_iter()
                .map(|it| (it.content, it.updated.is_some()))
                .collect(),
        }
    }
}

/// What pods show of a class, digested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provided {
    /// The resource version of the list that says so.
    at: u64,
    /// The newest at the end.
    contents: Vec<Shown<SourceDigests>>,
    newest: SourceDigests,
    /// All contents together.
    all: SourceDigests,
}

impl Provided {
    /// Digests what was listed at a resource version, as the strategy wants it; nothing if no pod shows anything.
    pub fn of(
        keyring: &Keyring,
        id: &SourceId,
        strategy: ReloadStrategy,
        at: u64,
        mounts: impl IntoIterator<Item = Mount<Objects>>,
    ) -> Option<Self> {
        let shown = shown(mounts);
        let digests = |contents: &[&Objects]| digests(keyring, id, contents);
        let all: Vec<_> = shown.iter().map(|it| &it.content).collect();
        let last = *all.last()?;
        let newest = digests(&[last]);
        Some(Self {
            at,
            newest: match strategy {
                ReloadStrategy::Stamp => newest,
                ReloadStrategy::Variables => newest.with_hash(&hashed(id, last)),
            },
            all: digests(&all),
            contents: shown
                .iter()
                .map(|it| Shown {
                    content: digests(&[&it.content]),
                    started: it.started,
                    updated: it.updated,
                })
                .collect(),
        })
    }

    /// Beside what is recorded. What was shown when that was written is part of it: a pod that is behind since then
    /// is being replaced, and what pods start on needs no restart.
    pub(super) fn compare(&self, entry: &Entry, key: &InstallationKey) -> Comparison {
        let is_recorded = |it: &SourceDigests| is_recorded(entry, key, it);
        // A version that is yet to come is of another cluster.
        let since = entry.since.filter(|since| *since <= self.at);
        let is_new = |version: Option<u64>| version > since;
        let mut updated = self.contents.iter().filter(|it| is_new(it.updated));
        if updated.any(|it| !is_recorded(&it.content)) {
            return Comparison::Changed;
        }
        let newest = self.contents.last().filter(|it| is_new(it.last()));
        let is_started = newest.is_some_and(|it| !is_recorded(&it.content));
        match (self.recorded(entry, key), is_started) {
            (Some(all), true) if *all == self.all => Comparison::Same,
            (_, true) => Comparison::Started,
            (Some(_), false) => Comparison::Same,
            (None, false) => Comparison::Unknown,
        }
    }

    /// What to record for pods that go on: what is recorded, if any of them shows it, or all together.
    pub(super) fn running(&self, recorded: Option<(&Entry, &InstallationKey)>) -> &SourceDigests {
        let recorded = recorded
            .filter(|(entry, key)| self.compare(entry, key) == Comparison::Same)
            .and_then(|(entry, key)| self.recorded(entry, key));
        recorded.unwrap_or(&self.all)
    }

    /// What to record for pods that start anew.
    pub(super) fn newest(&self) -> &SourceDigests {
        &self.newest
    }

    /// Since when what is recorded now has been so.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    fn recorded(&self, entry: &Entry, key: &InstallationKey) -> Option<&SourceDigests> {
        let single = self.contents.iter().map(|it| &it.content);
        single
            .chain([&self.all])
            .find(|it| is_recorded(entry, key, it))
    }
}

fn is_recorded(entry: &Entry, key: &InstallationKey, digests: &SourceDigests) -> bool {
    entry.digest.is_some() && digests.digest(key, &entry.keys) == entry.digest
}

/// What Reloader hashes of a pod status.
pub(super) fn hashed<'a>(id: &'a SourceId, objects: &'a Objects) -> Vec<Value<'a>> {
    let class = ("SecretProviderClassName", &*id.source.name);
    let objects = objects.iter();
    let objects = objects.map(|(object, version)| (object.as_str(), version.as_str()));
    objects
        .chain([class])
        .map(|(key, text)| (key, Encoding::Text, text.as_bytes()))
        .collect()
}

/// The digests of one content or of several, which are another content than each of them.
fn digests(keyring: &Keyring, id: &SourceId, contents: &[&Objects]) -> SourceDigests {
    let objects: BTreeSet<_> = contents.iter().flat_map(|it| it.keys()).collect();
    let values = objects.into_iter().map(|object| {
        let versions: BTreeSet<_> = contents.iter().map(|it| it.get(object)).collect();
        match versions.first() {
            Some(Some(only)) if versions.len() == 1 => {
                (object.as_str(), Encoding::Text, only.as_bytes().to_vec())
            }
            _ => (object.as_str(), Encoding::Binary, framed(&versions)),
        }
    });
    let values: Vec<_> = values.collect();
    let values: Vec<_> = values
        .iter()
        .map(|(object, encoding, bytes)| (*object, *encoding, bytes.as_slice()))
        .collect();
    SourceDigests::of(keyring, id.clone(), &values)
}

/// Several versions of an object, or none in some contents, with the length before each.
fn framed(versions: &BTreeSet<Option<&String>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for version in versions {
        let text = version.map_or("", String::as_str);
        bytes.push(u8::from(version.is_some()));
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests;
