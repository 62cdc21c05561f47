//! What a history of writes did to the pods.

use std::collections::BTreeMap;

use jiff::Timestamp;
use restamp::{
    cluster::FIELD_MANAGER,
    stamp::annotations::{OBSERVED, STAMP},
};
use serde_json::Value;

use super::{SOURCES, subject::Subject};
use crate::{
    fake_api::{FakeApi, Past},
    watcher::SHOP,
};

/// Who writes without asking the webhook.
pub const BLIND: &str = "blind";
/// Who asks it.
pub const USER: &str = "user";

/// What is wrong with a history, and what is not but may look so.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    /// The pods do not run on what is live.
    pub missed: bool,
    /// The workload is gone.
    pub lost: bool,
    /// Since they started, their workload was stored without any memory.
    pub unrecorded: bool,
    /// Times that the watcher restarted pods which ran on what was live.
    pub needless: u32,
    /// As `needless`, after a write that went past the webhook.
    pub after_blind: u32,
    /// As `needless`, when a source was recorded as absent: in doubt, what came may have come twice.
    pub doubtful: u32,
    /// Times that a write rolled pods out which without Restamp would not have.
    pub dragged: u32,
    /// Times that the watcher rolled out what is to restart in place.
    pub rolled: u32,
}

/// What each source holds, as pods have it; nothing while they wait for it.
type Contents = BTreeMap<String, Option<Value>>;

struct Replay {
    subject: Subject,
    live: BTreeMap<String, Value>,
    pods: Contents,
    /// What Restamp can know them to have: with variables nothing tells it what a deploy started with, and a restart in
    /// place and a Job come later than they are decided.
    told: Contents,
    workload: Option<Value>,
    /// When its pods started.
    started: Timestamp,
    /// When they are to be restarted in place.
    due: Option<Timestamp>,
    blind: bool,
    verdict: Verdict,
}

impl Verdict {
    /// Follows the writes: pods start on what is live when their template changes, and those that wait for
    /// a source start with the first content that it has.
    pub fn of(api: &FakeApi, subject: Subject) -> Self {
        let mut replay = Replay::of(subject);
        for past in api.history(SHOP) {
            replay.time_passes(past.at);
            match &*past.key.resource {
                "secrets" => replay.source(&past.key.name, past.object),
                resource if resource == subject.resource() => replay.workload(past),
                "jobs" if subject == Subject::CronJob => replay.run(past.at),
                _ => {}
            }
        }
        replay.time_passes(Timestamp::MAX);
        Self {
            missed: !replay.are_current(&replay.pods),
            lost: replay.workload.is_none(),
            ..replay.verdict
        }
    }
}

impl Replay {
    fn of(subject: Subject) -> Self {
        Self {
            subject,
            live: BTreeMap::new(),
            pods: Contents::new(),
            told: Contents::new(),
            workload: None,
            started: Timestamp::MIN,
            due: None,
            blind: false,
            verdict: Verdict::default(),
        }
    }

    fn source(&mut self, name: &str, object: Option<Value>) {
        let Some(mut object) = object else {
            self.live.remove(name);
            return;
        };
        let data = object["data"].take();
        for contents in [&mut self.pods, &mut self.told] {
            if let Some(waiting @ None) = contents.get_mut(name) {
                *waiting = Some(data.clone());
            }
        }
        self.live.insert(name.to_owned(), data);
    }

    fn workload(&mut self, past: Past) {
        let Past {
            object,
            manager,
            at,
            ..
        } = past;
        let Some(object) = object else {
            self.deleted(&manager);
            return;
        };
        let before = self.workload.replace(object.clone());
        let forgotten = object["metadata"]["annotations"][OBSERVED].is_null();
        let is_moved = |before| self.subject.moves(before, &object, &manager);
        if before.as_ref().is_none_or(is_moved) {
            if let Some(before) = &before {
                self.judge(before, &object, &manager);
            }
            self.verdict.unrecorded = forgotten;
            self.blind = manager == BLIND;
            self.start(at);
            let ours = manager == FIELD_MANAGER;
            let is_known = match self.subject {
                Subject::Variables => before.is_none() || ours,
                // What it was to start with was decided when the one before it was deleted.
                Subject::Job => !ours,
                _ => true,
            };
            if is_known {
                self.told.clone_from(&self.pods);
            }
        } else if forgotten {
            self.verdict.unrecorded = true;
        } else if self.are_current(&self.pods) {
            self.verdict.unrecorded = false;
        }
        if self.subject == Subject::Rollout {
            self.restart_in_place(before.as_ref(), &object, &manager);
        }
        self.time_passes(at);
    }

