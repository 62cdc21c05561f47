//! The one rule: what to do with a workload, given what it records and what is live now.
//!
//! `observed` is evidence only while the template carries the stamp that it names, in the namespace that
//! it names. With evidence, contents are compared. Without it, either some writer moved the template
//! (restamp), or there is nothing to compare with (record what is live, roll nothing).

mod write;

use std::collections::BTreeSet;

use super::{
    digest::{Digest, InstallationKey, Keyring, SourceDigests},
    mounts::Provided,
    observed::{Entries, Entry, Observed, Recorded, fold},
    patch::NewStart,
    pod::Containers,
    reason::Reason,
    references::References,
    source::SourceName,
    stamp::Stamp,
    warning::Warning,
};
use write::{adopt, live_entry, record, restamp, stamp_digest};
pub use write::{live_entries, stamp_live};

/// What is known of a source now.
#[derive(Clone, Copy, Debug)]
pub enum Live<'a> {
    /// The API server said that there is none.
    Absent,
    /// It was read.
    Present(&'a SourceDigests),
    /// Pods show what it provides.
    Mounted(&'a Provided),
    /// No pod shows what it provides.
    Unmounted,
    /// It could not be read, or is not among those that are seen; nothing is concluded from that.
    Unreadable,
}

/// One workload, ready to be decided.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// The namespace of the workload.
    pub namespace: &'a str,
    /// The stamp on its pod template, whatever it says.
    pub stamp: Option<&'a str>,
    /// Its memory; nothing if there is none or it could not be parsed.
    pub observed: Option<&'a Observed>,
    /// The sources that it uses.
    pub references: &'a References,
    /// What is live.
    pub live: &'a dyn Fn(&SourceName) -> Live<'a>,
    /// Sources recorded as absent that were seen to appear with the very content that is live: no pod
    /// can have started on anything else.
    pub arrived: &'a BTreeSet<SourceName>,
    /// Whether a source that is deleted is a change.
    pub reload_on_delete: bool,
    /// What has its pods start anew.
    pub trigger: Trigger<'a>,
    /// The installation keys.
    pub keyring: &'a Keyring,
}

/// What has the pods of a workload start anew.
#[derive(Clone, Copy, Debug)]
pub enum Trigger<'a> {
    /// Another stamp on its template.
    Stamp,
    /// A time, with the template as it is.
    InPlace,
    /// Being made again, with the template as it is: only for other content, since that runs it once more.
    Recreate,
    /// Reloader's variables in its template; where these do not change, another stamp.
    Variables(&'a Containers),
    /// None of them runs: those that will run start on what is live then.
    Suspended,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Leave(Reason),
    /// Write `observed`; the template stays as it is.
    Record {
        /// Why.
        reason: Reason,
        /// The new memory.
        observed: Observed,
    },
    /// Have its pods start anew, and write `observed`.
    Restamp {
        /// Why.
        reason: Reason,
        /// The sources that differ, where that is known.
        changed: Vec<SourceName>,
        /// How.
        start: NewStart,
        /// The new memory.
        observed: Observed,
    },
}

impl Decision {
    /// Why.
    pub fn reason(&self) -> Reason {
        match self {
            Decision::Leave(reason)
            | Decision::Record { reason, .. }
            | Decision::Restamp { reason, .. } => *reason,
        }
    }
}

/// A recorded source beside the live one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// As recorded.
    Same,
    /// Other content, or content where there was none.
    Changed,
    /// Not recorded yet.
    New,
    /// Recorded as absent, and appeared under our eyes.
    Arrived,
    /// Other content, on which pods have started.
    Started,
    /// Recorded, and absent now: nothing is done until it comes back.
    Gone,
    /// It cannot be read now, or is nowhere to be seen.
    Unknown,
}

