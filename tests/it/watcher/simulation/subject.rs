//! What the histories are about: a workload of some kind, and what has its pods start anew.

use restamp::{
    cluster::FIELD_MANAGER,
    stamp::{
        annotations::{ROLLOUT_STRATEGY, SETTLE},
        settings::ReloadStrategy,
    },
};
use serde_json::{Value, json};

use super::events::Event;
use crate::{
    fake_api::Key,
    watcher::{deployment, name},
};

/// A workload, told of changes in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A Deployment that is stamped.
    Deployment,
    /// A Deployment that is told by Reloader's variables.
    Variables,
    /// A CronJob: a Job runs for each change.
    CronJob,
    /// A Job: it is made again.
    Job,
    /// An Argo Rollout that restarts in place.
    Rollout,
}

impl Subject {
    /// The plural of its kind.
    pub fn resource(self) -> &'static str {
        match self {
            Subject::Deployment | Subject::Variables => "deployments",
            Subject::CronJob => "cronjobs",
            Subject::Job => "jobs",
            Subject::Rollout => "rollouts",
        }
    }

    /// Its name.
    pub fn key(self) -> Key {
        name(self.resource(), "web")
    }

    /// How changes are told.
    pub fn strategy(self) -> ReloadStrategy {
        match self {
            Subject::Variables => ReloadStrategy::Variables,
            _ => ReloadStrategy::Stamp,
        }
    }

    /// The pod template of one.
    pub fn template(self, object: &Value) -> &Value {
        match self {
            Subject::CronJob => &object["spec"]["jobTemplate"]["spec"]["template"],
            _ => &object["spec"]["template"],
        }
    }

    /// The same, to be changed.
    pub fn template_mut(self, object: &mut Value) -> &mut Value {
        match self {
            Subject::CronJob => &mut object["spec"]["jobTemplate"]["spec"]["template"],
            _ => &mut object["spec"]["template"],
        }
    }

    /// The image in its pod template.
    pub fn image_mut(self, object: &mut Value) -> &mut Value {
        &mut self.template_mut(object)["spec"]["containers"][0]["image"]
    }

    /// As its owner has it.
    pub fn manifest(self, sources: &[&str], settle: &str) -> Value {
        let mut web = deployment("web", sources, &[]);
        web["metadata"]["annotations"][SETTLE] = json!(settle);
        let (api_version, kind) = match self {
            Subject::Deployment | Subject::Variables => ("apps/v1", "Deployment"),
            Subject::CronJob => ("batch/v1", "CronJob"),
            Subject::Job => ("batch/v1", "Job"),
            Subject::Rollout => ("argoproj.io/v1alpha1", "Rollout"),
        };
        web["apiVersion"] = json!(api_version);
        web["kind"] = json!(kind);
        if self == Subject::CronJob {
            web["spec"] = json!({ "jobTemplate": { "spec": web["spec"] } });
        }
        if self == Subject::Rollout {
            web["metadata"]["annotations"][ROLLOUT_STRATEGY] = json!("restart");
        }
        web
    }

    /// Whether it can happen to it: the template of a Job cannot be changed.
    pub fn takes(self, event: Event) -> bool {
        let writes = [Event::Deploy, Event::Put, Event::Undo];
        self != Subject::Job || !writes.contains(&event)
    }

    /// Whether a write moved its template, so that pods start anew: a CronJob that we stamp runs by a Job.
    pub fn moves(self, before: &Value, after: &Value, manager: &str) -> bool {
        let is_stamp_only = self == Subject::CronJob && manager == FIELD_MANAGER;
        !is_stamp_only && self.template(before) != self.template(after)
    }
}
