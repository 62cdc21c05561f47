//! The sources of one namespace, as a catalog for the core.

use super::Sources;
use crate::stamp::{
    policy::Marks,
    references::Catalog,
    source::{SourceKind, SourceName},
};

/// See the module.
pub struct NamespaceSources<'a> {
    pub(super) sources: &'a Sources,
    pub(super) namespace: &'a str,
}

impl Catalog for NamespaceSources<'_> {
    fn marks(&self, source: &SourceName) -> Option<Marks> {
        let row = self.sources.rows.get(&source.within(self.namespace))?;
        Some(row.marks)
    }

    fn is_partial(&self, kind: SourceKind) -> bool {
        self.sources.policy.sees_part_of(kind)
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
