//! What is known of sources: a row for each that exists, and digests of those that were read.
//!
//! Watches lag. A read is trusted while nothing newer than it has been seen: it shows the very version
//! of the row, or it began after the row was received (reads are quorum reads).

mod deletions;

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::watcher::Event;

use crate::{
    cluster::{
        source::{Content, Row, Version},
        version_number,
    },
    stamp::{
        decide::Live,
        digest::SourceDigests,
        policy::Marks,
        references::Catalog,
        source::{SourceId, SourceKind, SourceName},
    },
};

use deletions::{Deletions, UNPLACED};

/// Counts what happens, to tell what came before what.
pub type Seq = u64;

/// What an event did to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which source.
    pub id: SourceId,
    /// What happened to it.
    pub what: What,
    /// Its version, if it has just appeared after it had not existed, seen without a gap.
    pub appeared: Option<Version>,
}

/// What happened to a source, as the table shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It was not known before.
    Added,
    /// It has another version or other marks.
    Updated {
        /// Whether it is marked to be ignored now.
        ignored: bool,
    },
    /// It is gone.
    Deleted,
}

/// What became of a source since a workload's template was written without it, in a watch without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence<'a> {
    /// Nothing; it has been watched since then.
    Lasting(Seq),
    /// Its first event was that it appeared, at this version, and it was the only one.
    Ended(&'a Version),
}

/// The table of sources.
#[derive(Default)]
pub struct Sources {
    rows: BTreeMap<SourceId, SeenRow>,
    listing: BTreeMap<SourceKind, BTreeMap<SourceId, Row>>,
    listed: BTreeSet<SourceKind>,
    /// Kinds whose watch has ended with an error, and told nothing since.
    broken: BTreeSet<SourceKind>,
    sessions: BTreeMap<SourceKind, Seq>,
    reads: BTreeMap<SourceId, Read>,
    /// Reads under way, and whether the source changed since they began.
    reading: BTreeMap<SourceId, bool>,
    deletions: BTreeMap<SourceKind, Deletions>,
}

struct SeenRow {
    version: Version,
    marks: Marks,
    seen: Seq,
    /// Whether all that has been seen of it, in a watch without a gap, is that it appeared.
    is_new: bool,
}

struct Read {
    began: Seq,
    found: Found,
}

enum Found {
    Absent,
    Present {
        version: Version,
        digests: SourceDigests,
    },
    Unreadable,
}

impl Found {
    /// Whether it is another version with the same content.
    fn is_rewrite_of(&self, before: &Found) -> bool {
        let (
            Found::Present { version, digests },
            Found::Present {
                version: old,
                digests: same,
            },
        ) = (self, before)
        else {
            return false;
        };
        version != old && digests == same
    }
}

impl Sources {
    /// Takes in a watch event, and says which sources it changed.
    pub fn apply(&mut self, kind: SourceKind, event: Event<Row>, now: Seq) -> Vec<Change> {
        self.broken.remove(&kind);
        match event {
            Event::Init => {
                self.sessions.remove(&kind);
                self.listing.insert(kind, BTreeMap::new());
                Vec::new()
            }
            Event::InitApply(row) => {
                self.listing
                    .entry(kind)
                    .or_default()
                    .insert(row.id.clone(), row);
                Vec::new()
            }
            Event::InitDone => self.replace(kind, now),
            Event::Apply(row) => {
                self.place_list_before(kind, number(&row.version));
                self.upsert(row, now).into_iter().collect()
            }
            Event::Delete(row) => {
                let version = number(&row.version).unwrap_or(UNPLACED);
                let deletions = self.deletions.entry(kind).or_default();
                deletions.place_list_before(Some(version));
                deletions.add(&row.id.namespace, version);
                self.remove(&row.id);
                vec![Change {
                    id: row.id,
                    what: What::Deleted,
                    appeared: None,
                }]
            }
        }
    }

    /// A write of our own that began at `began` was given `version`: every list that was complete then is older.
    pub fn written(&mut self, began: Seq, version: Option<u64>) {
        for kind in SourceKind::ALL {
            if self.session(kind).is_some_and(|session| session < began) {
                self.place_list_before(kind, version);
            }
        }
    }

