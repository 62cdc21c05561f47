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
    NewlyFollowedClass,
    OneVariable,
    Mistake,
}

impl Difference {
    /// Those of a workload that has these references; `rollouts` and `classes` say whether Reloader follows
    /// Argo Rollouts and SecretProviderClasses.
    pub(super) fn of(
        workload: &Workload,
        object: &DynamicObject,
        references: &References,
        (rollouts, classes): (bool, bool),
    ) -> Vec<Self> {
        let uses_class = references.keys().any(|source| !source.kind.is_core());
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
            (Self::NewlyFollowedClass, uses_class && !classes),
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
            Self::NewlyFollowedClass => {
                "Reloader does not follow its SecretProviderClasses here; Restamp does"
            }
            Self::OneVariable => {
                "two of its sources have the same variable, so Reloader can miss a change; Restamp does not"
            }
            Self::Mistake => {
                "something in its annotations cannot be followed, by neither; `restamp explain` says what"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        cluster::kind::KINDS,
        stamp::{
            annotations::AUTO,
            references::{Listed, resolve},
            settings::PolicySettings,
        },
    };

    #[test]
    fn a_class_is_new_only_where_reloader_was_not_told_to_follow_classes() {
        let attributes = json!({ "secretProviderClass": "vault" });
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "namespace": "shop", "name": "web", "annotations": { AUTO: "true" } },
            "spec": { "template": { "spec": {
                "volumes": [{ "name": "v", "csi": { "volumeAttributes": attributes } }],
                "containers": [{ "name": "app", "volumeMounts": [{ "name": "v" }] }],
            }}},
        });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let workload = Workload::parse(&KINDS[0], &object, &PolicySettings::default()).unwrap();
        let (facts, nothing, settings) =
            (&workload.facts, BTreeMap::new(), PolicySettings::default());
        let nothing = Listed {
            rows: &nothing,
            settings: &settings,
        };
        let references = resolve(&facts.policy, &facts.usages, &nothing, None);
        let found = |classes| Difference::of(&workload, &object, &references, (true, classes));
        assert_eq!(found(false), [Difference::NewlyFollowedClass]);
        assert_eq!(found(true), []);
    }
}
