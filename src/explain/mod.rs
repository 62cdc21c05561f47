//! `restamp explain`: what the watcher would do for a workload, and why, from the same decision code.
//!
//! ```text
//!  read (what the caller may read) -> stamp/ decide -> report
//! ```
//!
//! It works with the rights of whoever runs it, and calls unknown what it may not read.

mod report;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::Client;

use crate::{
    cluster::{
        Error,
        error::chain,
        key::{self, KeyError},
        namespace,
        source::{self, Content},
        workload::{self, Life, Workload, WorkloadId},
    },
    stamp::{
        decide::{Case, Comparison, Decision, Live, compare, decide, source_warnings},
        digest::Keyring,
        observed::Observed,
        policy::Marks,
        reason::Reason,
        references::{Listed, Reference, References, resolve},
        settings::PolicySettings,
        source::{SourceKind, SourceName},
    },
};
use report::{Action, SourceReport};
pub use report::{Output, Report};

/// Finds out.
///
/// # Errors
/// When the workload cannot be read. Whatever else cannot be read is called unknown in the report.
pub async fn explain(
    client: &Client,
    id: &WorkloadId,
    restamp_namespace: &str,
    policy: &PolicySettings,
    now: Timestamp,
) -> Result<Report, Error> {
    let workload = workload::get(client, id, policy).await?;
    let seen = Seen::read(client, workload, restamp_namespace, policy).await?;
    Ok(seen.report(now))
}

/// Everything that the answer rests on.
struct Seen<'a> {
    policy: &'a PolicySettings,
    /// Whether the namespace is followed.
    in_scope: bool,
    workload: Workload,
    /// Nothing if it may not be read: then nothing can be compared.
    key: Option<Keyring>,
    blank: Keyring,
    listed: BTreeMap<SourceName, Marks>,
    references: References,
    contents: BTreeMap<SourceName, Result<Content, Error>>,
    unknown: Vec<String>,
}

impl<'a> Seen<'a> {
    async fn read(
        client: &Client,
        workload: Workload,
        restamp_namespace: &str,
        policy: &'a PolicySettings,
    ) -> Result<Self, Error> {
        let mut unknown = Vec::new();
        let key = key::read(client, restamp_namespace)
            .await
            .map_err(|error| unknown.push(key_unknown(&error)))
            .ok();
        // Stands in where the key may not be read.
        let blank = Keyring::blank();
        let in_scope =
            namespace::is_followed(client, &workload.id.namespace, &policy.namespaces).await;
        let in_scope = in_scope
            .map_err(|error| unknown.push(unknown_because(&error)))
            .unwrap_or(true);
        let facts = &workload.facts;
        let (mut listed, mut references) = (BTreeMap::new(), References::new());
        if in_scope && facts.policy.opted_in() {
            listed = list(client, &workload, policy, &mut unknown).await;
            let (rows, settings) = (&listed, policy);
            let recorded = facts.observed.as_ref().and_then(Observed::entries);
            let catalog = Listed { rows, settings };
            references = resolve(&facts.policy, &facts.usages, &catalog, recorded);
        }
        let mut contents = BTreeMap::new();
        for name in references.keys() {
            let id = name.within(&workload.id.namespace);
            let keyring = key.as_ref().unwrap_or(&blank);
            let read = source::read_unseen(client, &id, keyring, policy).await;
            unknown.extend(read.as_ref().err().map(unknown_because));
            contents.insert(name.clone(), read);
        }
        Ok(Self {
            policy,
            in_scope,
            workload,
            key,
            blank,
            listed,
            references,
            contents,
            unknown,
        })
    }

    fn report(self, now: Timestamp) -> Report {
        let nothing = BTreeSet::new();
        let live = |name: &SourceName| self.live(name);
        let case = Case {
            namespace: &self.workload.id.namespace,
            stamp: self.workload.facts.stamp.as_deref(),
            observed: self.workload.facts.observed.as_ref(),
            references: &self.references,
            live: &live,
            arrived: &nothing,
            reload_on_delete: self.policy.reload_on_delete,
            trigger: self.workload.trigger(self.policy.strategy),
            keyring: self.key.as_ref().unwrap_or(&self.blank),
        };
        let compared: BTreeMap<_, _> = compare(&case)
            .filter(|_| self.key.is_some())
            .into_iter()
            .flatten()
            .collect();
        let followed = self.references.iter().map(|(name, reference)| {
            let state = self.state(name, compared.get(name).copied());
            SourceReport::new(name, reference, &self.workload.facts.policy, state)
        });
        let sources = followed.chain(self.not_selected()).collect();
        let of_annotations = self.workload.facts.warnings.iter().map(ToString::to_string);
        let of_sources = source_warnings(&case);
        let warnings = of_annotations
            .chain(of_sources.iter().map(ToString::to_string))
            .collect();
        let (action, reason, because) = self.conclusion(&case, now);
        Report {
            workload: self.workload.id.to_string(),
            opted_in_by: self.workload.facts.policy.opted_in_by(&self.policy.keys),
            action,
            reason,
            because,
            stamp: self.workload.facts.stamp.as_deref().map(str::to_owned),
            sources,
            warnings,
            unknown: self.unknown.clone(),
        }
    }

