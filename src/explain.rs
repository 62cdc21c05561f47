//! `restamp explain`: what the watcher would do for a workload, and why, from the same decision code.
//!
//! It works with the rights of whoever runs it, and calls unknown what it may not read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
};

use kube::Client;
use serde::Serialize;

use crate::{
    cluster::{
        Error,
        error::chain,
        key::{self, KeyError},
        source::{self, Content},
        workload::{self, Workload, WorkloadId},
    },
    stamp::{
        decide::{Case, Comparison, Decision, Live, compare, decide, source_warnings},
        digest::{InstallationKey, KEY_BYTES, KeyTooShort, Keyring},
        policy::{Marks, NotSelected, Selection},
        references::{Catalog, Reference, resolve},
        source::{Keys, SourceKind, SourceName},
    },
};

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What the watcher would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Leave the workload alone.
    Nothing,
    /// Write down what is live; nothing rolls.
    Record,
    /// Stamp the template; the workload rolls.
    Restamp,
    /// Something that the answer depends on may not be read.
    Unknown,
}

/// The whole answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    workload: String,
    opted_in_by: Vec<&'static str>,
    action: Action,
    reason: String,
    because: String,
    stamp: Option<String>,
    sources: Vec<SourceReport>,
    warnings: Vec<String>,
    unknown: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceReport {
    source: String,
    selected_by: String,
    keys: Option<Vec<String>>,
    optional: bool,
    state: String,
}

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The workload itself cannot be read.
    #[error(transparent)]
    Workload(#[from] Error),
    /// Cannot be: see [`blank_keyring`].
    #[error(transparent)]
    Key(#[from] KeyTooShort),
}

/// Finds out.
///
/// # Errors
/// When the workload cannot be read. Whatever else cannot be read is called unknown in the report.
pub async fn explain(
    client: &Client,
    id: &WorkloadId,
    restamp_namespace: &str,
) -> Result<Report, ExplainError> {
    let workload = workload::get(client, id).await?;
    let mut unknown = Vec::new();
    let found_key = key::read(client, restamp_namespace).await;
    let (keyring, has_key) = match found_key {
        Ok(keyring) => (keyring, true),
        Err(error) => {
            unknown.push(key_unknown(&error));
            (blank_keyring()?, false)
        }
    };
    let listed = Listed::read(client, &workload, &mut unknown).await;
    let recorded = workload
        .facts
        .observed
        .as_ref()
        .and_then(|observed| observed.entries());
    let references = resolve(
        &workload.facts.policy,
        &workload.facts.usages,
        &listed,
        recorded,
    );
    let mut contents = BTreeMap::new();
    for name in references.keys() {
        let read = source::read(client, &name.within(&id.namespace), &keyring).await;
        contents.insert(name, read);
    }
    let live = |name: &SourceName| match contents.get(name) {
        Some(Ok(Content::Absent)) => Live::Absent,
        Some(Ok(Content::Present { digests, .. })) => Live::Present(digests),
        Some(Err(_)) | None => Live::Unreadable,
    };
    let case = Case {
        namespace: &id.namespace,
        stamp: workload.facts.stamp.as_deref(),
        observed: workload.facts.observed.as_ref(),
        references: &references,
        live: &live,
        arrived: &BTreeSet::new(),
        keyring: &keyring,
    };
    unknown.extend(
        contents
            .values()
            .filter_map(|read| read.as_ref().err())
            .map(unknown_because),
    );
    let comparisons: BTreeMap<_, _> = compare(&case)
        .filter(|_| has_key)
        .into_iter()
        .flatten()
        .collect();
    let state = |name: &SourceName| match contents.get(name) {
        Some(Err(error)) => unknown_because(error),
        _ => state(comparisons.get(name).copied(), live(name)).to_owned(),
    };
    let mut sources: Vec<_> = references
        .iter()
        .map(|(name, reference)| SourceReport::new(name, reference, &workload, state(name)))
        .collect();
    sources.extend(not_selected(&workload, &listed, &references));
    let mut warnings: Vec<_> = workload
        .facts
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect();
    warnings.extend(source_warnings(&case).iter().map(ToString::to_string));
    let (action, reason, because) = conclusion(&workload, &case, has_key);
    Ok(Report {
        workload: id.to_string(),
        opted_in_by: workload.facts.policy.opted_in_by(),
        action,
        reason,
        because,
        stamp: workload.facts.stamp.as_deref().map(str::to_owned),
        sources,
        warnings,
        unknown,
    })
}

fn conclusion(workload: &Workload, case: &Case<'_>, has_key: bool) -> (Action, String, String) {
    use crate::stamp::decide::Reason;
    let named = |action, reason: Reason| (action, reason.to_string(), reason.sentence().to_owned());
    if !workload.facts.policy.opted_in() {
        return named(Action::Nothing, Reason::NotOptedIn);
    }
    if !has_key && !case.references.is_empty() {
        let because = "without the installation key nothing can be compared".to_owned();
        return (Action::Unknown, "Unknown".to_owned(), because);
    }
    match decide(case) {
        Decision::Leave(reason) => named(Action::Nothing, reason),
        Decision::Record { reason, .. } => named(Action::Record, reason),
        Decision::Restamp { reason, .. } => named(Action::Restamp, reason),
    }
}

/// Sources that the pod spec uses and that no annotation selects.
fn not_selected<'a>(
    workload: &'a Workload,
    listed: &'a Listed,
    references: &'a BTreeMap<SourceName, Reference>,
) -> impl Iterator<Item = SourceReport> + 'a {
    let unused = |(name, _): &(&SourceName, _)| !references.contains_key(*name);
    workload
        .facts
        .usages
        .iter()
        .filter(unused)
        .map(|(name, usage)| {
            let by =
                workload
                    .facts
                    .policy
                    .select(name, listed.marks(name).unwrap_or_default(), true);
            let reference = Reference {
                usage: usage.clone(),
                by,
                literal: true,
            };
            SourceReport::new(name, &reference, workload, "not followed".to_owned())
        })
}

