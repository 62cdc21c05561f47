//! Who is affected when a source changes, found in time proportional to the answer.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{SourceId, SourceName};

/// Source to workloads. `W` names a workload.
#[derive(Debug)]
pub struct Index<W> {
    by_source: BTreeMap<SourceId, BTreeSet<W>>,
    by_pattern: BTreeMap<Box<str>, BTreeSet<W>>,
    of: BTreeMap<W, Interests>,
}

/// What a workload wants to hear of, in its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interests {
    /// These sources, whether they exist or not.
    pub sources: BTreeSet<SourceName>,
    /// Any source that a pattern of the workload may match; the caller asks the pattern.
    pub patterns: bool,
    /// The namespace of the workload and so of its sources.
    pub namespace: Box<str>,
}

impl<W> Default for Index<W> {
    fn default() -> Self {
        Self {
            by_source: BTreeMap::new(),
            by_pattern: BTreeMap::new(),
            of: BTreeMap::new(),
        }
    }
}

impl<W: Clone + Ord> Index<W> {
    /// Sets what `workload` wants to hear of, in the place of what it wanted before.
    pub fn set(&mut self, workload: W, interests: Interests) {
        if self.of.get(&workload) == Some(&interests) {
            return;
        }
        self.remove(&workload);
        for source in &interests.sources {
            let id = source.within(&interests.namespace);
            self.by_source
                .entry(id)
                .or_default()
                .insert(workload.clone());
        }
        if interests.patterns {
            self.by_pattern
                .entry(interests.namespace.clone())
                .or_default()
                .insert(workload.clone());
        }
        self.of.insert(workload, interests);
    }

    /// Forgets a workload.
    pub fn remove(&mut self, workload: &W) {
        let Some(interests) = self.of.remove(workload) else {
            return;
        };
        for source in &interests.sources {
            drop_from(
                &mut self.by_source,
                &source.within(&interests.namespace),
                workload,
            );
        }
        drop_from(&mut self.by_pattern, &interests.namespace, workload);
    }

    /// The workloads that name the source.
    pub fn users(&self, source: &SourceId) -> impl Iterator<Item = &W> {
        self.by_source.get(source).into_iter().flatten()
    }

    /// The workloads of the namespace that have a pattern.
    pub fn with_patterns(&self, namespace: &str) -> impl Iterator<Item = &W> {
        self.by_pattern.get(namespace).into_iter().flatten()
    }
}

fn drop_from<K: Ord + Clone, W: Ord>(map: &mut BTreeMap<K, BTreeSet<W>>, key: &K, workload: &W) {
    if let Some(workloads) = map.get_mut(key) {
        workloads.remove(workload);
        if workloads.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stamp::source::SourceKind;

    fn interests(namespace: u8, sources: &BTreeSet<u8>, patterns: bool) -> Interests {
        Interests {
            namespace: format!("ns{namespace}").into(),
            sources: sources
                .iter()
                .map(|n| SourceName::new(SourceKind::Secret, format!("s{n}")))
                .collect(),
            patterns,
        }
    }

    proptest! {
        #[test]
        fn any_history_ends_like_a_fresh_build(
            history in prop::collection::vec(
                (0..5u8, prop::option::of((0..3u8, prop::collection::btree_set(0..4u8, 0..3), any::<bool>()))),
                0..40,
            )
        ) {
            let mut index = Index::default();
            let mut last = BTreeMap::new();
            for (workload, state) in history {
                match state {
                    Some((namespace, sources, patterns)) => {
                        let state = interests(namespace, &sources, patterns);
                        index.set(workload, state.clone());
                        last.insert(workload, state);
                    }
                    None => {
                        index.remove(&workload);
                        last.remove(&workload);
                    }
                }
            }
            let mut fresh = Index::default();
            for (workload, state) in last {
                fresh.set(workload, state);
            }
            prop_assert_eq!(&index.by_source, &fresh.by_source);
            prop_assert_eq!(&index.by_pattern, &fresh.by_pattern);
            prop_assert_eq!(&index.of, &fresh.of);
        }
    }
}
