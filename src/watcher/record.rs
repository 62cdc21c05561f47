//! What the watcher remembers of a workload between two looks. Losing it costs time, never a change.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::sources::Seq;
use crate::{
    cluster::{source::Version, workload::Workload},
    runtime::metrics::Begun,
    stamp::{
        digest::Keyring,
        observed::{Entries, Observed},
        reason::Reason,
        source::SourceName,
        stamp::number_of,
        warning::Warning,
    },
};

/// A settle window is never stretched beyond this many times its length.
const MAX_SETTLES: u32 = 10;
/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The first pause between two repairs of the same workload.
const FIRST_TRUCE: Duration = Duration::from_secs(2);
/// After this time without a repair, the next one is the first again. Longer than any tool takes to put its
/// own state back once more: Argo CD and Flux do so every few minutes.
const CALM: Duration = Duration::from_secs(30 * 60);
/// From this many repairs in a row on, it is a fight.
const FIGHT: u32 = 3;

/// One workload.
pub struct Record {
    /// As it was received.
    pub workload: Workload,
    /// When its facts were received.
    pub received: Seq,
    /// When a write failed last.
    pub tried: Seq,
    /// Since when something may have made it stale.
    pub unsettled: Option<Unsettled>,
    /// Since when the look at it goes on that waits for requests.
    pub looked_at: Option<Instant>,
    /// Counts it as stale: it has to be restarted, and has not been.
    pub stale: Option<Begun>,
    /// No look before this time.
    pub not_before: Option<Instant>,
    /// What was already said about it.
    pub said: Vec<Warning>,
    /// What its folded `observed` was made from.
    pub unfolded: Option<Entries>,
    failures: u32,
    refusals: u32,
    retry_refused: Option<Instant>,
    repairs: Repairs,
    /// The highest number of a stamp that we wrote.
    last_stamp: Option<u64>,
    /// At which version the pod template was written, if that was watched.
    pub template_version: Option<u64>,
    absences: BTreeMap<SourceName, Seq>,
    arrivals: BTreeMap<SourceName, Version>,
}

/// When something happened to a workload or its sources.
#[derive(Clone, Copy, Debug)]
pub struct Unsettled {
    /// The first event.
    pub first: Instant,
    /// The last event.
    pub last: Instant,
}

#[derive(Default)]
struct Repairs {
    count: u32,
    reported: u32,
    last: Option<Instant>,
}

impl Record {
    /// A workload that was just received.
    pub fn new(workload: Workload, received: Seq) -> Self {
        Self {
            workload,
            received,
            tried: 0,
            unsettled: None,
            looked_at: None,
            stale: None,
            not_before: None,
            said: Vec::new(),
            unfolded: None,
            failures: 0,
            refusals: 0,
            retry_refused: None,
            repairs: Repairs::default(),
            last_stamp: None,
            template_version: None,
            absences: BTreeMap::new(),
            arrivals: BTreeMap::new(),
        }
    }

    /// Its memory, unfolded if what was folded is known.
    pub fn observed(&self, keyring: &Keyring) -> Option<Observed> {
        let mut observed = self.workload.facts.observed.clone()?;
        if let (Some(entries), Some(key)) = (&self.unfolded, keyring.find(&observed.key)) {
            observed.unfold(key, entries);
        }
        Some(observed)
    }

    /// Something happened to the workload or one of its sources.
    pub fn touch(&mut self, now: Instant) {
        let first = self.unsettled.map_or(now, |unsettled| unsettled.first);
        self.unsettled = Some(Unsettled { first, last: now });
    }

    /// When a restamp may be written: after a quiet time of `settle`, and not for ever later.
    pub fn settled_at(&self, settle: Duration) -> Option<Instant> {
        let unsettled = self.unsettled?;
        Some((unsettled.last + settle).min(unsettled.first + settle * MAX_SETTLES))
    }

    /// Something failed: how long to wait before the next try.
    pub fn failed(&mut self, now: Instant) -> Duration {
        self.failures += 1;
        let pause = doubled(FIRST_PAUSE, self.failures - 1);
        self.not_before = Some(now + pause);
        pause
    }

