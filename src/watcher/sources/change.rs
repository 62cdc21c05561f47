//! What happens to sources, as the table shows it.

use super::Seq;
use crate::{cluster::source::Version, stamp::source::SourceId};

/// What an event did to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which source.
    pub id: SourceId,
    /// What happened to it.
    pub what: What,
    /// Its version, if it has just appeared after it had not existed, seen without a gap.
    pub appeared: Option<Version>,
}

/// What happened to a source, as the table shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It was not known before.
    Added,
    /// It has another version or other marks.
    Updated {
        /// Whether it is marked to be ignored now.
        ignored: bool,
    },
    /// It is gone.
    Deleted,
}

/// What became of a source since a workload's template was written without it, in a watch without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence<'a> {
    /// Nothing; it has been watched since then.
    Lasting(Seq),
    /// Its first event was that it appeared, at this version, and it was the only one.
    Ended(&'a Version),
}
