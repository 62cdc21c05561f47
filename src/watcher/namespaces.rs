//! Which namespaces are followed, where their labels decide.

use std::collections::BTreeSet;

use kube::runtime::watcher::Event;
use tokio::time::Instant;

use super::engine::Engine;
use crate::{
    cluster::workload::WorkloadId,
    stamp::{scope::Scope, settings::PolicySettings},
};

/// The namespaces with the labels that are asked for.
#[derive(Default)]
pub struct Selected {
    names: BTreeSet<Box<str>>,
    listing: BTreeSet<Box<str>>,
    is_listed: bool,
}

impl Selected {
    /// Nothing is known yet; if no labels are asked for, nothing has to be.
    pub fn new(policy: &PolicySettings) -> Option<Self> {
        policy.namespaces.selector().map(|_| Self::default())
    }

    /// Whether the namespace is one of them.
    pub(super) fn contains(&self, namespace: &str) -> bool {
        self.names.contains(namespace)
    }

    /// Takes in a watch event, and says which namespaces came or went.
    pub(super) fn apply(&mut self, event: Event<Box<str>>) -> Vec<Box<str>> {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(name) => drop(self.listing.insert(name)),
            Event::InitDone => {
                self.is_listed = true;
                let listed = std::mem::take(&mut self.listing);
                let before = std::mem::replace(&mut self.names, listed);
                return before.symmetric_difference(&self.names).cloned().collect();
            }
            Event::Apply(name) => {
                if self.names.insert(name.clone()) {
                    return vec![name];
                }
            }
            Event::Delete(name) => {
                if self.names.remove(&name) {
                    return vec![name];
                }
            }
        }
        Vec::new()
    }
}

impl Engine {
    /// Whether workloads of the namespace are to be looked after.
    pub(super) fn is_selected(&self, namespace: &str) -> bool {
        let selected = self.selected.as_ref();
        selected.is_none_or(|selected| selected.contains(namespace))
    }

    /// Whether it is known which namespaces these are.
    pub(super) fn knows_namespaces(&self) -> bool {
        self.selected.as_ref().is_none_or(|it| it.is_listed)
    }

    /// Takes in what the watch of namespaces tells: whatever is in one that came or went is looked at.
    pub(super) fn namespace_event(&mut self, event: Event<Box<str>>) {
        let Some(selected) = &mut self.selected else {
            return;
        };
        let now = Instant::now();
        for namespace in selected.apply(event) {
            for id in self.within(|it| *it == *namespace) {
                if let Some(record) = self.records.get_mut(&id) {
                    record.touch(now);
                }
                self.wake(&id, now);
            }
        }
    }

    /// The sources of a scope are known now: whatever waited for that is looked at.
    pub(super) fn scope_listed(&mut self, scope: Scope) {
        let now = Instant::now();
        for id in self.within(|namespace| scope.contains(namespace)) {
            self.wake(&id, now);
        }
    }

    fn within(&self, is_meant: impl Fn(&str) -> bool) -> Vec<WorkloadId> {
        let ids = self.records.keys();
        ids.filter(|id| is_meant(&id.namespace)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_takes_the_place_of_what_was_known_and_says_what_came_and_went() {
        let mut selected = Selected::default();
        let apply = |selected: &mut Selected, event: Event<&str>| {
            let event = match event {
                Event::Init => Event::Init,
                Event::InitApply(name) => Event::InitApply(name.into()),
                Event::InitDone => Event::InitDone,
                Event::Apply(name) => Event::Apply(name.into()),
                Event::Delete(name) => Event::Delete(name.into()),
            };
            selected.apply(event).join(" ")
        };
        for (event, changed) in [
            (Event::Init, ""),
            (Event::InitApply("a"), ""),
            (Event::InitApply("b"), ""),
            (Event::InitDone, "a b"),
            (Event::Apply("c"), "c"),
            (Event::Apply("c"), ""),
            (Event::Delete("b"), "b"),
            (Event::Delete("b"), ""),
            (Event::Init, ""),
            (Event::InitApply("d"), ""),
            (Event::InitApply("a"), ""),
            (Event::InitDone, "c d"),
        ] {
            assert_eq!(apply(&mut selected, event.clone()), changed, "{event:?}");
        }
        assert_eq!(selected.names, ["a".into(), "d".into()].into());
    }
}
