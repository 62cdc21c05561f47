//! What is wrong with a workload's annotations or sources, for the people who wrote them.

#[cfg(test)]
mod tests;

use std::fmt;

use super::{
    annotations::{OBSERVED, ROLLOUT_STRATEGY, STAMP},
    duration::DurationError,
    pattern::PatternError,
    source::{SourceKind, SourceName},
};

/// How much of a value is repeated in a message.
const SHOWN_CHARS: usize = 60;

/// Something that does not stop the work, but is probably not what was meant.
///
/// `annotation` is the key that has to be corrected. [`fmt::Display`] is one sentence for log, Event and
/// admission warning; [`Warning::reason`] is the label for metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// An element of a named list is not a Go regular expression, and is skipped.
    InvalidPattern {
        /// The named list.
        annotation: &'static str,
        /// The element.
        piece: String,
        /// What is wrong with it.
        error: PatternError,
    },
    /// A named list has an element without text, which matches nothing.
    EmptyPattern {
        /// The named list.
        annotation: &'static str,
    },
    /// A named list has more expressions than are compiled for one workload.
    TooManyPatterns {
        /// The named list.
        annotation: &'static str,
        /// How many are used.
        limit: usize,
    },
    /// An auto annotation is neither a true nor a false of Go, and counts as false.
    NotABoolean {
        /// The auto annotation.
        annotation: &'static str,
        /// Its value.
        value: String,
    },
    /// Search, match or ignore needs exactly `true`.
    NotTrue {
        /// The annotation.
        annotation: &'static str,
        /// Its value.
        value: String,
    },
    /// A duration cannot be read, and the default holds.
    InvalidDuration {
        /// The annotation.
        annotation: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        error: DurationError,
    },
    /// The strategy of an Argo Rollout is none that is known, and it is rolled out.
    UnknownStrategy {
        /// The value of the annotation.
        value: String,
    },
    /// A source is both named and excluded by the same workload.
    NamedAndExcluded {
        /// The source.
        source: SourceName,
    },
    /// An annotation for sources is on a workload, where it means nothing.
    IgnoredOnWorkload {
        /// The annotation.
        annotation: &'static str,
    },
    /// An annotation is on the pod template that is read on the workload alone.
    NotOnTemplate {
        /// The annotation.
        annotation: &'static str,
    },
    /// An annotation means nothing on this kind of workload.
    NotForKind {
        /// The annotation.
        annotation: &'static str,
    },
    /// The pod spec names a source that cannot exist.
    InvalidName {
        /// Of what kind.
        kind: SourceKind,
        /// The name.
        name: String,
    },
    /// A source that pods cannot start without does not exist.
    SourceMissing {
        /// The source.
        source: SourceName,
    },
    /// A source lacks a key that pods cannot start without.
    KeyMissing {
        /// The source.
        source: SourceName,
        /// The key.
        key: String,
    },
    /// The observed annotation is not what we write there.
    ObservedUnreadable {
        /// What is wrong with it.
        error: String,
    },
    /// The stamp is not what we write there.
    StampUnreadable {
        /// The value of the annotation.
        value: String,
    },
    /// A workload uses so many sources that following them is costly.
    ManySources {
        /// From how many on that is said; not how many there are, which changes all the time.
        at_least: usize,
    },
    /// A writer changed nothing of the pod template but the stamp, which was put back.
    StampPutBack,
    /// Whoever writes a pod template sends a stamp with it, which is not used.
    StampSent,
    /// The annotations are so large that ours would make them invalid.
    NoRoom {
        /// The most bytes that the API server takes.
        limit: usize,
    },
}

impl Warning {
    /// A stable label for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Warning::InvalidPattern { .. } => "InvalidPattern",
            Warning::EmptyPattern { .. } => "EmptyPattern",
            Warning::TooManyPatterns { .. } => "TooManyPatterns",
            Warning::NotABoolean { .. } => "NotABoolean",
            Warning::NotTrue { .. } => "NotTrue",
            Warning::InvalidDuration { .. } => "InvalidDuration",
            Warning::UnknownStrategy { .. } => "UnknownStrategy",
            Warning::NamedAndExcluded { .. } => "NamedAndExcluded",
            Warning::IgnoredOnWorkload { .. } => "IgnoredOnWorkload",
            Warning::NotOnTemplate { .. } => "NotOnTemplate",
            Warning::NotForKind { .. } => "NotForKind",
            Warning::InvalidName { .. } => "InvalidName",
            Warning::SourceMissing { .. } => "SourceMissing",
            Warning::KeyMissing { .. } => "KeyMissing",
            Warning::ObservedUnreadable { .. } => "ObservedUnreadable",
            Warning::StampUnreadable { .. } => "StampUnreadable",
            Warning::ManySources { .. } => "ManySources",
            Warning::StampPutBack => "StampPutBack",
            Warning::StampSent => "StampSent",
            Warning::NoRoom { .. } => "NoRoom",
        }
    }

    /// Whether it is about what somebody wrote on the workload, and not about sources that come and go.
    pub fn is_of_annotations(&self) -> bool {
        !matches!(
            self,
            Warning::SourceMissing { .. } | Warning::KeyMissing { .. }
        )
    }
}

