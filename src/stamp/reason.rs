//! Why something is done or left alone: one word for each, in logs, metrics, Events and answers.

use std::fmt;

/// Why a workload is left alone, recorded or restamped, and what becomes of one that is being written.
/// Feeds log, metric, Event, admission and `explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No annotation asks for it.
    NotOptedIn,
    /// Its namespace is not among those that are followed.
    NamespaceNotSelected,
    /// Opted in, but it uses no source that its annotations select.
    NoSources,
    /// Every recorded digest is the live one.
    Current,
    /// A source cannot be read, and without it nothing can be compared.
    Unreadable,
    /// Nothing was recorded, so the live content is taken for what the pods run; that may be wrong.
    AdoptedUnverified,
    /// Nothing was recorded, but the template's own stamp proves the live content.
    StampVerified,
    /// A source or key came into use or went out of use, by a change of the template or annotations.
    ReferencesChanged,
    /// A source that did not exist appeared, and nothing can have started without it.
    SourceArrived,
    /// Pods started on other content of a SecretProviderClass than was recorded, and none had it change while it ran.
    PodsStarted,
    /// The installation key was rotated; the content is the same.
    Rekeyed,
    /// A source has other content than the running template started with.
    ContentChanged,
    /// A source changed, and none of its pods run.
    Suspended,
    /// It has finished, has no pod template of its own, or another controller looks after it.
    Over,
    /// Some writer put another stamp, or none, on the template.
    TemplateMoved,
    /// Nothing was recorded, and the template's stamp is not the live one.
    StampDiffers,
    /// Its pods start anew with this write, on the live content.
    Deployed,
    /// A writer left out or altered what Restamp had written, and it was put back.
    CarriedOver,
    /// A write that leaves alone what Restamp had written.
    Untouched,
    /// Restamp's own write.
    OwnWrite,
    /// The annotations would become larger than the API server takes.
    NoRoom,
    /// Not a write of a kind of workload that Restamp looks after, or one that it cannot read.
    NotAWorkload,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 22] = [
        Reason::NotOptedIn,
        Reason::NamespaceNotSelected,
        Reason::NoSources,
        Reason::Current,
        Reason::Unreadable,
        Reason::AdoptedUnverified,
        Reason::StampVerified,
        Reason::ReferencesChanged,
        Reason::SourceArrived,
        Reason::PodsStarted,
        Reason::Rekeyed,
        Reason::ContentChanged,
        Reason::Suspended,
        Reason::Over,
        Reason::TemplateMoved,
        Reason::StampDiffers,
        Reason::Deployed,
        Reason::CarriedOver,
        Reason::Untouched,
        Reason::OwnWrite,
        Reason::NoRoom,
        Reason::NotAWorkload,
    ];

    /// The name in logs, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NotOptedIn => "NotOptedIn",
            Reason::NamespaceNotSelected => "NamespaceNotSelected",
            Reason::NoSources => "NoSources",
            Reason::Current => "Current",
            Reason::Unreadable => "Unreadable",
            Reason::AdoptedUnverified => "AdoptedUnverified",
            Reason::StampVerified => "StampVerified",
            Reason::ReferencesChanged => "ReferencesChanged",
            Reason::SourceArrived => "SourceArrived",
            Reason::PodsStarted => "PodsStarted",
            Reason::Rekeyed => "Rekeyed",
            Reason::ContentChanged => "ContentChanged",
            Reason::Suspended => "Suspended",
            Reason::Over => "Over",
            Reason::TemplateMoved => "TemplateMoved",
            Reason::StampDiffers => "StampDiffers",
            Reason::Deployed => "Deployed",
            Reason::CarriedOver => "CarriedOver",
            Reason::Untouched => "Untouched",
            Reason::OwnWrite => "OwnWrite",
            Reason::NoRoom => "NoRoom",
            Reason::NotAWorkload => "NotAWorkload",
        }
    }

    /// One sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Reason::NotOptedIn => "no annotation asks for restarts",
            Reason::NamespaceNotSelected => "its namespace is not among those that are followed",
            Reason::NoSources => "it uses no source that its annotations select",
            Reason::Current => "it runs on the live content",
            Reason::Unreadable => "a source cannot be read, and without it nothing can be compared",
            Reason::AdoptedUnverified => {
                "nothing was recorded, so the live content is taken for what its pods run on"
            }
            Reason::StampVerified => "nothing was recorded, but its stamp matches the live content",
            Reason::ReferencesChanged => "it came to use other sources or keys",
            Reason::SourceArrived => "a source that did not exist has appeared",
            Reason::PodsStarted => "pods started on other content of a SecretProviderClass",
            Reason::Rekeyed => "the installation key was rotated; the content is the same",
            Reason::ContentChanged => "a source changed since its pods started",
            Reason::Suspended => "a source changed, and none of its pods run",
            Reason::Over => {
                "it has finished, has no pod template of its own, or another controller looks after it"
            }
            Reason::TemplateMoved => "a writer changed or removed the stamp on its pod template",
            Reason::StampDiffers => {
                "nothing was recorded, and its stamp does not match the live content"
            }
            Reason::Deployed => "its pods start anew with this write, on the live content",
            Reason::CarriedOver => {
                "a writer left out or altered what Restamp had written, and it was put back"
            }
            Reason::Untouched => "the write leaves alone what Restamp had written",
            Reason::OwnWrite => "it is Restamp's own write",
            Reason::NoRoom => "its annotations would become larger than the API server takes",
            Reason::NotAWorkload => {
                "it is not a write of a kind of workload that Restamp looks after"
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
