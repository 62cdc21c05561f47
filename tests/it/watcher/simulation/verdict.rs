//! What a history of writes did to the pods.

use std::collections::BTreeMap;

use restamp::stamp::annotations::{OBSERVED, STAMP};
use serde_json::Value;

use super::SOURCES;
use crate::{fake_api::FakeApi, watcher::SHOP};

/// Who writes without asking the webhook.
pub const BLIND: &str = "blind";
/// Who asks it.
pub const USER: &str = "user";

/// What is wrong with a history, and what is not but may look so.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    /// The pods do not run on what is live.
    pub missed: bool,
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
}

/// What each source holds, as pods have it; nothing while they wait for it.
type Contents = BTreeMap<String, Option<Value>>;

#[derive(Default)]
struct Replay {
    live: BTreeMap<String, Value>,
    pods: Contents,
    workload: Option<Value>,
    blind: bool,
    verdict: Verdict,
}

impl Verdict {
    /// Follows the writes: pods start on what is live when their template changes, and those that wait for
    /// a source start with the first content that it has.
    pub fn of(api: &FakeApi) -> Self {
        let mut replay = Replay::default();
        for (key, object) in api.history(SHOP) {
            match &*key.resource {
                "secrets" => replay.source(&key.name, object),
                "deployments" => replay.workload(object),
                _ => {}
            }
        }
        let missed = !replay.are_current();
        Self {
            missed,
            ..replay.verdict
        }
    }
}

impl Replay {
    fn source(&mut self, name: &str, object: Option<Value>) {
        let Some(mut object) = object else {
            self.live.remove(name);
            return;
        };
        let data = object["data"].take();
        if let Some(waiting @ None) = self.pods.get_mut(name) {
            *waiting = Some(data.clone());
        }
        self.live.insert(name.to_owned(), data);
    }

    fn workload(&mut self, object: Option<Value>) {
        let Some(object) = object else {
            self.pods.clear();
            self.workload = None;
            return;
        };
        let before = self.workload.replace(object.clone());
        let forgotten = object["metadata"]["annotations"][OBSERVED].is_null();
        let generation = |object: &Value| object["metadata"]["generation"].clone();
        if before.as_ref().map(generation) == Some(generation(&object)) {
            self.verdict.unrecorded |= forgotten;
            return;
        }
        if let Some(before) = before {
            self.judge(&before, &object);
        }
        self.verdict.unrecorded = forgotten;
        self.blind = last_writer(&object) == BLIND;
        let content = |name: &&str| ((*name).to_owned(), self.live.get(*name).cloned());
        self.pods = SOURCES.iter().map(content).collect();
    }

    /// Pods are restarted.
    fn judge(&mut self, before: &Value, object: &Value) {
        match last_writer(object) {
            USER if bare_template(before) == bare_template(object) => self.verdict.dragged += 1,
            "restamp" if self.are_current() => {
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

    fn are_current(&self) -> bool {
        let is_current = |(name, data): (&String, &Value)| match self.pods.get(name) {
            Some(content) => content.as_ref() == Some(data),
            None => true,
        };
        self.live.iter().all(is_current)
    }
}

fn bare_template(object: &Value) -> Value {
    let mut template = object["spec"]["template"].clone();
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

fn records_an_absence(object: &Value) -> bool {
    let observed = object["metadata"]["annotations"][OBSERVED].as_str();
    let observed: Value = serde_json::from_str(observed.unwrap_or("{}")).unwrap();
    let sources = observed["sources"].as_object().cloned().unwrap_or_default();
    sources.values().any(|entry| entry["digest"].is_null())
}

fn last_writer(object: &Value) -> &str {
    let fields = object["metadata"]["managedFields"].as_array().unwrap();
    let last = fields.iter().max_by_key(|entry| entry["time"].as_str());
    last.unwrap()["manager"].as_str().unwrap()
}

/// The writes of a history, one line each.
pub fn writes(api: &FakeApi) -> String {
    let lines = api.history(SHOP).into_iter().map(|(key, object)| {
        let what = match &object {
            None => "deleted".to_owned(),
            Some(object) if key.resource == "deployments" => workload_in_short(object),
            Some(object) => object["data"].to_string(),
        };
        format!("{}: {what}\n", key.name)
    });
    lines.collect()
}

fn workload_in_short(object: &Value) -> String {
    let (metadata, template) = (&object["metadata"], &object["spec"]["template"]);
    format!(
        "version {} generation {} by {}: {} stamp {} observed {}",
        metadata["resourceVersion"],
        metadata["generation"],
        last_writer(object),
        template["spec"]["containers"][0]["image"],
        template["metadata"]["annotations"][STAMP],
        metadata["annotations"][OBSERVED]
            .as_str()
            .unwrap_or("nothing"),
    )
}