    /// Whether the kind has been listed once.
    pub fn is_listed(&self, kind: SourceKind) -> bool {
        self.listed.contains(&kind)
    }

    /// Since when the kind has been watched without a gap; nothing while it is being listed.
    pub fn session(&self, kind: SourceKind) -> Option<Seq> {
        self.sessions.get(&kind).copied()
    }

    /// A read begins; false if one is under way.
    pub fn begin(&mut self, id: &SourceId) -> bool {
        let begins = !self.reading.contains_key(id);
        if begins {
            self.reading.insert(id.clone(), false);
        }
        begins
    }

    /// The read that began at `began` ended; `content` is nothing if the source may not be read. True if it showed
    /// another version than the read before, with the same content.
    pub fn finish(&mut self, id: SourceId, began: Seq, content: Option<Content>) -> bool {
        let has_changed = self.reading.remove(&id).unwrap_or_default();
        let found = match content {
            None => Found::Unreadable,
            Some(Content::Absent) => Found::Absent,
            // Deleted since it was read.
            Some(Content::Present { .. }) if has_changed && !self.rows.contains_key(&id) => {
                return false;
            }
            Some(Content::Present {
                version, digests, ..
            }) => Found::Present { version, digests },
        };
        let same_content = self
            .reads
            .get(&id)
            .is_some_and(|before| found.is_rewrite_of(&before.found));
        self.reads.insert(id, Read { began, found });
        same_content
    }

    /// The read ended without an answer.
    pub fn abandon(&mut self, id: &SourceId) {
        self.reading.remove(id);
    }

    /// Forgets what was read of a source.
    pub fn forget(&mut self, id: &SourceId) {
        self.reads.remove(id);
    }

    /// Whether the source could not be read.
    pub fn is_unreadable(&self, id: &SourceId) -> bool {
        let read = self.reads.get(id);
        read.is_some_and(|read| matches!(read.found, Found::Unreadable))
    }

    /// Forgets everything that was read.
    pub fn forget_all(&mut self) {
        self.reads.clear();
        self.reading.clear();
    }

