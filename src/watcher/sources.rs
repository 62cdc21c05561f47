//! What is known of sources: a row for each that exists, and digests of those that were read.
//!
//! Watches lag. A read is trusted while nothing newer than it has been seen: it shows the very version
//! of the row, or it began after the row was received (reads are quorum reads).

mod catalog;
mod change;
mod deletions;
mod mounts;
mod read;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::runtime::watcher::Event;

use crate::{
    cluster::{
        csi::PodStatusRow,
        source::{Content, Row, Version},
        version_number,
    },
    stamp::{
        decide::Live,
        policy::Marks,
        scope::Scope,
        settings::PolicySettings,
        source::{SourceId, SourceKind},
    },
};

pub use catalog::NamespaceSources;
pub use change::{Absence, Change, What};
use deletions::{Deletions, UNPLACED};
use mounts::Mounts;
use read::Read;

/// Counts what happens, to tell what came before what.
pub type Seq = u64;

/// The sources that one watch is of.
pub type Part = (SourceKind, Scope);

/// The table of sources.
#[derive(Default)]
pub struct Sources {
    policy: Arc<PolicySettings>,
    rows: BTreeMap<SourceId, SeenRow>,
    listing: BTreeMap<Part, BTreeMap<SourceId, Row>>,
    listed: BTreeSet<Part>,
    /// Those whose watch has ended with an error, and told nothing since.
    broken: BTreeSet<Part>,
    sessions: BTreeMap<Part, Seq>,
    reads: BTreeMap<SourceId, Read>,
    /// Reads under way, and whether the source changed since they began.
    reading: BTreeMap<SourceId, bool>,
    deletions: BTreeMap<Part, Deletions>,
    mounts: BTreeMap<Scope, Mounts>,
}

struct SeenRow {
    version: Version,
    marks: Marks,
    seen: Seq,
    /// Whether all that has been seen of it, in a watch without a gap, is that it appeared.
    is_new: bool,
}

