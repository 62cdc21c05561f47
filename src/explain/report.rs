//! The answer of `restamp explain`, for people and for programs.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::stamp::{
    policy::{NotSelected, Policy, Selection},
    references::Reference,
    source::{Keys, SourceName},
};

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Output {
    /// The text to print.
    ///
    /// # Errors
    /// When the answer cannot be turned into JSON.
    pub fn render<A: Serialize + fmt::Display>(
        self,
        answer: &A,
    ) -> Result<String, serde_json::Error> {
        Ok(match self {
            Output::Text => answer.to_string(),
            Output::Json => serde_json::to_string_pretty(answer)? + "\n",
        })
    }
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
    pub(super) workload: String,
    pub(super) opted_in_by: Vec<&'static str>,
    pub(super) action: Action,
    pub(super) reason: String,
    pub(super) because: String,
    pub(super) stamp: Option<String>,
    pub(super) sources: Vec<SourceReport>,
    pub(super) warnings: Vec<String>,
    pub(super) unknown: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SourceReport {
    source: String,
    selected_by: String,
    keys: Option<Vec<String>>,
    optional: bool,
    state: String,
}

impl SourceReport {
    pub(super) fn new(
        name: &SourceName,
        reference: &Reference,
        policy: &Policy,
        state: String,
    ) -> Self {
        Self {
            source: name.to_string(),
            selected_by: selected_by(name, reference.by, policy),
            keys: match &reference.usage.keys {
                Keys::All => None,
                Keys::Only(keys) => Some(keys.iter().map(ToString::to_string).collect()),
            },
            optional: reference.usage.optional,
            state,
        }
    }
}

fn selected_by(name: &SourceName, by: Selection, policy: &Policy) -> String {
    let patterns = policy.patterns(name.kind);
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
