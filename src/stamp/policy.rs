//! What a workload's annotations opt it in to.
//!
//! Meaning and precedence are those of stakater/Reloader (`internal/pkg/handler` and
//! `pkg/common`); `select` is its decision procedure.

mod parse;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

pub use parse::parse_bool;

use super::{
    annotations::PolicyKeys,
    pattern::Pattern,
    settings::PolicySettings,
    source::{SourceKind, SourceName},
    warning::Warning,
};

/// The flag that opts in what does not opt out.
pub const AUTO_RELOAD_ALL: &str = "--auto-reload-all";

type Annotations = BTreeMap<String, String>;

/// What the annotations of a workload and of its pod template ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    config_maps: KindPolicy,
    secrets: KindPolicy,
    secret_provider_classes: KindPolicy,
    settle: Option<Duration>,
    pause_period: Option<Duration>,
    restart: bool,
}

/// The part of a policy that is about one kind of source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct KindPolicy {
    patterns: Box<[Pattern]>,
    /// Sorted.
    excluded: Box<[Box<str>]>,
    search: bool,
    auto: bool,
    typed_auto: bool,
    /// The workload leaves it to the installation, which follows all.
    auto_by_default: bool,
}

/// What a source's own annotations say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Marks {
    /// No workload is restarted for it.
    pub ignored: bool,
    /// Workloads that search find it.
    pub matched: bool,
}

impl Marks {
    /// Reads those annotations of a source whose value is exactly `true`; no other counts.
    pub fn of(true_annotations: &[String], keys: &PolicyKeys) -> Self {
        let has = |key: &str| true_annotations.iter().any(|it| it == key);
        Self {
            ignored: has(keys.ignore),
            matched: has(keys.matches),
        }
    }
}

/// Why a workload is restarted for a source, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selection {
    /// A named list has it: the index in [`Policy::patterns`]. The pod spec need not use it.
    Named(usize),
    /// The workload searches, and the source is marked for it.
    Search,
    /// Every source that the pod spec uses.
    Auto,
    /// It is not.
    NotSelected(NotSelected),
}

impl Selection {
    /// Whether the workload is restarted for the source.
    pub fn is_selected(self) -> bool {
        !matches!(self, Selection::NotSelected(_))
    }
}

/// Why a workload is not restarted for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotSelected {
    /// The source says so itself.
    Ignored,
    /// The workload excludes it by name.
    Excluded,
    /// Auto or search would select it if the pod spec used it.
    NotReferenced,
    /// No annotation of the workload asks for it. A search that the source is not marked for is no
    /// asking.
    NotOptedIn,
}

impl Policy {
    /// Reads the annotations of a workload and of its pod template, and says what is wrong with them.
    ///
    /// For each kind of source, the template counts only if the workload has none of the keys for it.
    pub fn parse(
        metadata: &Annotations,
        template: &Annotations,
        settings: &PolicySettings,
    ) -> (Policy, Vec<Warning>) {
        parse::parse(metadata, template, settings)
    }

    /// Whether any annotation asks for restarts.
    pub fn opted_in(&self) -> bool {
        SourceKind::ALL
            .into_iter()
            .any(|kind| self.kind(kind).opted_in())
    }

    /// Decides about a source in the workload's namespace; `referenced` says whether the pod spec uses it.
    pub fn select(&self, source: &SourceName, marks: Marks, referenced: bool) -> Selection {
        let kind = self.kind(source.kind);
        if marks.ignored {
            return Selection::NotSelected(NotSelected::Ignored);
        }
        if kind.excludes(&source.name) {
            return Selection::NotSelected(NotSelected::Excluded);
        }
        if let Some(index) = kind.patterns.iter().position(|p| p.matches(&source.name)) {
            return Selection::Named(index);
        }
        let searched = kind.search && marks.matched;
        match (searched || kind.autos(), referenced) {
            (false, _) => Selection::NotSelected(NotSelected::NotOptedIn),
            (true, false) => Selection::NotSelected(NotSelected::NotReferenced),
            (true, true) if searched => Selection::Search,
            (true, true) => Selection::Auto,
        }
    }

    /// The valid elements of the named list for a kind.
    pub fn patterns(&self, kind: SourceKind) -> &[Pattern] {
        &self.kind(kind).patterns
    }

    /// Whether sources of a kind that are marked for it are found.
    pub fn searches(&self, kind: SourceKind) -> bool {
        self.kind(kind).search
    }

    /// Whether every source of a kind that the pod spec uses is followed.
    pub fn autos(&self, kind: SourceKind) -> bool {
        self.kind(kind).autos()
    }

    /// The quiet period that the workload asks for.
    pub fn settle(&self) -> Option<Duration> {
        self.settle
    }

    /// How long further restarts are to be held back after one.
    pub fn pause_period(&self) -> Option<Duration> {
        self.pause_period
    }

    /// The annotations that opted in, or the flag that did, each once.
    pub fn opted_in_by(&self, names: &PolicyKeys) -> Vec<&'static str> {
        let mut keys = Vec::new();
        for kind in SourceKind::ALL {
            let policy = self.kind(kind);
            let given = [
                (names.auto, policy.auto),
                (names.search, policy.search),
                (names.of(kind).auto, policy.typed_auto),
                (names.of(kind).reload, !policy.patterns.is_empty()),
                (AUTO_RELOAD_ALL, policy.auto_by_default),
            ];
            for (key, _) in given.into_iter().filter(|(_, given)| *given) {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        keys
    }

    /// Whether pods are to be restarted as they are, where the kind of workload can do that, rather than
    /// rolled out with another template.
    pub fn restarts(&self) -> bool {
        self.restart
    }

    fn kind(&self, kind: SourceKind) -> &KindPolicy {
        match kind {
            SourceKind::ConfigMap => &self.config_maps,
            SourceKind::Secret => &self.secrets,
            SourceKind::SecretProviderClass => &self.secret_provider_classes,
        }
    }
}

impl KindPolicy {
    fn opted_in(&self) -> bool {
        !self.patterns.is_empty() || self.search || self.autos()
    }

    fn autos(&self) -> bool {
        self.auto || self.typed_auto || self.auto_by_default
    }

    fn excludes(&self, name: &str) -> bool {
        self.excluded
            .binary_search_by(|excluded| (**excluded).cmp(name))
            .is_ok()
    }
}
