//! Who is to be looked at, and when: due times, and fairness between namespaces.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::time::Instant;

use crate::cluster::workload::WorkloadId;

/// Each workload stands in it at most once, at the earliest time that it was scheduled for.
#[derive(Default)]
pub struct Queue {
    due: BTreeSet<(Instant, WorkloadId)>,
    at: BTreeMap<WorkloadId, Instant>,
    ready: BTreeMap<Box<str>, VecDeque<(Instant, WorkloadId)>>,
    turn: VecDeque<Box<str>>,
    waiting: BTreeSet<WorkloadId>,
}

impl Queue {
    /// Has the workload looked at `at`, or earlier if it was scheduled earlier. False if it stood in the queue.
    pub fn schedule(&mut self, id: &WorkloadId, at: Instant) -> bool {
        if self.waiting.contains(id) {
            return false;
        }
        let before = self.at.get(id).copied();
        if before.is_some_and(|before| before <= at) {
            return false;
        }
        if let Some(later) = before {
            self.due.remove(&(later, id.clone()));
        }
        self.due.insert((at, id.clone()));
        self.at.insert(id.clone(), at);
        before.is_none()
    }

    /// Takes a workload whose time has come, from the namespace whose turn it is, and says when it had come.
    pub fn pop(&mut self, now: Instant) -> Option<(Instant, WorkloadId)> {
        self.collect_due(now);
        let namespace = self.turn.pop_front()?;
        let line = self.ready.get_mut(&namespace)?;
        let taken = line.pop_front();
        if line.is_empty() {
            self.ready.remove(&namespace);
        } else {
            self.turn.push_back(namespace);
        }
        if let Some((_, id)) = &taken {
            self.waiting.remove(id);
        }
        taken
    }

    /// When the next workload is due; nothing if none waits for its time.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// How many workloads stand in it.
    pub fn len(&self) -> usize {
        self.due.len() + self.waiting.len()
    }

    /// How many workloads there are whose time has come, and when the first one's had.
    pub fn overdue(&mut self, now: Instant) -> (usize, Option<Instant>) {
        self.collect_due(now);
        let fronts = self.ready.values().filter_map(VecDeque::front);
        (self.waiting.len(), fronts.map(|(at, _)| *at).min())
    }

    /// Sends everybody away.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn collect_due(&mut self, now: Instant) {
        while let Some((at, _)) = self.due.first()
            && *at <= now
            && let Some((due, id)) = self.due.pop_first()
        {
            self.at.remove(&id);
            self.waiting.insert(id.clone());
            let line = self.ready.entry(id.namespace.clone()).or_default();
            if line.is_empty() {
                self.turn.push_back(id.namespace.clone());
            }
            line.push_back((due, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::kind::KINDS;

    fn id(namespace: &str, name: &str) -> WorkloadId {
        WorkloadId {
            kind: &KINDS[0],
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    fn drain(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.pop(now))
            .map(|(_, id)| id.to_string())
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_time_counts_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.schedule(&id("a", "x"), now + Duration::from_secs(5));
        queue.schedule(&id("a", "x"), now + Duration::from_secs(1));
        queue.schedule(&id("a", "x"), now + Duration::from_secs(9));
        assert_eq!(queue.next_due(), Some(now + Duration::from_secs(1)));
        assert!(drain(&mut queue, now).is_empty());
        assert_eq!(
            drain(&mut queue, now + Duration::from_secs(9)),
            ["Deployment a/x"]
        );
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_in_it_is_not_added_again_and_is_overdue_once_its_time_has_come() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert!(queue.schedule(&id("a", "x"), now + second));
        assert!(!queue.schedule(&id("a", "x"), now));
        assert!(queue.schedule(&id("b", "y"), now + second));
        assert!(queue.schedule(&id("a", "z"), now + 3 * second));
        assert_eq!(queue.overdue(now + second), (2, Some(now)));
        assert!(!queue.schedule(&id("a", "x"), now));
        assert_eq!(
            queue.pop(now + 2 * second),
            Some((now, id("a", "x"))),
            "with when its time had come"
        );
        assert_eq!(queue.overdue(now + second), (1, Some(now + second)));
        assert_eq!(queue.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_namespace_does_not_starve_another() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for name in ["1", "2", "3"] {
            queue.schedule(&id("big", name), now);
        }
        queue.schedule(&id("small", "1"), now);
        let order = drain(&mut queue, now);
        assert_eq!(
            order.iter().position(|id| id == "Deployment small/1"),
            Some(1),
            "{order:?}"
        );
        assert_eq!(order.len(), 4);
    }
}
