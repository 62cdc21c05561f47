//! What will be different for single workloads.

use kube::api::DynamicObject;
use serde_json::json;

use crate::{
    cluster::{
        kind::Restart,
        workload::{Life, Workload},
    },
    stamp::{references::References, reloader::variable},
};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Difference {
    LeftPaused,
    PausePeriod,
    SuspendedCronJob,
    JobThatIsOver,
    SuspendedJob,
    NewlyFollowed,
    OneVariable,
    Mistake,
}

impl Difference {
    /// Those of a workload that has these references; `rollouts` says whether Reloader follows Argo Rollouts.
    pub(super) fn of(
        workload: &Workload,
        object: &DynamicObject,
        references: &References,
        rollouts: bool,
    ) -> Vec<Self> {
        let is_suspended = object.data.pointer("/spec/suspend") == Some(&json!(true));
        let is_new_to_reloader = match workload.id.kind.kind {
            "Rollout" => !rollouts,
            _ => !workload.id.kind.is_built_in,
        };
        let names: Vec<_> = references.keys().map(variable).collect();
        let has_twice = |name: &&String| names.iter().filter(|it| it == name).count() > 1;
        let found = [
            (Self::LeftPaused, workload.left_paused.is_some()),
            (Self::PausePeriod, workload.pause_period().is_some()),
            (
                Self::SuspendedCronJob,
                workload.id.kind.restart == Restart::Job && is_suspended,
            ),
            (Self::JobThatIsOver, workload.life == Life::Over),
            (Self::SuspendedJob, workload.life == Life::Suspended),
            (Self::NewlyFollowed, is_new_to_reloader),
            (Self::OneVariable, names.iter().any(|name| has_twice(&name))),
            (Self::Mistake, !workload.facts.warnings.is_empty()),
        ];
        let found = found.into_iter().filter(|(_, applies)| *applies);
        found.map(|(difference, _)| difference).collect()
    }

    /// For people.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::LeftPaused => {
                "Reloader has paused it and did not resume it yet; Restamp does when its pause period is over"
            }
            Self::PausePeriod => {
                "the first change restarts it at once, further ones wait for the pause period; spec.paused is never set"
            }
            Self::SuspendedCronJob => "a change does not run it while it is suspended",
            Self::JobThatIsOver => {
                "a change does not run it again: it has finished, or another controller looks after it"
            }
            Self::SuspendedJob => "a change does not make it again while it is suspended",
            Self::NewlyFollowed => "Reloader does not follow this kind here; Restamp does",
            Self::OneVariable => {
                "two of its sources have the same variable, so Reloader can miss a change; Restamp does not"
            }
            Self::Mistake => {
                "something in its annotations cannot be followed, by neither; `restamp explain` says what"
            }
        }
    }
}
