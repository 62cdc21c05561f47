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
            (
                Self::JobThatIsOver,
                workload.id.kind.is_made_again() && workload.life == Life::Over,
            ),
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

    use serde_json::Value;

    use super::*;
    use crate::{
        cluster::kind::KINDS,
        stamp::{
            annotations::{AUTO, CONFIG_MAP_RELOAD, PAUSE_PERIOD, PAUSED_AT},
            references::{Listed, resolve},
            settings::PolicySettings,
        },
    };

    /// What is different for a workload of a kind that has these fields; `of_reloader` says whether Reloader follows
    /// Argo Rollouts and SecretProviderClasses.
    fn found(kind: &str, fields: &Value, of_reloader: (bool, bool)) -> Vec<Difference> {
        let kind = KINDS.iter().find(|known| known.kind == kind).unwrap();
        let mut object = json!({
            "apiVersion": "v1", "kind": kind.kind,
            "metadata": { "namespace": "shop", "name": "web", "annotations": { AUTO: "true" } },
        });
        let pod = json!({ "spec": { "containers": [{ "name": "app" }] } });
        let below = |value: Value, field: &&str| json!({ *field: value });
        let template = kind.template.iter().rev().fold(pod, below);
        json_patch::merge(&mut object, &template);
        json_patch::merge(&mut object, fields);
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let settings = PolicySettings::default();
        let workload = Workload::parse(kind, &object, &settings).unwrap();
        let (facts, nothing) = (&workload.facts, BTreeMap::new());
        let nothing = Listed {
            rows: &nothing,
            settings: &settings,
        };
        let references = resolve(&facts.policy, &facts.usages, &nothing, None);
        Difference::of(&workload, &object, &references, of_reloader)
    }

    fn template(pod: &Value) -> Value {
        json!({ "spec": { "template": { "spec": pod } } })
    }

    #[test]
    fn a_class_is_new_only_where_reloader_was_not_told_to_follow_classes() {
        let attributes = json!({ "secretProviderClass": "vault" });
        let uses_class = template(&json!({
            "volumes": [{ "name": "v", "csi": { "volumeAttributes": attributes } }],
            "containers": [{ "name": "app", "volumeMounts": [{ "name": "v" }] }],
        }));
        let found = |classes| found("Deployment", &uses_class, (true, classes));
        assert_eq!(found(false), [Difference::NewlyFollowedClass]);
        assert_eq!(found(true), []);
    }

    #[test]
    fn each_difference_is_told_of_the_workloads_that_have_it() {
        use Difference::*;
        let annotated =
            |key: &str, value: &str| json!({ "metadata": { "annotations": { key: value } } });
        let mut paused = annotated(PAUSED_AT, "2020-01-01T00:00:00Z");
        paused["spec"] = json!({ "paused": true });
        let suspended = json!({ "spec": { "suspend": true } });
        let complete = json!({ "type": "Complete", "status": "True" });
        let over = json!({ "status": { "conditions": [complete] } });
        let both = ["a-b", "a.b"].map(|name| json!({ "configMapRef": { "name": name } }));
        let one_variable = template(&json!({ "containers": [{ "name": "app", "envFrom": both }] }));
        for (kind, fields, expected) in [
            ("Deployment", json!({}), None),
            ("Deployment", paused, Some(LeftPaused)),
            (
                "Deployment",
                annotated(PAUSE_PERIOD, "5m"),
                Some(PausePeriod),
            ),
            ("StatefulSet", annotated(PAUSE_PERIOD, "5m"), Some(Mistake)),
            ("CronJob", suspended.clone(), Some(SuspendedCronJob)),
            ("Job", suspended, Some(SuspendedJob)),
            ("Job", over, Some(JobThatIsOver)),
            ("Rollout", json!({}), Some(NewlyFollowed)),
            ("DeploymentConfig", json!({}), Some(NewlyFollowed)),
            ("DaemonSet", one_variable, Some(OneVariable)),
            (
                "DaemonSet",
                annotated(CONFIG_MAP_RELOAD, "("),
                Some(Mistake),
            ),
        ] {
            let expected: Vec<_> = expected.into_iter().collect();
            assert_eq!(
                found(kind, &fields, (false, false)),
                expected,
                "{kind} {fields}"
            );
        }
        assert_eq!(found("Rollout", &json!({}), (true, false)), []);
    }
}
