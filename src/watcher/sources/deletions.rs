//! When sources were deleted last, as far as that can be told.

use std::collections::BTreeMap;

/// For the last deletion after a gap in a watch: the list that ended it does not tell at which version it was
/// made, so that a deletion before it may have been at any, until something shows what the list is older than.
pub const UNPLACED: u64 = u64::MAX;
/// Namespaces come and go: with more of them, the last deletion anywhere stands for all.
const MAX_NAMESPACES: usize = 1000;

/// When sources of a kind were deleted last.
#[derive(Default)]
pub struct Deletions {
    /// The last resource version at which one was, or may have been, deleted anywhere.
    anywhere: u64,
    /// As `anywhere`, of one namespace.
    in_namespace: BTreeMap<Box<str>, u64>,
}

impl Deletions {
    /// The last one was made at this version, or before, anywhere.
    pub fn until(version: u64) -> Self {
        Self {
            anywhere: version,
            in_namespace: BTreeMap::new(),
        }
    }

    /// The last resource version at which one was, or may have been, deleted from the namespace.
    pub fn last(&self, namespace: &str) -> u64 {
        let here = self.in_namespace.get(namespace).copied();
        self.anywhere.max(here.unwrap_or_default())
    }

    /// One more, at `version`.
    pub fn add(&mut self, namespace: &str, version: u64) {
        self.in_namespace.insert(namespace.into(), version);
        if self.in_namespace.len() > MAX_NAMESPACES {
            let newest = self.in_namespace.values().copied().max();
            self.anywhere = self.anywhere.max(newest.unwrap_or_default());
            self.in_namespace.clear();
        }
    }

    /// A list that is complete by now was made before `version`.
    pub fn place_list_before(&mut self, version: Option<u64>) {
        if let (UNPLACED, Some(version)) = (self.anywhere, version) {
            self.anywhere = version;
        }
    }
}