impl fmt::Display for Warning {
    #[expect(
        clippy::too_many_lines,
        reason = "a sentence for each variant, and nothing else"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::InvalidPattern {
                annotation,
                piece,
                error,
            } => write!(
                f,
                "{annotation}: {} is skipped: {error}; write names or Go regular expressions, \
                 separated by commas",
                Shown(piece)
            ),
            Warning::EmptyPattern { annotation } => write!(
                f,
                "{annotation}: an empty name matches nothing; write names separated by single commas"
            ),
            Warning::TooManyPatterns { annotation, limit } => write!(
                f,
                "{annotation}: only the first {limit} regular expressions are used; join some, as in \
                 (a|b), or write plain names, of which there is no limit"
            ),
            Warning::NotABoolean { annotation, value } => write!(
                f,
                "{annotation}: {} counts as false; write \"true\" or \"false\"",
                Shown(value)
            ),
            Warning::NotTrue { annotation, value } => write!(
                f,
                "{annotation}: {} has no effect; write exactly \"true\", or remove it",
                Shown(value)
            ),
            Warning::InvalidDuration {
                annotation,
                value,
                error,
            } => {
                write!(f, "{annotation}: {} is not used: {error}", Shown(value))
            }
            Warning::UnknownStrategy { value } => write!(
                f,
                "{ROLLOUT_STRATEGY}: {} counts as \"rollout\"; write that, or \"restart\"",
                Shown(value)
            ),
            Warning::NamedAndExcluded { source } => write!(
                f,
                "{source} is both named for reload and excluded, so it is excluded; remove it from \
                 one of the lists"
            ),
            Warning::IgnoredOnWorkload { annotation } => write!(
                f,
                "{annotation} has no effect on a workload; put it on the ConfigMap or Secret"
            ),
            Warning::NotOnTemplate { annotation } => write!(
                f,
                "{annotation} has no effect on a pod template; put it on the workload's own metadata"
            ),
            Warning::NotForKind { annotation } => write!(
                f,
                "{annotation} has an effect on Deployments only; remove it"
            ),
            Warning::InvalidName { kind, name } => write!(
                f,
                "no {kind} can be called {}; correct the name in the pod spec",
                Shown(name)
            ),
            Warning::SourceMissing { source } => {
                write!(
                    f,
                    "{source} does not exist; create it, or make the reference optional"
                )
            }
            Warning::KeyMissing { source, key } => write!(
                f,
                "{source} has no key {}; add it, or make the reference optional",
                Shown(key)
            ),
            Warning::ObservedUnreadable { error } => {
                write!(
                    f,
                    "{OBSERVED} cannot be read and is written anew: {error}; do not edit it"
                )
            }
            Warning::StampUnreadable { value } => write!(
                f,
                "{STAMP}: {} was not written by Restamp; remove it from the manifest",
                Shown(value)
            ),
            Warning::ManySources { at_least } => write!(
                f,
                "the annotations select {at_least} sources or more; write narrower patterns, since each \
                 is read when it changes"
            ),
            Warning::StampPutBack => write!(
                f,
                "{STAMP} was put back, and nothing rolls: only Restamp's stamp differed; to undo more, use \
                 kubectl rollout undo --to-revision; if a manifest has the annotation, remove it there"
            ),
            Warning::StampSent => write!(
                f,
                "{STAMP}: what was sent is not used, since Restamp writes it; if a manifest has the \
                 annotation, remove it there"
            ),
            Warning::NoRoom { limit } => write!(
                f,
                "the annotations leave no room for {STAMP} and {OBSERVED}, so they are not written; \
                 remove some: with ours, they may take {limit} bytes"
            ),
        }
    }
}

/// A value in quotes, on one line and not too long.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        let shown: String = chars.by_ref().take(SHOWN_CHARS).collect();
        let ellipsis = if chars.as_str().is_empty() { "" } else { "..." };
        write!(f, "\"{}{ellipsis}\"", shown.escape_debug())
    }
}
