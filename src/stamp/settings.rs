//! What an installation's flags say about every workload: the same for the webhook, the watcher and `explain`.

use std::collections::BTreeSet;

use super::{
    annotations::PolicyKeys,
    scope::Namespaces,
    selector::LabelSelector,
    source::{SourceId, SourceKind},
};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySettings {
    /// What the annotations are called.
    pub keys: PolicyKeys,
    /// Workloads that say nothing of it are followed as if they had the auto annotation.
    pub auto_reload_all: bool,
    /// Kinds of sources that nothing is restarted for.
    pub ignored: BTreeSet<SourceKind>,
    /// Which namespaces are followed.
    pub namespaces: Namespaces,
    /// The labels that a ConfigMap or a Secret needs to be followed.
    pub source_labels: Option<LabelSelector>,
    /// A source that comes to be is a change, also where pods waited for it.
    pub reload_on_create: bool,
    /// A source that is deleted is a change.
    pub reload_on_delete: bool,
    /// How pod templates tell of a change.
    pub strategy: ReloadStrategy,
}

/// How a pod template tells of a change, so that Kubernetes rolls it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReloadStrategy {
    /// By the stamp.
    #[default]
    Stamp,
    /// By Reloader's variables, and by the stamp where these cannot tell it.
    Variables,
}

impl PolicySettings {
    /// The kinds of sources that are followed.
    pub fn followed(&self) -> impl Iterator<Item = SourceKind> {
        SourceKind::ALL
            .into_iter()
            .filter(|kind| !self.ignored.contains(kind))
    }

    /// The labels that a source of a kind needs to be followed.
    pub fn labels_of(&self, kind: SourceKind) -> Option<&LabelSelector> {
        match kind {
            SourceKind::ConfigMap | SourceKind::Secret => self.source_labels.as_ref(),
            SourceKind::SecretProviderClass => None,
        }
    }

    /// Whether every change of a source is seen, whatever its labels.
    pub fn watches(&self, id: &SourceId) -> bool {
        let kind = id.source.kind;
        let is_in_scope = self.namespaces.scope_of(&id.namespace).is_some();
        is_in_scope && !self.ignored.contains(&kind) && self.labels_of(kind).is_none()
    }

    /// Whether a source of a kind that is neither seen nor recorded is none at all, since it may only lack the labels.
    pub fn sees_part_of(&self, kind: SourceKind) -> bool {
        self.labels_of(kind).is_some() && !self.reload_on_create
    }

    /// Whether a source that is not seen is taken for one that does not exist, and not for one without the labels.
    pub fn unseen_is_absent(&self) -> bool {
        self.reload_on_create || self.reload_on_delete
    }
}
