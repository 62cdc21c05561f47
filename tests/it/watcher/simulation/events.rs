//! What can happen.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use restamp::stamp::annotations::OBSERVED;
use serde_json::json;
use tokio::time::sleep;

use super::{Simulation, Subject, Weather, World, policy};
use crate::{
    fake_api::{Effect, Key, key},
    watcher::{HOME, installation_key, name},
};

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A source gets other content, or comes to be.
    Change,
    /// A source is deleted and made again, with the same content or another.
    Recreate,
    /// A source is deleted.
    Delete,
    /// A label is put on an object.
    Relabel,
    /// A source gets or loses the label that it is followed by.
    Toggle,
    /// Somebody reads the workload, changes its image, and writes it.
    Deploy,
    /// Somebody writes the workload as his manifest has it, image included.
    Put,
    /// Somebody puts an earlier pod template back.
    Undo,
    /// The workload is deleted and made again.
    Remake,
    /// The installation key is rotated.
    Rotate,
    /// Requests of the watcher fail.
    Fault,
    /// The watcher ends, and starts again.
    Restart,
    /// A watch breaks off.
    Interrupt,
    /// The events of a watch are kept back from now on.
    Hold,
    /// What was kept back is delivered.
    Release,
    /// A read is answered late.
    LateRead,
    /// Nothing happens until all is quiet.
    Rest,
    /// [`Event::Deploy`], past the webhook.
    BlindDeploy,
    /// [`Event::Put`], past the webhook.
    BlindPut,
    /// [`Event::Undo`], past the webhook.
    BlindUndo,
}

impl Event {
    /// Of days on which all is well. What is here twice happens more often.
    pub const CALM: [Self; 12] = [
        Self::Change,
        Self::Change,
        Self::Delete,
        Self::Relabel,
        Self::Deploy,
        Self::Put,
        Self::Put,
        Self::Undo,
        Self::Remake,
        Self::Remake,
        Self::Rotate,
        Self::Rest,
    ];
    /// Of ordinary days. A source that is made again may have been there when a workload was made.
    pub const FAULTS: [Self; 5] = [
        Self::Recreate,
        Self::Fault,
        Self::Fault,
        Self::Restart,
        Self::Interrupt,
    ];
    /// Of writers that the webhook does not see.
    pub const BLIND: [Self; 3] = [Self::BlindDeploy, Self::BlindPut, Self::BlindUndo];
    /// Of days on which labels decide what is followed.
    pub const LABELLED: [Self; 16] = [
        Self::Change,
        Self::Change,
        Self::Toggle,
        Self::Toggle,
        Self::Toggle,
        Self::Relabel,
        Self::Deploy,
        Self::Put,
        Self::Undo,
        Self::Remake,
        Self::Rotate,
        Self::Fault,
        Self::Fault,
        Self::Restart,
        Self::Interrupt,
        Self::Rest,
    ];
    /// Of days on which a source and its workload come and go unseen.
    pub const FOG: [Self; 10] = [
        Self::Change,
        Self::Change,
        Self::Delete,
        Self::Delete,
        Self::Remake,
        Self::Remake,
        Self::Hold,
        Self::Release,
        Self::Interrupt,
        Self::Rest,
    ];
    /// Of bad days.
    pub const LATE: [Self; 5] = [
        Self::Hold,
        Self::Hold,
        Self::Release,
        Self::Release,
        Self::LateRead,
    ];
}

impl Simulation {
    /// What is watched and can be late.
    fn watched(&self) -> [&'static str; 2] {
        ["secrets", self.subject.resource()]
    }

    /// Lets it happen, and says so.
    pub async fn carry_out(mut self, event: Event) -> (Self, String) {
        let what = match event {
            Event::Change => self.change(),
            Event::Recreate => self.recreate().await,
            Event::Delete => self.delete(),
            Event::Relabel => self.relabel(),
            Event::Toggle => self.toggle().await,
            Event::Deploy | Event::BlindDeploy => self.deploy(event == Event::Deploy).await,
            Event::Put | Event::BlindPut => self.put(event == Event::Put).await,
            Event::Undo | Event::BlindUndo => self.undo(event == Event::Undo).await,
            Event::Remake => self.remake().await,
            Event::Rotate => self.rotate().await,
            Event::Fault => self.fault(),
            Event::Interrupt => self.interrupt(),
            Event::Hold => self.hold(),
            Event::Release => {
                self.release();
                String::new()
            }
            Event::LateRead => self.late_read(),
            Event::Rest => {
                self.rest().await;
                String::new()
            }
            Event::Restart => {
                self = self.restart().await;
                String::new()
            }
        };
        (self, format!("{event:?} {what}"))
    }

