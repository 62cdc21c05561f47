//! What pods show of the classes of the CSI driver, as it is watched: enough to tell when a class has to be read again.

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::watcher::Event;

use crate::{
    cluster::csi::PodStatusRow,
    stamp::{
        mounts::{Mount, Outline},
        source::SourceId,
    },
};

/// By namespace and name of the pod status.
type Rows = BTreeMap<(Box<str>, Box<str>), (SourceId, Mount<u64>)>;

/// The table of pod statuses.
#[derive(Default)]
pub struct Mounts {
    rows: Rows,
    listing: Rows,
    is_listed: bool,
    is_broken: bool,
}

impl Mounts {
    /// Takes in a watch event, and says of which classes pods show something else now. A pod that comes, goes or is
    /// updated to what others have already is no news.
    pub fn apply(&mut self, event: Event<PodStatusRow>) -> Vec<SourceId> {
        self.is_broken = false;
        match event {
            Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            Event::InitApply(row) => {
                set(&mut self.listing, row);
                Vec::new()
            }
            Event::InitDone => {
                self.is_listed = true;
                let listed = std::mem::take(&mut self.listing);
                let classes = self.rows.values().chain(listed.values());
                let classes = classes.map(|(class, _)| class.clone()).collect();
                self.change(classes, |rows| *rows = listed)
            }
            Event::Apply(row) => {
                let before = self.rows.get(&key(&row)).map(|(class, _)| class.clone());
                let now = row.mount.as_ref().map(|(class, _)| class.clone());
                let classes = before.into_iter().chain(now).collect();
                self.change(classes, |rows| set(rows, row))
            }
            Event::Delete(row) => {
                let known = self.rows.get(&key(&row)).map(|(class, _)| class.clone());
                self.change(known.into_iter().collect(), |rows| {
                    rows.remove(&key(&row));
                })
            }
        }
    }

    /// The watch has ended with an error. What may not be there, or may not be seen, holds nothing up.
    pub fn broke_off(&mut self) {
        (self.is_broken, self.is_listed) = (true, true);
    }

    /// Whether pod statuses have been listed once, or cannot be.
    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// Whether changes go unheard now.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    fn change(
        &mut self,
        classes: BTreeSet<SourceId>,
        make: impl FnOnce(&mut Rows),
    ) -> Vec<SourceId> {
        let before: Vec<_> = classes.iter().map(|class| self.outline(class)).collect();
        make(&mut self.rows);
        let pairs = classes.into_iter().zip(before);
        pairs
            .filter(|(class, before)| self.outline(class) != *before)
            .map(|(class, _)| class)
            .collect()
    }

    fn outline(&self, class: &SourceId) -> Outline<u64> {
        let first = (class.namespace.clone(), Box::default());
        let of_namespace = self.rows.range(first..);
        let of_namespace = of_namespace.take_while(|((it, _), _)| *it == class.namespace);
        let of_class = of_namespace.filter(|(_, (it, _))| it == class);
        Outline::of(of_class.map(|(_, (_, mount))| mount.clone()))
    }
}

fn key(row: &PodStatusRow) -> (Box<str>, Box<str>) {
    (row.namespace.clone(), row.name.clone())
}

fn set(rows: &mut Rows, row: PodStatusRow) {
    let key = key(&row);
    match row.mount {
        Some(mount) => drop(rows.insert(key, mount)),
        None => drop(rows.remove(&key)),
    }
}

#[cfg(test)]
mod tests;