    /// As Argo restarts the pods of a Rollout: later than they were told of a change.
    fn restart_in_place(&mut self, before: Option<&Value>, object: &Value, manager: &str) {
        let is_ours = |before: &&Value| self.subject.moves(before, object, manager);
        if manager == FIELD_MANAGER && before.filter(is_ours).is_some() {
            self.verdict.rolled += 1;
        }
        let restart_at = |object: &Value| object["spec"]["restartAt"].clone();
        let asked = restart_at(object);
        if before.map(restart_at).unwrap_or_default() != asked {
            if let Some(before) = before {
                self.judge(before, object, manager);
            }
            self.due = asked.as_str().map(|at| at.parse().unwrap());
            if manager == FIELD_MANAGER {
                self.told = self.contents();
            }
        }
    }

    /// Pods that are older are restarted when that is due. The API server keeps whole seconds.
    fn time_passes(&mut self, now: Timestamp) {
        if let Some(due) = self.due.take_if(|due| *due <= now)
            && self.started.as_second() < due.as_second()
        {
            self.start(due);
        }
    }

    fn start(&mut self, at: Timestamp) {
        self.pods = self.contents();
        self.started = at;
    }

    fn contents(&self) -> Contents {
        let content = |name: &&str| ((*name).to_owned(), self.live.get(*name).cloned());
        SOURCES.iter().map(content).collect()
    }

    /// A Job of a CronJob is made.
    fn run(&mut self, at: Timestamp) {
        if let Some(cron_job) = self.workload.clone() {
            self.judge(&cron_job, &cron_job, FIELD_MANAGER);
        }
        self.start(at);
        self.told.clone_from(&self.pods);
    }

    fn deleted(&mut self, manager: &str) {
        if let Some(before) = self.workload.take() {
            self.judge(&before, &before, manager);
        }
        if manager == FIELD_MANAGER {
            self.told = self.contents();
        }
        self.pods.clear();
        self.due = None;
    }

    /// Pods are restarted.
    fn judge(&mut self, before: &Value, object: &Value, manager: &str) {
        let (before_bare, bare) = (self.bare_template(before), self.bare_template(object));
        match manager {
            USER if before != object && before_bare == bare => self.verdict.dragged += 1,
            FIELD_MANAGER if self.are_current(&self.told) => {
                let count = if self.blind {
                    &mut self.verdict.after_blind
                } else if records_an_absence(before) {
                    &mut self.verdict.doubtful
                } else {
                    &mut self.verdict.needless
                };
                *count += 1;
            }
            _ => {}
        }
    }

    fn are_current(&self, contents: &Contents) -> bool {
        let is_current = |(name, data): (&String, &Value)| match contents.get(name) {
            Some(content) => content.as_ref() == Some(data),
            None => true,
        };
        self.live.iter().all(is_current)
    }

    fn bare_template(&self, object: &Value) -> Value {
        let mut template = self.subject.template(object).clone();
        if let Some(annotations) = template["metadata"]["annotations"].as_object_mut() {
            annotations.remove(STAMP);
            if annotations.is_empty() {
                template["metadata"]
                    .as_object_mut()
                    .unwrap()
                    .remove("annotations");
            }
        }
        template
    }
}

fn records_an_absence(object: &Value) -> bool {
    let observed = object["metadata"]["annotations"][OBSERVED].as_str();
    let observed: Value = serde_json::from_str(observed.unwrap_or("{}")).unwrap();
    let sources = observed["sources"].as_object().cloned().unwrap_or_default();
    sources.values().any(|entry| entry["digest"].is_null())
}

/// The writes of a history, one line each.
pub fn writes(api: &FakeApi, subject: Subject) -> String {
    let lines = api.history(SHOP).into_iter().map(|past| {
        let what = match &past.object {
            None => "deleted".to_owned(),
            Some(object) if past.key.resource == "secrets" => object["data"].to_string(),
            Some(object) if past.key == subject.key() => workload_in_short(object, subject),
            Some(_) => "written".to_owned(),
        };
        let Past {
            key, manager, at, ..
        } = past;
        format!("{at} {} {} by {manager}: {what}\n", key.resource, key.name)
    });
    lines.collect()
}

fn workload_in_short(object: &Value, subject: Subject) -> String {
    let (metadata, template) = (&object["metadata"], subject.template(object));
    format!(
        "version {} generation {}: {} stamp {} restart at {} observed {}",
        metadata["resourceVersion"],
        metadata["generation"],
        template["spec"]["containers"][0]["image"],
        template["metadata"]["annotations"][STAMP],
        object["spec"]["restartAt"],
        metadata["annotations"][OBSERVED]
            .as_str()
            .unwrap_or("nothing"),
    )
}
