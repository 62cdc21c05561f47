//! What is written down: the live content as entries, the stamp over them, the memory.

use super::{Case, Decision, Live, Trigger};
use crate::stamp::{
    digest::{Digest, InstallationKey, SourceDigests},
    observed::{Entries, Entry, Observed, Recorded, summed},
    patch::{NewStart, Operation},
    pod::Told,
    policy::Selection,
    reason::Reason,
    references::Reference,
    source::{Keys, SourceName},
    stamp::{Stamp, number_of},
};

/// Records what is live, and leaves the template as it is.
pub(super) fn adopt(case: &Case<'_>, reason: Reason) -> Decision {
    let key = &case.keyring.current;
    record(case, reason, key, live_entries(case, key))
}

/// Records `entries`, and leaves the template as it is.
pub(super) fn record(
    case: &Case<'_>,
    reason: Reason,
    key: &InstallationKey,
    entries: Entries,
) -> Decision {
    Decision::Record {
        reason,
        observed: observed(case, key, entries),
    }
}

/// Has the pods start anew, on what is live.
pub(super) fn restamp(case: &Case<'_>, reason: Reason, changed: Vec<SourceName>) -> Decision {
    match case.trigger {
        Trigger::Suspended => return adopt(case, Reason::Suspended),
        Trigger::Recreate if reason != Reason::ContentChanged => return adopt(case, reason),
        _ => {}
    }
    let key = &case.keyring.current;
    let entries = entries(case, key, true);
    let start = match (case.trigger, variables(case, &changed)) {
        (Trigger::InPlace, _) => NewStart::InPlace,
        (Trigger::Recreate, _) => NewStart::Recreate,
        (_, variables) if !variables.is_empty() => NewStart::Variables(variables),
        _ => NewStart::Stamp(next_stamp(case, stamp_digest(case, key, &entries))),
    };
    let stamp = match &start {
        NewStart::Stamp(stamp) => Some(stamp.to_string().into()),
        _ => case.stamp.map(Box::from),
    };
    let observed = Observed {
        stamp,
        ..observed(case, key, entries)
    };
    Decision::Restamp {
        reason,
        changed,
        start,
        observed,
    }
}

/// Reloader's variables for the sources that changed, or for all where that is not known. They are written beside the
/// memory that is there: without one, nothing is known of what the pods run on, and the stamp tells of everything.
fn variables(case: &Case<'_>, changed: &[SourceName]) -> Vec<Operation> {
    let (Trigger::Variables(containers), Some(_)) = (case.trigger, case.observed) else {
        return Vec::new();
    };
    let references = case.references.iter();
    let told = references.filter(|(source, _)| changed.is_empty() || changed.contains(source));
    let told = told.filter_map(|(source, reference)| {
        let hash = match (case.live)(source) {
            Live::Absent => None,
            Live::Present(digests) => Some(digests.hash()?),
            Live::Mounted(provided) => Some(provided.newest().hash()?),
            Live::Unreadable | Live::Unmounted => return None,
        };
        Some(Told {
            source,
            hash,
            anyway: matches!(reference.by, Selection::Named(_)),
        })
    });
    containers.tell(told)
}

/// The stamp and the memory of a template whose pods start anew, on what is live now. A stamp that says
/// just that already stays as it is, and so does that of a template that has to stay.
pub fn stamp_live(case: &Case<'_>) -> (Option<Stamp>, Observed) {
    let key = &case.keyring.current;
    let entries = entries(case, key, true);
    if let Trigger::Recreate = case.trigger {
        return (None, observed(case, key, entries));
    }
    let digest = stamp_digest(case, key, &entries);
    let stamp = case
        .stamp
        .and_then(|text| text.parse::<Stamp>().ok())
        .filter(|stamp| stamp.key == *key.id() && stamp.digest == digest)
        .unwrap_or_else(|| next_stamp(case, digest));
    let observed = Observed {
        stamp: Some(stamp.to_string().into()),
        ..observed(case, key, entries)
    };
    (Some(stamp), observed)
}

/// `entries` as the memory of the template as it is.
fn observed(case: &Case<'_>, key: &InstallationKey, entries: Entries) -> Observed {
    Observed {
        namespace: case.namespace.into(),
        key: key.id().clone(),
        stamp: case.stamp.map(Box::from),
        restarted: case.observed.and_then(|before| before.restarted.clone()),
        recorded: Recorded::Entries(entries),
    }
}

fn next_stamp(case: &Case<'_>, digest: Digest) -> Stamp {
    Stamp {
        key: case.keyring.current.id().clone(),
        digest,
        n: next_n(case),
    }
}

pub(super) fn stamp_digest(case: &Case<'_>, key: &InstallationKey, entries: &Entries) -> Digest {
    key.set("stamp", case.namespace, &summed(entries))
}

/// One more than the larger of the template's and the recorded stamp's.
fn next_n(case: &Case<'_>) -> u64 {
    let recorded = case.observed.and_then(|observed| observed.stamp.as_deref());
    let last = [case.stamp, recorded]
        .into_iter()
        .flatten()
        .filter_map(number_of)
        .max();
    // A hand-written maximum must not make every later stamp the same.
    last.map_or(1, |n| n.checked_add(1).unwrap_or(1))
}

/// The references as they are now, as entries.
pub fn live_entries(case: &Case<'_>, key: &InstallationKey) -> Entries {
    entries(case, key, false)
}

/// The references as they are now, for pods that go on or start anew.
fn entries(case: &Case<'_>, key: &InstallationKey, anew: bool) -> Entries {
    let references = case.references.iter();
    references
        .filter_map(|(source, reference)| {
            let entry = live_entry(case, key, source, reference, anew)?;
            Some((source.clone(), entry))
        })
        .collect()
}

/// The source as it is now; of one that cannot be read or seen, what was recorded. A source
/// that only a regex named, and that is gone, is not recorded: there is no name to wait for.
pub(super) fn live_entry(
    case: &Case<'_>,
    key: &InstallationKey,
    source: &SourceName,
    reference: &Reference,
    anew: bool,
) -> Option<Entry> {
    let keys = &reference.usage.keys;
    let entry = |keys: &Keys, digest, since| Entry {
        keys: keys.clone(),
        digest,
        since,
    };
    let of = |digests: &SourceDigests, since| {
        let digest = digests.digest(key, keys)?;
        Some(entry(keys, Some(digest), since))
    };
    match (case.live)(source) {
        Live::Absent => reference.literal.then(|| entry(keys, None, None)),
        Live::Present(digests) => of(digests, None),
        Live::Mounted(provided) => {
            let recorded = || {
                let (observed, entry) = recorded(case, source)?;
                Some((entry, case.keyring.find(&observed.key)?))
            };
            let digests = match anew {
                true => provided.newest(),
                false => provided.running(recorded()),
            };
            of(digests, Some(provided.at()))
        }
        Live::Unreadable | Live::Unmounted => {
            let (observed, recorded) = recorded(case, source)?;
            // A digest under another key cannot be taken over: without it, the source is stale when seen.
            let digest = recorded.digest.filter(|_| observed.key == *key.id());
            Some(entry(&recorded.keys, digest, recorded.since))
        }
    }
}

fn recorded<'a>(case: &Case<'a>, source: &SourceName) -> Option<(&'a Observed, &'a Entry)> {
    let is_ours = |it: &&Observed| *it.namespace == *case.namespace;
    let observed = case.observed.filter(is_ours)?;
    Some((observed, observed.entries()?.get(source)?))
}
