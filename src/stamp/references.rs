//! Which sources a workload uses: its policy applied to its pod spec and to the sources that exist.

use std::collections::BTreeMap;

use super::{
    observed::Entries,
    policy::{Marks, Policy, Selection},
    source::{Keys, SourceKind, SourceName, Usage},
};

/// The sources of one namespace, as far as they are known.
pub trait Catalog {
    /// What the source's own annotations say; nothing if there is no such source.
    fn marks(&self, source: &SourceName) -> Option<Marks>;
    /// The names of the sources of a kind.
    fn names(&self, kind: SourceKind) -> Box<dyn Iterator<Item = &str> + '_>;
}

/// A source that a workload is restarted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// What the workload uses of it.
    pub usage: Usage,
    /// What in the policy selected it.
    pub by: Selection,
    /// Whether it is wanted by its very name, so that its absence is worth recording.
    pub literal: bool,
}

/// Every reference of a workload.
pub type References = BTreeMap<SourceName, Reference>;

/// Finds the references of a workload: what its pod spec uses (`usages`), and what its annotations name.
///
/// `recorded` keeps a source that only a regex names while it is deleted, so that its return is noticed.
pub fn resolve(
    policy: &Policy,
    usages: &BTreeMap<SourceName, Usage>,
    catalog: &dyn Catalog,
    recorded: Option<&Entries>,
) -> References {
    let mut found = References::new();
    for (source, usage) in usages {
        let marks = catalog.marks(source).unwrap_or_default();
        let by = policy.select(source, marks, true);
        if by.is_selected() {
            found.insert(
                source.clone(),
                Reference {
                    usage: usage.clone(),
                    by,
                    literal: true,
                },
            );
        }
    }
    for kind in SourceKind::ALL {
        add_named(policy, kind, catalog, recorded, &mut found);
    }
    found
}

/// Adds the sources that a named list selects although the pod spec does not use them.
fn add_named(
    policy: &Policy,
    kind: SourceKind,
    catalog: &dyn Catalog,
    recorded: Option<&Entries>,
    found: &mut References,
) {
    let mut add = |name: &str, literal: bool| {
        let source = SourceName::new(kind, name);
        if found.contains_key(&source) {
            return;
        }
        let marks = catalog.marks(&source).unwrap_or_default();
        let by = policy.select(&source, marks, false);
        if by.is_selected() {
            let usage = Usage {
                keys: Keys::All,
                optional: true,
            };
            found.insert(source, Reference { usage, by, literal });
        }
    };
    let patterns = policy.patterns(kind);
    for name in patterns.iter().filter_map(|pattern| pattern.literal()) {
        add(name, true);
    }
    if patterns.iter().all(|pattern| pattern.is_literal_only()) {
        return;
    }
    for name in catalog.names(kind) {
        add(name, false);
    }
    for source in recorded.into_iter().flat_map(|entries| entries.keys()) {
        if source.kind == kind {
            add(&source.name, false);
        }
    }
}
