//! What people and their tools do.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    SOURCES, Simulation, Weather,
    verdict::{BLIND, USER},
};
use crate::watcher::{SHOP, name, secret};

impl Simulation {
    /// A source gets content that it never had.
    pub fn change(&mut self) -> String {
        let source = self.dice.pick(self.sources);
        if self.is_left_out(source) {
            return format!("not {source}");
        }
        self.give(source);
        format!("{source} to {}", self.content)
    }

    /// Every source that is missing gets content that it never had.
    pub fn fill(&mut self) {
        for source in self.sources {
            if self.api().get(&name("secrets", source)).is_none() {
                self.give(source);
            }
        }
    }

    fn give(&mut self, source: &str) {
        self.content += 1;
        let content = secret(source, &self.content.to_string());
        self.api().put(USER, &content);
    }

    /// A source is deleted, and made again after a while.
    pub async fn recreate(&mut self) -> String {
        let source = self.dice.pick(self.sources);
        let stored = self.api().get(&name("secrets", source));
        self.api().delete(&name("secrets", source));
        let pause = self.dice.pick(&[3, 1500, 7300]);
        sleep(Duration::from_millis(pause)).await;
        self.content += 1;
        let mut again = secret(source, &self.content.to_string());
        if let (Some(stored), 0) = (stored, self.dice.below(2)) {
            again["data"] = stored["data"].clone();
        }
        self.api().put(USER, &again);
        format!("{source} after {pause} ms with {}", again["data"]["value"])
    }

    /// A source is deleted.
    pub fn delete(&mut self) -> String {
        let source = self.dice.pick(self.sources);
        self.api().delete(&name("secrets", source));
        source.to_owned()
    }

    /// A label is put on an object.
    pub fn relabel(&mut self) -> String {
        let label = self.dice.below(1000).to_string();
        let object = self.dice.pick(&[
            ("secrets", "login"),
            ("secrets", "mail"),
            (self.subject.resource(), "web"),
        ]);
        let key = name(object.0, object.1);
        if self.api().get(&key).is_some() {
            self.api().edit(USER, &key, |it| {
                it["metadata"]["labels"] = json!({ "a": label });
            });
        }
        object.1.to_owned()
    }

    /// A source gets or loses the label that it is followed by. It loses it once nothing is left to do for it: what
    /// changes just before that is seen when it has the label again.
    pub async fn toggle(&mut self) -> String {
        let source = self.dice.pick(self.sources);
        let leaves = !self.is_left_out(source);
        if leaves {
            self.be_quiet().await;
        }
        self.api().edit(USER, &name("secrets", source), |secret| {
            let label = if leaves { json!("no") } else { json!("yes") };
            secret["metadata"]["labels"] = json!({ "follow": label });
        });
        let what = if leaves { "left out" } else { "followed" };
        format!("{source} is {what}")
    }

    fn is_left_out(&self, source: &str) -> bool {
        let secret = self.api().get(&name("secrets", source));
        secret.is_some_and(|secret| secret["metadata"]["labels"]["follow"] == "no")
    }

    /// Somebody reads the workload, changes its image, and writes it.
    pub async fn deploy(&mut self, seen: bool) -> String {
        let (subject, new) = (self.subject, self.next_image());
        let next = |stored: Option<&Value>| {
            let mut next = stored.unwrap().clone();
            *subject.image_mut(&mut next) = json!(new);
            next
        };
        self.write(seen, next).await;
        new
    }

    /// Somebody writes the workload as his manifest has it. When it restarts in place is not in there, and stays.
    pub async fn put(&mut self, seen: bool) -> String {
        let (subject, sources, settle) = (self.subject, self.sources, self.settle);
        let new = self.dice.below(2) == 0;
        let new = new.then(|| self.next_image());
        let next = |stored: Option<&Value>| {
            let (mut stored, mut next) =
                (stored.unwrap().clone(), subject.manifest(sources, settle));
            *subject.image_mut(&mut next) = match &new {
                Some(new) => json!(new),
                None => subject.image_mut(&mut stored).take(),
            };
            if let Some(at) = stored["spec"].get("restartAt") {
                next["spec"]["restartAt"] = at.clone();
            }
            next
        };
        self.write(seen, next).await;
        new.unwrap_or_else(|| "with the same image".to_owned())
    }

    /// Somebody puts an earlier pod template back, stamp and all.
    pub async fn undo(&mut self, seen: bool) -> String {
        let (subject, history) = (self.subject, self.api().history(SHOP));
        let workloads = history.into_iter().filter(|past| past.key == subject.key());
        let workloads: Vec<_> = workloads.filter_map(|past| past.object).collect();
        let earlier = self.dice.index(workloads.len());
        let template = subject.template(&workloads[earlier]);
        let next = |stored: Option<&Value>| {
            let mut next = stored.unwrap().clone();
            *subject.template_mut(&mut next) = template.clone();
            next
        };
        self.write(seen, next).await;
        format!("to state {earlier} of {}", workloads.len())
    }

    /// The workload is deleted, and made again from its manifest.
    pub async fn remake(&mut self) -> String {
        let new = self.next_image();
        self.api().delete(&self.subject.key());
        let pause = self.dice.pick(&[0, 700]);
        sleep(Duration::from_millis(pause)).await;
        let mut next = self.subject.manifest(self.sources, self.settle);
        *self.subject.image_mut(&mut next) = json!(new);
        self.create(&next).await;
        let missing = SOURCES.map(|source| self.api().get(&name("secrets", source)).is_none());
        format!("after {pause} ms; missing sources: {missing:?}")
    }

    /// An image that never was.
    fn next_image(&mut self) -> String {
        self.content += 1;
        format!("web:{}", self.content)
    }

    /// Somebody writes the workload, past the webhook if that has not `seen` it.
    async fn write(&self, seen: bool, make: impl Fn(Option<&Value>) -> Value) {
        let api = self.api();
        if !seen {
            let stored = api.get(&self.subject.key());
            api.put(BLIND, &make(stored.as_ref()));
            return;
        }
        self.heal_webhook();
        let key = self.subject.key();
        self.webhook.write(&api, USER, &key, make).await;
    }

    /// Somebody makes the workload, and deletes what else has made it meanwhile.
    async fn create(&self, manifest: &Value) {
        let (api, key) = (self.api(), self.subject.key());
        self.heal_webhook();
        loop {
            api.delete(&key);
            let admitted = self.webhook.admit(manifest, None).await;
            if api.get(&key).is_none() {
                api.put(USER, &admitted.object);
                return;
            }
        }
    }

    /// A webhook that cannot read is as good as none.
    fn heal_webhook(&self) {
        if self.weather != Weather::Foul {
            self.api().heal();
        }
    }
}