impl SourceReport {
    fn new(name: &SourceName, reference: &Reference, workload: &Workload, state: String) -> Self {
        Self {
            source: name.to_string(),
            selected_by: selected_by(name, reference.by, workload),
            keys: match &reference.usage.keys {
                Keys::All => None,
                Keys::Only(keys) => Some(keys.iter().map(ToString::to_string).collect()),
            },
            optional: reference.usage.optional,
            state,
        }
    }
}

fn selected_by(name: &SourceName, by: Selection, workload: &Workload) -> String {
    let patterns = workload.facts.policy.patterns(name.kind);
    match by {
        Selection::Named(index) => {
            let pattern = patterns
                .get(index)
                .map(|pattern| pattern.as_str())
                .unwrap_or_default();
            format!("named by {pattern:?}")
        }
        Selection::Search => "search".to_owned(),
        Selection::Auto => "auto".to_owned(),
        Selection::NotSelected(NotSelected::Ignored) => {
            "not selected: it is marked to be ignored".to_owned()
        }
        Selection::NotSelected(NotSelected::Excluded) => {
            "not selected: the workload excludes it".to_owned()
        }
        Selection::NotSelected(_) => "not selected: no annotation asks for it".to_owned(),
    }
}

fn state(comparison: Option<Comparison>, live: Live<'_>) -> &'static str {
    match (comparison, live) {
        (Some(Comparison::Same), Live::Absent) => "does not exist, as recorded",
        (Some(Comparison::Same), _) => "as recorded",
        (Some(Comparison::Changed | Comparison::Arrived), _) => "changed since the pods started",
        (Some(Comparison::Gone), _) => {
            "deleted since the pods started; nothing happens until it is back"
        }
        (_, Live::Absent) => "does not exist",
        (Some(Comparison::New), _) => "not recorded yet",
        (_, Live::Present(_)) => "exists",
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
    match error {
        Error::Forbidden { request, .. } => format!("unknown: forbidden (may not {request})"),
        error => format!("unknown: {}", chain(error)),
    }
}

/// Stands in where the installation key may not be read: enough to tell what exists, no more.
fn blank_keyring() -> Result<Keyring, KeyTooShort> {
    Ok(Keyring {
        current: InstallationKey::new(&[0; KEY_BYTES])?,
        previous: None,
    })
}

/// The sources of the namespace, as far as they may be listed.
struct Listed(BTreeMap<SourceName, Marks>);

impl Listed {
    async fn read(client: &Client, workload: &Workload, unknown: &mut Vec<String>) -> Self {
        let mut listed = BTreeMap::new();
        if !workload.facts.policy.opted_in() {
            return Self(listed);
        }
        for kind in SourceKind::ALL {
            match source::list(client, kind, &workload.id.namespace).await {
                Ok(rows) => listed.extend(rows.into_iter().map(|row| (row.id.source, row.marks))),
                Err(error) => unknown.push(unknown_because(&error)),
            }
        }
        Self(listed)
    }
}

impl Catalog for Listed {
    fn marks(&self, source: &SourceName) -> Option<Marks> {
        self.0.get(source).copied()
    }

    fn names(&self, kind: SourceKind) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(
            self.0
                .keys()
                .filter(move |source| source.kind == kind)
                .map(|source| &*source.name),
        )
    }
}

impl Report {
    /// The text to print.
    ///
    /// # Errors
    /// When the report cannot be turned into JSON.
    pub fn render(&self, output: Output) -> Result<String, serde_json::Error> {
        Ok(match output {
            Output::Text => self.to_string(),
            Output::Json => serde_json::to_string_pretty(self)? + "\n",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.workload)?;
        let by = if self.opted_in_by.is_empty() {
            "no".to_owned()
        } else {
            format!("by {}", self.opted_in_by.join(", "))
        };
        writeln!(f, "  opted in: {by}")?;
        writeln!(f, "  stamp:    {}", self.stamp.as_deref().unwrap_or("none"))?;
        let action = match self.action {
            Action::Nothing => "nothing to do",
            Action::Record => "would be recorded, without a rollout",
            Action::Restamp => "would be restarted",
            Action::Unknown => "unknown",
        };
        writeln!(
            f,
            "  now:      {action}: {} ({})",
            self.because, self.reason
        )?;
        if !self.sources.is_empty() {
            writeln!(f, "  sources:")?;
        }
        for source in &self.sources {
            writeln!(f, "    {source}")?;
        }
        section(f, "warnings", &self.warnings)?;
        section(f, "unknown", &self.unknown)
    }
}

impl fmt::Display for SourceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut uses = match &self.keys {
            None => "all keys".to_owned(),
            Some(keys) => format!("keys {}", keys.join(", ")),
        };
        if self.optional {
            uses.write_str(", optional")?;
        }
        write!(
            f,
            "{}: {} ({}; {uses})",
            self.source, self.state, self.selected_by
        )
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if !lines.is_empty() {
        writeln!(f, "  {title}:")?;
    }
    lines.iter().try_for_each(|line| writeln!(f, "    {line}"))
}
