//! Which sources a workload uses: its policy applied to its pod spec and to the sources that exist.

use std::collections::BTreeMap;

use super::{
    observed::Entries,
    policy::{Marks, Policy, Selection},
    settings::PolicySettings,
    source::{Keys, SourceKind, SourceName, Usage},
};

/// The sources of one namespace, as far as they are known.
pub trait Catalog {
    /// What the source's own annotations say; nothing if there is no such source.
    fn marks(&self, source: &SourceName) -> Option<Marks>;
    /// The names of the sources of a kind.
    fn names(&self, kind: SourceKind) -> Box<dyn Iterator<Item = &str> + '_>;
    /// Whether there may be sources of a kind that are not followed and so not known: then what is neither known nor
    /// recorded is no reference.
    fn is_partial(&self, _kind: SourceKind) -> bool {
        false
    }
}

/// What a list of those that are followed shows.
pub struct Listed<'a> {
    /// The sources of one namespace.
    pub rows: &'a BTreeMap<SourceName, Marks>,
    /// What they were listed by.
    pub settings: &'a PolicySettings,
}

impl Catalog for Listed<'_> {
    fn marks(&self, source: &SourceName) -> Option<Marks> {
        self.rows.get(source).copied()
    }

    fn is_partial(&self, kind: SourceKind) -> bool {
        self.settings.sees_part_of(kind)
    }

    fn names(&self, kind: SourceKind) -> Box<dyn Iterator<Item = &str> + '_> {
        let of_kind = move |source: &&SourceName| source.kind == kind;
        Box::new(self.rows.keys().filter(of_kind).map(|source| &*source.name))
    }
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
/// `recorded` keeps a source while it is deleted that only a regex names, or that only its own mark
/// selected, so that its return is noticed.
pub fn resolve(
    policy: &Policy,
    usages: &BTreeMap<SourceName, Usage>,
    catalog: &dyn Catalog,
    recorded: Option<&Entries>,
) -> References {
    let mut found = References::new();
    for (source, usage) in usages {
        let is_recorded = recorded.is_some_and(|entries| entries.contains_key(source));
        // The marks of a deleted source are gone with it; that it was recorded says that it was selected.
        let gone = Marks {
            ignored: false,
            matched: is_recorded,
        };
        let marks = match catalog.marks(source) {
            None if catalog.is_partial(source.kind) && !is_recorded => continue,
            marks => marks.unwrap_or(gone),
        };
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
        let is_recorded = recorded.is_some_and(|entries| entries.contains_key(&source));
        let marks = match catalog.marks(&source) {
            None if catalog.is_partial(kind) && !is_recorded => return,
            marks => marks.unwrap_or_default(),
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::{
        annotations::{AUTO, SEARCH, SECRET_RELOAD},
        observed::Entry,
        settings::PolicySettings,
    };

    type Known = BTreeMap<SourceName, Marks>;

    fn secret(name: &str) -> SourceName {
        SourceName::new(SourceKind::Secret, name)
    }

    fn known(sources: &[(&str, Marks)]) -> Known {
        sources
            .iter()
            .map(|(name, marks)| (secret(name), *marks))
            .collect()
    }

    fn recorded(names: &[&str]) -> Entries {
        let entry = Entry {
            keys: Keys::All,
            digest: None,
            since: None,
        };
        names
            .iter()
            .map(|name| (secret(name), entry.clone()))
            .collect()
    }

    /// The references of a workload whose pods use Secret `db`.
    fn found(key: &str, value: &str, rows: &Known, recorded: Option<&Entries>) -> Vec<String> {
        let settings = &PolicySettings::default();
        found_in(&Listed { rows, settings }, key, value, recorded)
    }

    fn found_in(
        catalog: &Listed<'_>,
        key: &str,
        value: &str,
        recorded: Option<&Entries>,
    ) -> Vec<String> {
        let annotations = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let (policy, _) = Policy::parse(&annotations, &BTreeMap::new(), &PolicySettings::default());
        let usage = Usage {
            keys: Keys::one("password"),
            optional: false,
        };
        let usages = BTreeMap::from([(secret("db"), usage)]);
        let references = resolve(&policy, &usages, catalog, recorded);
        references
            .iter()
            .map(|(source, reference)| {
                let literal = if reference.literal { "" } else { "~" };
                let keys = if reference.usage.keys == Keys::All {
                    "*"
                } else {
                    ""
                };
                format!("{literal}{}{keys}", source.name)
            })
            .collect()
    }

    const PLAIN: Marks = Marks {
        ignored: false,
        matched: false,
    };
    const MATCHED: Marks = Marks {
        ignored: false,
        matched: true,
    };
    const IGNORED: Marks = Marks {
        ignored: true,
        matched: true,
    };

    #[test]
    fn auto_follows_what_the_pods_use_whether_it_exists_or_not() {
        assert_eq!(found(AUTO, "true", &known(&[]), None), ["db"]);
        assert_eq!(
            found(AUTO, "true", &known(&[("other", PLAIN)]), None),
            ["db"]
        );
        assert!(found(AUTO, "true", &known(&[("db", IGNORED)]), None).is_empty());
    }

    #[test]
    fn names_and_patterns_add_what_the_pods_do_not_use() {
        let key = SECRET_RELOAD;
        let all = known(&[("db", PLAIN), ("web-a", PLAIN), ("web-b", IGNORED)]);
        assert_eq!(found(key, "db,token", &all, None), ["db", "token*"]);
        assert_eq!(found(key, "web-.*", &all, None), ["~web-a*"]);
        let gone = recorded(&["web-z", "mail"]);
        assert_eq!(
            found(key, "web-.*", &all, Some(&gone)),
            ["~web-a*", "~web-z*"]
        );
    }

    #[test]
    fn a_searched_source_that_was_recorded_is_still_followed_while_it_is_deleted() {
        let marked = known(&[("db", MATCHED)]);
        assert_eq!(found(SEARCH, "true", &marked, None), ["db"]);
        assert!(
            found(
                SEARCH,
                "true",
                &known(&[("db", PLAIN)]),
                Some(&recorded(&["db"]))
            )
            .is_empty()
        );
        assert!(found(SEARCH, "true", &known(&[]), None).is_empty());
        assert_eq!(
            found(SEARCH, "true", &known(&[]), Some(&recorded(&["db"]))),
            ["db"]
        );
    }

    #[test]
    fn what_may_only_lack_a_label_is_followed_if_it_is_known_or_recorded() {
        let settings = &PolicySettings {
            source_labels: Some("team".parse().unwrap()),
            ..PolicySettings::default()
        };
        let found = |key, value, rows: &[(&str, Marks)], recorded: Option<&Entries>| {
            let rows = &known(rows);
            found_in(&Listed { rows, settings }, key, value, recorded).join(" ")
        };
        for (key, value) in [(AUTO, "true"), (SECRET_RELOAD, "db"), (SECRET_RELOAD, "d.")] {
            assert_eq!(found(key, value, &[], None), "", "{value}");
            assert_ne!(found(key, value, &[("db", PLAIN)], None), "", "{value}");
            let recorded = recorded(&["db"]);
            assert_ne!(found(key, value, &[], Some(&recorded)), "", "{value}");
        }
        assert_eq!(found(SECRET_RELOAD, "token", &[], None), "");
        let recorded = recorded(&["token"]);
        let kept = found(SECRET_RELOAD, "token", &[], Some(&recorded));
        assert_eq!(kept, "token*");
    }
}