    async fn rotate(&mut self) -> String {
        let web = self.api().get(&self.subject.key());
        let observed = web
            .as_ref()
            .and_then(|web| web["metadata"]["annotations"][OBSERVED].as_str());
        let current = self.webhook.keyring.get().unwrap().current.id().to_string();
        // Two keys are known at a time: before the next rotation all has to be recorded under the last.
        if !observed.is_some_and(|text| text.contains(&format!("\"key\":\"{current}\""))) {
            return "not now".to_owned();
        }
        self.content += 1;
        let new = STANDARD.encode(format!("{:032}", self.content));
        self.api().edit("admin", &installation_key(), |secret| {
            let old = secret["data"]["key"].take();
            secret["data"] = json!({ "key": new, "previous-key": old });
        });
        // The webhook has the new one by then.
        sleep(Duration::from_millis(11_003)).await;
        String::new()
    }

    fn fault(&mut self) -> String {
        let times = u32::try_from(1 + self.dice.below(4)).unwrap();
        let source = self.dice.pick(self.sources);
        let requests = self.requests(source);
        let (verb, key) = &requests[self.dice.index(requests.len())];
        let mut effects = vec![
            Effect::Refused(500),
            Effect::AnswerLost,
            Effect::Refused(429),
        ];
        if self.weather == Weather::Foul && *verb == "delete" {
            // The watcher may die before it goes on, or find another world.
            effects.push(Effect::AnswerLate(Duration::from_secs(3)));
        }
        let effect = self.dice.pick(&effects);
        self.api().fail(verb, key, times, effect);
        format!("{verb} {key:?} {effect:?} {times} times")
    }

    /// What the watcher asks of the API server while it works.
    fn requests(&self, source: &str) -> Vec<(&'static str, Key)> {
        let web = self.subject.key();
        let jobs = name("jobs", "");
        let mut requests = vec![("patch", web.clone()), ("get", name("secrets", source))];
        match self.subject {
            Subject::Deployment | Subject::Variables | Subject::Rollout => {}
            Subject::CronJob => requests.extend([("get", web), ("create", jobs)]),
            Subject::Job => {
                let stored = self.api().get(&web).unwrap_or_default();
                let uid = stored["metadata"]["uid"].as_str().unwrap_or_default();
                let note = key("secrets", HOME, &format!("restamp-job-{uid}"));
                requests.extend([
                    ("get", web.clone()),
                    ("delete", web),
                    ("create", jobs),
                    ("create", key("secrets", HOME, "")),
                    ("delete", note),
                ]);
            }
        }
        requests
    }

    fn pick_watched(&mut self) -> &'static str {
        let watched = self.watched();
        self.dice.pick(&watched)
    }

    async fn restart(mut self) -> Self {
        let orderly = self.dice.below(2) == 0;
        let api = if orderly {
            self.world.stop().await
        } else {
            self.world.kill().await
        };
        Self {
            world: World::start_with(&api, policy(self.weather, self.subject)).await,
            ..self
        }
    }

    fn interrupt(&mut self) -> String {
        let resource = self.pick_watched();
        let how = self.dice.pick(&["expired", "cut", "cut for long"]);
        match how {
            "expired" => self.api().expire(resource),
            _ => self.api().cut(resource),
        }
        if how == "cut for long" {
            self.api().compact();
        }
        format!("{resource} {how}")
    }

    fn hold(&mut self) -> String {
        let resource = self.pick_watched();
        self.api().hold(resource);
        resource.to_owned()
    }

    /// Lets everything end, and looks what became of the pods. In the fog, what is missing comes to be at last:
    /// whether it is taken for new shows what the watcher made of all that came and went before.
    pub async fn rest(&mut self) {
        self.be_quiet().await;
        self.judge();
        if self.weather == Weather::Fog {
            self.fill();
            sleep(self.weather.quiet()).await;
            self.judge();
        }
    }

    /// Lets everything end.
    pub async fn be_quiet(&mut self) {
        self.api().heal();
        self.release();
        sleep(self.weather.quiet()).await;
    }

    /// Delivers everything that was kept back.
    fn release(&self) {
        for held in self.watched() {
            self.api().release(held);
        }
    }

    fn late_read(&mut self) -> String {
        let (source, by) = (self.dice.pick(self.sources), self.dice.below(9000));
        let late = Effect::AnswerLate(Duration::from_millis(by));
        self.api().fail("get", &name("secrets", source), 1, late);
        format!("{source} {by} ms")
    }
}