    /// Whether the sources that could not be read are to be tried again: less
    /// and less often. A right may be granted at any time, and an API server that has just started
    /// refuses what it will allow a second later.
    pub fn retries_refused(&mut self, now: Instant) -> bool {
        self.retry_refused.take_if(|at| *at <= now).is_some()
    }

    /// Some sources could not be read: when to try again. With none, the next time starts over.
    pub fn refused(&mut self, any: bool, now: Instant) -> Option<Instant> {
        if !any {
            self.refusals = 0;
            self.retry_refused = None;
        } else if self.retry_refused.is_none() {
            self.retry_refused = Some(now + doubled(FIRST_PAUSE, self.refusals));
            self.refusals += 1;
        }
        self.retry_refused
    }

    /// Nothing is left to do.
    pub fn at_rest(&mut self) {
        self.unsettled = None;
        self.stale = None;
        self.failures = 0;
    }

    /// A write succeeded; `stamp` is what the template carries now.
    pub fn written(&mut self, is_repair: bool, stamp: Option<&str>, now: Instant) {
        self.failures = 0;
        self.stale = None;
        if is_repair {
            self.repairs.count += 1;
            self.repairs.last = Some(now);
        }
        self.last_stamp = stamp.and_then(number_of).max(self.last_stamp);
    }

    /// When the next repair may be made: later and later while somebody keeps undoing them.
    pub fn truce_until(&mut self, now: Instant) -> Option<Instant> {
        let last = self.repairs.last?;
        let truce = doubled(FIRST_TRUCE, self.repairs.count - 1);
        if now >= last + CALM {
            self.repairs = Repairs::default();
            return None;
        }
        (now < last + truce).then_some(last + truce)
    }

    /// Whether a write would answer somebody else's write rather than a change of content: also where a
    /// whole earlier state was put back, stamp and record together.
    pub fn is_repair(&self, reason: Reason) -> bool {
        match reason {
            Reason::TemplateMoved
            | Reason::StampDiffers
            | Reason::AdoptedUnverified
            | Reason::StampVerified => true,
            Reason::ContentChanged => {
                let stamp = self.workload.facts.stamp.as_deref().and_then(number_of);
                stamp < self.last_stamp
            }
            _ => false,
        }
    }

    /// Whether somebody keeps undoing what we write, and that was not reported since the last repair.
    pub fn report_fight(&mut self) -> bool {
        let report = self.repairs.count >= FIGHT && self.repairs.reported < self.repairs.count;
        self.repairs.reported = self.repairs.count;
        report
    }

    /// The sources that are recorded as absent now and were not in `before`.
    pub fn newly_absent(&self, before: Option<&Observed>) -> Vec<SourceName> {
        let absent = |observed: Option<&Observed>| -> BTreeSet<SourceName> {
            let entries = observed.and_then(Observed::entries);
            let absent = entries
                .into_iter()
                .flatten()
                .filter(|(_, entry)| entry.digest.is_none());
            absent.map(|(source, _)| source.clone()).collect()
        };
        let now = absent(self.workload.facts.observed.as_ref());
        now.difference(&absent(before)).cloned().collect()
    }

    /// The source was absent when that was recorded, and has been watched since, from `session` on.
    pub fn watch_absence(&mut self, source: SourceName, session: Seq) {
        self.absences.insert(source, session);
    }

    /// The source appeared at `version`, as its first event since its absence was recorded.
    pub fn note_arrival(&mut self, source: SourceName, version: Version) {
        self.arrivals.insert(source, version);
    }

    /// A source of this workload changed: takes note of an arrival, and forgets one that is past.
    pub fn source_changed(
        &mut self,
        source: &SourceName,
        appeared: Option<&Version>,
        session: Option<Seq>,
    ) {
        self.arrivals.remove(source);
        let watched = self.absences.remove(source);
        if let (Some(version), true) = (appeared, watched.is_some() && watched == session) {
            self.arrivals.insert(source.clone(), version.clone());
        }
    }

    /// The sources that arrived at the version that was read.
    pub fn arrived<'a>(
        &self,
        read: impl Fn(&SourceName) -> Option<&'a Version>,
    ) -> BTreeSet<SourceName> {
        let shown = |(source, version): &(&SourceName, &Version)| read(source) == Some(*version);
        self.arrivals
            .iter()
            .filter(shown)
            .map(|(source, _)| source.clone())
            .collect()
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests;
