//! What an installation's flags say about every workload: the same for the webhook, the watcher and `explain`.

use std::collections::BTreeSet;

use super::{annotations::PolicyKeys, source::SourceKind};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySettings {
    /// What the annotations are called.
    pub keys: PolicyKeys,
    /// Workloads that say nothing of it are followed as if they had the auto annotation.
    pub auto_reload_all: bool,
    /// Kinds of sources that nothing is restarted for.
    pub ignored: BTreeSet<SourceKind>,
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
}