    /// What is live; nothing if that has to be read first.
    pub fn live(&self, id: &SourceId) -> Option<Live<'_>> {
        let read = self.reads.get(id)?;
        let trusted = match (self.rows.get(id), &read.found) {
            (None, _) => true,
            (Some(row), Found::Present { version, .. }) if row.version == *version => true,
            (Some(row), _) => read.began > row.seen,
        };
        trusted.then_some(match &read.found {
            Found::Absent => Live::Absent,
            Found::Present { digests, .. } => Live::Present(digests),
            Found::Unreadable => Live::Unreadable,
        })
    }

    /// The watch of a kind has ended with an error.
    pub fn broke_off(&mut self, kind: SourceKind) {
        self.broken.insert(kind);
    }

    /// Whether changes of a kind go unheard now.
    pub fn is_broken(&self, kind: SourceKind) -> bool {
        self.broken.contains(&kind)
    }

    /// When the last read of the source began.
    pub fn read_at(&self, id: &SourceId) -> Option<Seq> {
        Some(self.reads.get(id)?.began)
    }

    /// Whether the source was read after `seq`.
    pub fn was_read_after(&self, id: &SourceId, seq: Seq) -> bool {
        self.reads.get(id).is_some_and(|read| read.began > seq)
    }

    /// The version that was read.
    pub fn read_version(&self, id: &SourceId) -> Option<&Version> {
        match &self.reads.get(id)?.found {
            Found::Present { version, .. } => Some(version),
            _ => None,
        }
    }

    /// What became of a source that was recorded as absent on a workload when its template was written, at
    /// `version`; nothing if that cannot be said for sure. A deletion in the namespace after that, of whatever source,
    /// may have been of one that pods had started with.
    pub fn absence(&self, id: &SourceId, version: u64) -> Option<Absence<'_>> {
        let session = self.session(id.source.kind)?;
        let deletions = self.deletions.get(&id.source.kind)?;
        if deletions.last(&id.namespace) > version {
            return None;
        }
        match self.rows.get(id) {
            None => Some(Absence::Lasting(session)),
            Some(row) => row.is_new.then_some(Absence::Ended(&row.version)),
        }
    }

    /// The sources of one namespace.
    pub fn within<'a>(&'a self, namespace: &'a str) -> NamespaceSources<'a> {
        NamespaceSources {
            sources: self,
            namespace,
        }
    }

    fn upsert(&mut self, row: Row, now: Seq) -> Option<Change> {
        let before = self.rows.get(&row.id);
        if before.is_some_and(|seen| seen.version == row.version && seen.marks == row.marks) {
            return None;
        }
        let appeared = before.is_none().then(|| row.version.clone());
        let what = match before {
            None => What::Added,
            Some(_) => What::Updated {
                ignored: row.marks.ignored,
            },
        };
        let is_new = before.is_none() && self.session(row.id.source.kind).is_some();
        self.note(&row.id);
        let seen = SeenRow {
            version: row.version,
            marks: row.marks,
            seen: now,
            is_new,
        };
        self.rows.insert(row.id.clone(), seen);
        Some(Change {
            id: row.id,
            what,
            appeared,
        })
    }

    fn place_list_before(&mut self, kind: SourceKind, version: Option<u64>) {
        if let Some(deletions) = self.deletions.get_mut(&kind) {
            deletions.place_list_before(version);
        }
    }

    fn remove(&mut self, id: &SourceId) {
        self.note(id);
        self.rows.remove(id);
        if self
            .reads
            .get(id)
            .is_some_and(|read| !matches!(read.found, Found::Absent))
        {
            self.reads.remove(id);
        }
    }

    fn note(&mut self, id: &SourceId) {
        if let Some(has_changed) = self.reading.get_mut(id) {
            *has_changed = true;
        }
    }

    /// A finished list takes the place of what was known; what happened in between is unknown, so
    /// nothing has "appeared".
    fn replace(&mut self, kind: SourceKind, now: Seq) -> Vec<Change> {
        let listed = self.listing.remove(&kind).unwrap_or_default();
        let newest = listed.values().filter_map(|row| number(&row.version)).max();
        let deletions = Deletions::until(match self.listed.insert(kind) {
            true => newest.unwrap_or_default(),
            false => UNPLACED,
        });
        self.deletions.insert(kind, deletions);
        let gone: Vec<_> = self
            .rows
            .keys()
            .filter(|id| id.source.kind == kind && !listed.contains_key(id))
            .cloned()
            .collect();
        gone.iter().for_each(|id| self.remove(id));
        let changed = listed.into_values().filter_map(|row| self.upsert(row, now));
        let changed: Vec<_> = changed.collect();
        self.sessions.insert(kind, now);
        let gone = gone.into_iter().map(|id| Change {
            id,
            what: What::Deleted,
            appeared: None,
        });
        let changed = changed.into_iter().map(|change| Change {
            appeared: None,
            ..change
        });
        gone.chain(changed).collect()
    }
}

fn number(version: &Version) -> Option<u64> {
    version_number(&version.resource_version)
}

/// The sources of one namespace, as a catalog for the core.
pub struct NamespaceSources<'a> {
    sources: &'a Sources,
    namespace: &'a str,
}

impl Catalog for NamespaceSources<'_> {
    fn marks(&self, source: &SourceName) -> Option<Marks> {
        let row = self.sources.rows.get(&source.within(self.namespace))?;
        Some(row.marks)
    }

    fn names(&self, kind: SourceKind) -> Box<dyn Iterator<Item = &str> + '_> {
        let first = SourceName::new(kind, "").within(self.namespace);
        let rows = self.sources.rows.range(first..);
        Box::new(
            rows.map(|(id, _)| id)
                .take_while(move |id| *id.namespace == *self.namespace && id.source.kind == kind)
                .map(|id| &*id.source.name),
        )
    }
}

#[cfg(test)]
mod tests;
