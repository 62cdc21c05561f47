//! Whether there is anything about a workload that can start anew.

use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::cluster::kind::WorkloadKind;

/// Conditions of a Job that has finished, or is about to.
const LAST_CONDITIONS: [&str; 4] = ["Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"];

/// Whether a workload has pods that can start anew, or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It has.
    Lasting,
    /// A Job that runs nothing until somebody resumes it.
    Suspended,
    /// A Job that has finished, or that another controller looks after, such as that of CronJobs; or what has no pod
    /// template of its own, such as a Rollout that takes that of a Deployment.
    Over,
}

impl Life {
    pub(super) fn of(kind: &WorkloadKind, object: &DynamicObject, has_template: bool) -> Self {
        if !has_template {
            return Life::Over;
        }
        if !kind.is_made_again() {
            return Life::Lasting;
        }
        let owners = object.metadata.owner_references.iter().flatten();
        let is_owned = owners
            .into_iter()
            .any(|owner| owner.controller == Some(true));
        let conditions = object.data.pointer("/status/conditions");
        let conditions = conditions.and_then(Value::as_array).into_iter().flatten();
        let is_finished = conditions.into_iter().any(|it| {
            let is_last = LAST_CONDITIONS.contains(&it["type"].as_str().unwrap_or_default());
            is_last && it["status"] == "True"
        });
        let is_going = object.metadata.deletion_timestamp.is_some();
        if is_owned || is_finished || is_going {
            Life::Over
        } else if object.data.pointer("/spec/suspend") == Some(&json!(true)) {
            Life::Suspended
        } else {
            Life::Lasting
        }
    }
}