impl Sources {
    /// A table of what is followed, with nothing in it.
    pub fn new(policy: Arc<PolicySettings>) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// Takes in a watch event, and says which sources it changed.
    pub fn apply(&mut self, part: Part, event: Event<Row>, now: Seq) -> Vec<Change> {
        self.broken.remove(&part);
        match event {
            Event::Init => {
                self.sessions.remove(&part);
                self.listing.insert(part, BTreeMap::new());
                Vec::new()
            }
            Event::InitApply(row) => {
                self.listing
                    .entry(part)
                    .or_default()
                    .insert(row.id.clone(), row);
                Vec::new()
            }
            Event::InitDone => self.replace(part, now),
            Event::Apply(row) => {
                self.place_list_before(part, number(&row.version));
                self.upsert(part, row, now).into_iter().collect()
            }
            Event::Delete(row) => {
                let version = number(&row.version).unwrap_or(UNPLACED);
                let deletions = self.deletions.entry(part).or_default();
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
        for (part, deletions) in &mut self.deletions {
            if self
                .sessions
                .get(part)
                .is_some_and(|session| *session < began)
            {
                deletions.place_list_before(version);
            }
        }
    }

    /// Whether all that is followed there has been listed once, or need not be.
    pub fn is_listed(&self, scope: Scope) -> bool {
        let mut followed = self.policy.followed();
        let mounts = self.mounts.get(&scope);
        followed.all(|kind| self.listed.contains(&(kind, scope)))
            && mounts.is_some_and(Mounts::is_listed)
    }

    /// Since when the source has been watched without a gap; nothing while it is being listed.
    pub fn session(&self, id: &SourceId) -> Option<Seq> {
        self.sessions.get(&self.part_of(id)?).copied()
    }

    fn part_of(&self, id: &SourceId) -> Option<Part> {
        let scope = self.policy.namespaces.scope_of(&id.namespace)?;
        Some((id.source.kind, scope))
    }

    /// Whether the source does not exist or lacks the labels of those that are followed; which of both is not known.
    fn is_unseen(&self, id: &SourceId) -> bool {
        self.policy.labels_of(id.source.kind).is_some() && !self.rows.contains_key(id)
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
        let is_past = match &content {
            None | Some(Content::Absent | Content::NotFollowed) => false,
            // Deleted since it was read.
            Some(Content::Present { .. }) => !self.rows.contains_key(&id),
            // Pods show something else since.
            Some(Content::Mounted(_) | Content::Unmounted) => true,
        };
        if has_changed && is_past {
            return false;
        }
        let read = Read {
            began,
            // Without its labels, it is about to leave the table.
            found: content.filter(|it| !matches!(it, Content::NotFollowed)),
        };
        let before = self.reads.get(&id);
        let same_content = before.is_some_and(|before| read.is_rewrite_of(before));
        self.reads.insert(id, read);
        same_content
    }

    /// Takes in an event of the watch of pod statuses, and says which classes provide something else now.
    pub fn apply_pod_status(&mut self, scope: Scope, event: Event<PodStatusRow>) -> Vec<SourceId> {
        let changed = self.mounts.entry(scope).or_default().apply(event);
        for id in &changed {
            self.note(id);
            self.reads.remove(id);
        }
        changed
    }

    /// The watch of pod statuses has ended with an error.
    pub fn pod_statuses_broke_off(&mut self, scope: Scope) {
        self.mounts.entry(scope).or_default().broke_off();
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
        read.is_some_and(|read| read.found.is_none())
    }

    /// Forgets everything that was read.
    pub fn forget_all(&mut self) {
        self.reads.clear();
        self.reading.clear();
    }

    /// What is live; nothing if that has to be read first.
    pub fn live(&self, id: &SourceId) -> Option<Live<'_>> {
        if self.is_unseen(id) {
            return Some(match self.policy.unseen_is_absent() {
                true => Live::Absent,
                false => Live::Unreadable,
            });
        }
        let read = self.reads.get(id)?;
        // Of a class, the row says nothing about its content: what was read is forgotten when pods show something else.
        let row = self.rows.get(id).filter(|_| id.source.kind.is_core());
        let trusted =
            row.is_none_or(|row| read.version() == Some(&row.version) || read.began > row.seen);
        let live = read.found.as_ref().map_or(Live::Unreadable, Content::live);
        trusted.then_some(live)
    }

    /// A watch has ended with an error. A kind that may not be there at all holds nothing up.
    pub fn broke_off(&mut self, part: Part) {
        self.broken.insert(part);
        if !part.0.is_core() {
            self.listed.insert(part);
        }
    }

    /// Whether changes of the source go unheard now.
    pub fn is_broken(&self, id: &SourceId) -> bool {
        let part = self.part_of(id);
        part.is_some_and(|part| {
            let mounts = self.mounts.get(&part.1).filter(|_| !part.0.is_core());
            self.broken.contains(&part) || mounts.is_some_and(Mounts::is_broken)
        })
    }

    /// When the last read of the source began.
    pub fn read_at(&self, id: &SourceId) -> Option<Seq> {
        Some(self.reads.get(id)?.began)
    }

    /// Whether the source was read after `seq`, or is none to be read.
    pub fn was_read_after(&self, id: &SourceId, seq: Seq) -> bool {
        let read = self.reads.get(id);
        self.is_unseen(id) || read.is_some_and(|read| read.began > seq)
    }

    /// The version that was read.
    pub fn read_version(&self, id: &SourceId) -> Option<&Version> {
        self.reads.get(id)?.version()
    }

    /// What became of a source that was recorded as absent on a workload when its template was written, at
    /// `version`; nothing if that cannot be said for sure. A deletion in the namespace after that, of whatever source,
    /// may have been of one that pods had started with.
    pub fn absence(&self, id: &SourceId, version: u64) -> Option<Absence<'_>> {
        let session = self.session(id)?;
        let deletions = self.deletions.get(&self.part_of(id)?)?;
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

    fn upsert(&mut self, part: Part, row: Row, now: Seq) -> Option<Change> {
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
        let is_new = before.is_none() && self.sessions.contains_key(&part);
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

    fn place_list_before(&mut self, part: Part, version: Option<u64>) {
        if let Some(deletions) = self.deletions.get_mut(&part) {
            deletions.place_list_before(version);
        }
    }

    fn remove(&mut self, id: &SourceId) {
        self.note(id);
        self.rows.remove(id);
        if self
            .reads
            .get(id)
            .is_some_and(|read| !matches!(read.found, Some(Content::Absent)))
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
    fn replace(&mut self, part: Part, now: Seq) -> Vec<Change> {
        let (kind, scope) = part;
        let listed = self.listing.remove(&part).unwrap_or_default();
        let newest = listed.values().filter_map(|row| number(&row.version)).max();
        let deletions = Deletions::until(match self.listed.insert(part) {
            true => newest.unwrap_or_default(),
            false => UNPLACED,
        });
        self.deletions.insert(part, deletions);
        let gone: Vec<_> = self
            .rows
            .keys()
            .filter(|id| id.source.kind == kind && scope.contains(&id.namespace))
            .filter(|id| !listed.contains_key(id))
            .cloned()
            .collect();
        gone.iter().for_each(|id| self.remove(id));
        let changed = listed
            .into_values()
            .filter_map(|row| self.upsert(part, row, now));
        let changed: Vec<_> = changed.collect();
        self.sessions.insert(part, now);
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

#[cfg(test)]
mod tests;