/// Decides.
pub fn decide(case: &Case<'_>) -> Decision {
    if case.references.is_empty() && !has_entries(case) {
        return Decision::Leave(Reason::NoSources);
    }
    match Evidence::of(case) {
        // Nothing to be stale about; what is recorded of other sources is out of date.
        Evidence::Moved if case.references.is_empty() => adopt(case, Reason::ReferencesChanged),
        Evidence::Moved => restamp(case, Reason::TemplateMoved, Vec::new()),
        Evidence::None => without_evidence(case),
        Evidence::Lost => adopt(case, Reason::AdoptedUnverified),
        Evidence::Holds(observed, key) => match &observed.recorded {
            Recorded::Entries(entries) => with_entries(case, entries, key),
            Recorded::Folded(digest) => with_fold(case, digest, key),
        },
    }
}

fn has_entries(case: &Case<'_>) -> bool {
    case.observed
        .is_some_and(|observed| observed.entries().is_none_or(|entries| !entries.is_empty()))
}

/// Whether there is a source that cannot be read, of those that one digest stands for.
fn any_unreadable(case: &Case<'_>) -> bool {
    let mut summed = case.references.keys().filter(|it| it.kind.is_core());
    summed.any(|source| matches!((case.live)(source), Live::Unreadable))
}

fn with_fold(case: &Case<'_>, recorded: &Digest, key: &InstallationKey) -> Decision {
    // Only a change of the template or its annotations can have taken all of them away.
    if case.references.is_empty() {
        return adopt(case, Reason::ReferencesChanged);
    }
    if any_unreadable(case) {
        return Decision::Leave(Reason::Unreadable);
    }
    if fold(key, case.namespace, &live_entries(case, key)) != *recorded {
        restamp(case, Reason::ContentChanged, Vec::new())
    } else if key.id() == case.keyring.current.id() {
        Decision::Leave(Reason::Current)
    } else {
        adopt(case, Reason::Rekeyed)
    }
}

/// Compares every reference with what is recorded of it, where `observed` is evidence.
pub fn compare<'a>(case: &Case<'a>) -> Option<Vec<(&'a SourceName, Comparison)>> {
    let Evidence::Holds(observed, key) = Evidence::of(case) else {
        return None;
    };
    let entries = observed.entries()?;
    Some(compare_entries(case, entries, key))
}

/// From this many sources on, a workload's annotations are probably too wide.
const MANY_SOURCES: usize = 500;

/// What is wrong with the sources themselves: required ones that do not exist, keys that they lack, and
/// too many of them.
pub fn source_warnings(case: &Case<'_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if case.references.len() >= MANY_SOURCES {
        warnings.push(Warning::ManySources {
            at_least: MANY_SOURCES,
        });
    }
    for (source, reference) in case.references {
        match (case.live)(source) {
            Live::Present(digests) if !reference.usage.optional => {
                warnings.extend(digests.missing(&reference.usage.keys).map(|key| {
                    Warning::KeyMissing {
                        source: source.clone(),
                        key: key.to_owned(),
                    }
                }));
            }
            Live::Absent if !reference.usage.optional => {
                warnings.push(Warning::SourceMissing {
                    source: source.clone(),
                });
            }
            _ => {}
        }
    }
    warnings
}

enum Evidence<'a> {
    /// `observed` speaks of the template as it is.
    Holds(&'a Observed, &'a InstallationKey),
    /// `observed` speaks of another template than this one.
    Moved,
    /// `observed` speaks of this template, but its digests cannot be compared, or of another workload.
    Lost,
    /// There is no `observed`.
    None,
}

impl<'a> Evidence<'a> {
    fn of(case: &Case<'a>) -> Self {
        let Some(observed) = case.observed else {
            return Evidence::None;
        };
        if *observed.namespace != *case.namespace {
            return Evidence::Lost;
        }
        if observed.stamp.as_deref() != case.stamp {
            return Evidence::Moved;
        }
        match case.keyring.find(&observed.key) {
            Some(key) => Evidence::Holds(observed, key),
            None => Evidence::Lost,
        }
    }
}