    fn live(&self, name: &SourceName) -> Live<'_> {
        match self.contents.get(name) {
            Some(Ok(Content::NotFollowed)) if self.policy.unseen_is_absent() => Live::Absent,
            Some(Ok(content)) => content.live(),
            Some(Err(_)) | None => Live::Unreadable,
        }
    }

    fn state(&self, name: &SourceName, compared: Option<Comparison>) -> String {
        match self.contents.get(name) {
            Some(Err(error)) => unknown_because(error),
            Some(Ok(Content::NotFollowed)) => format!("{UNSEEN}; what is recorded stays"),
            _ => state(compared, self.live(name)).to_owned(),
        }
    }

    fn conclusion(&self, case: &Case<'_>, now: Timestamp) -> (Action, String, String) {
        let named =
            |action, reason: Reason| (action, reason.to_string(), reason.sentence().to_owned());
        if !self.in_scope {
            return named(Action::Nothing, Reason::NamespaceNotSelected);
        }
        if !self.workload.facts.policy.opted_in() {
            return named(Action::Nothing, Reason::NotOptedIn);
        }
        if self.workload.life == Life::Over {
            return named(Action::Nothing, Reason::Over);
        }
        if self.key.is_none() && !self.references.is_empty() {
            let because = "without the installation key nothing can be compared".to_owned();
            return (Action::Unknown, "Unknown".to_owned(), because);
        }
        match decide(case) {
            Decision::Restamp { reason, .. } => {
                let (action, name, mut because) = named(Action::Restamp, reason);
                if let Some(until) = self.workload.held_until(now) {
                    because += &format!("; its pause period holds that back until {until}");
                }
                (action, name, because)
            }
            // What may not be read could be a change.
            _ if !self.unknown.is_empty() => {
                let because = "something that the answer depends on cannot be read".to_owned();
                (Action::Unknown, "Unknown".to_owned(), because)
            }
            Decision::Leave(reason) => named(Action::Nothing, reason),
            Decision::Record { reason, .. } => named(Action::Record, reason),
        }
    }

    /// Sources that the pod spec uses and that no annotation selects.
    fn not_selected(&self) -> impl Iterator<Item = SourceReport> {
        let facts = &self.workload.facts;
        let unused = |(name, _): &(&SourceName, _)| !self.references.contains_key(*name);
        facts.usages.iter().filter(unused).map(|(name, usage)| {
            let marks = self.listed.get(name).copied();
            let by = facts.policy.select(name, marks.unwrap_or_default(), true);
            let is_unseen = self.in_scope && by.is_selected() && marks.is_none();
            let state = if is_unseen { UNSEEN } else { "not followed" };
            let reference = Reference {
                usage: usage.clone(),
                by,
                literal: true,
            };
            SourceReport::new(name, &reference, &facts.policy, state.to_owned())
        })
    }
}

/// Of a source that nothing can be said of.
const UNSEEN: &str = "does not exist, or lacks the labels that are asked for";

fn state(comparison: Option<Comparison>, live: Live<'_>) -> &'static str {
    match (comparison, live) {
        (Some(Comparison::Same), Live::Absent) => "does not exist, as recorded",
        (Some(Comparison::Same), _) => "as recorded",
        (Some(Comparison::Changed | Comparison::Arrived), _) => "changed since the pods started",
        (Some(Comparison::Started), _) => "changed, and pods have started on it",
        (Some(Comparison::Gone), _) => {
            "deleted since the pods started; nothing happens until it is back"
        }
        (_, Live::Absent) => "does not exist",
        (Some(Comparison::New), _) => "not recorded yet",
        (_, Live::Unmounted) => "no pod has mounted it",
        (_, Live::Present(_) | Live::Mounted(_)) => "exists",
        (_, Live::Unreadable) => "unknown",
    }
}

fn key_unknown(error: &KeyError) -> String {
    match error {
        KeyError::Cluster(error) => unknown_because(error),
        KeyError::Unusable { .. } => chain(error),
    }
}

fn unknown_because(error: &Error) -> String {
    format!("unknown: {}", error.in_short())
}

/// Whether the workload has to do with sources of a kind at all.
fn may_use(workload: &Workload, kind: SourceKind) -> bool {
    let facts = &workload.facts;
    let used = facts.usages.keys().any(|source| source.kind == kind);
    used || !facts.policy.patterns(kind).is_empty()
}

/// The sources of the workload's namespace that are followed, as far as they may be listed.
async fn list(
    client: &Client,
    workload: &Workload,
    policy: &PolicySettings,
    unknown: &mut Vec<String>,
) -> BTreeMap<SourceName, Marks> {
    let kinds = policy.followed().filter(|kind| may_use(workload, *kind));
    let (listed, errors) = source::marks(client, kinds, &workload.id.namespace, policy).await;
    unknown.extend(errors.iter().map(unknown_because));
    listed
}