fn without_evidence(case: &Case<'_>) -> Decision {
    let stamp = case.stamp.and_then(|text| text.parse::<Stamp>().ok());
    let known = stamp.and_then(|stamp| Some((case.keyring.find(&stamp.key)?, stamp)));
    match known {
        None => adopt(case, Reason::AdoptedUnverified),
        // Without all sources the stamp can be neither proven nor disproven.
        Some(_) if any_unreadable(case) => Decision::Leave(Reason::Unreadable),
        Some((key, stamp)) => {
            if stamp_digest(case, key, &live_entries(case, key)) == stamp.digest {
                adopt(case, Reason::StampVerified)
            } else {
                restamp(case, Reason::StampDiffers, Vec::new())
            }
        }
    }
}

fn with_entries(case: &Case<'_>, entries: &Entries, key: &InstallationKey) -> Decision {
    let comparisons = compare_entries(case, entries, key);
    let changed: Vec<_> = comparisons
        .iter()
        .filter(|(_, comparison)| *comparison == Comparison::Changed)
        .map(|(source, _)| (*source).clone())
        .collect();
    if !changed.is_empty() {
        return restamp(case, Reason::ContentChanged, changed);
    }
    let current = &case.keyring.current;
    // An entry whose source cannot be read cannot be digested anew: it keeps the others at its key.
    let rekeyable = comparisons
        .iter()
        .all(|(source, comparison)| match comparison {
            Comparison::Gone => false,
            Comparison::Unknown => !entries.contains_key(*source),
            _ => true,
        });
    let (recorded_key, key) = (key, if rekeyable { current } else { key });
    let next: Entries = comparisons
        .iter()
        .filter_map(|(source, comparison)| {
            let reference = case.references.get(*source)?;
            let entry = match comparison {
                Comparison::Gone | Comparison::Unknown => entries.get(*source)?.clone(),
                _ => live_entry(case, key, source, reference, false)?,
            };
            Some(((*source).clone(), entry))
        })
        .collect();
    let any = |wanted| comparisons.iter().any(|(_, found)| *found == wanted);
    let reason = if next.keys().ne(entries.keys()) || !same_keys(&next, entries) {
        Reason::ReferencesChanged
    } else if any(Comparison::Arrived) {
        Reason::SourceArrived
    } else if any(Comparison::Started) {
        Reason::PodsStarted
    } else if key.id() != recorded_key.id() {
        Reason::Rekeyed
    } else {
        return Decision::Leave(Reason::Current);
    };
    record(case, reason, key, next)
}

fn same_keys(left: &Entries, right: &Entries) -> bool {
    left.values()
        .map(|entry| &entry.keys)
        .eq(right.values().map(|entry| &entry.keys))
}

fn compare_entries<'a>(
    case: &Case<'a>,
    entries: &Entries,
    key: &InstallationKey,
) -> Vec<(&'a SourceName, Comparison)> {
    case.references
        .keys()
        .map(|source| (source, compare_one(case, source, entries.get(source), key)))
        .collect()
}

fn compare_one(
    case: &Case<'_>,
    source: &SourceName,
    entry: Option<&Entry>,
    key: &InstallationKey,
) -> Comparison {
    let live = match (case.live)(source) {
        Live::Unreadable | Live::Unmounted => return Comparison::Unknown,
        Live::Mounted(provided) => {
            return entry.map_or(Comparison::New, |entry| provided.compare(entry, key));
        }
        Live::Absent => None,
        Live::Present(digests) => Some(digests),
    };
    match (entry, live) {
        (None, _) => Comparison::New,
        (Some(Entry { digest: None, .. }), None) => Comparison::Same,
        (Some(_), None) if case.reload_on_delete => Comparison::Changed,
        (
            Some(Entry {
                digest: Some(_), ..
            }),
            None,
        ) => Comparison::Gone,
        (Some(Entry { digest: None, .. }), Some(_)) if case.arrived.contains(source) => {
            Comparison::Arrived
        }
        // Compared as it was recorded: which keys the template uses now is the template's change.
        (Some(entry), Some(digests)) => match digests.digest(key, &entry.keys) {
            None => Comparison::Unknown,
            live if live == entry.digest => Comparison::Same,
            Some(_) => Comparison::Changed,
        },
    }
}

#[cfg(test)]
mod tests;
