//! P1 and P2 under random histories: changes, deploys, faults, crashes, late and lost events, conflicts.
//!
//! Each history is a seed, so that a failure can be run again: `SIMULATE=SEED cargo test simulation`.

use std::{env, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{World, deployment, name, secret, stamp_as_webhook, world::SHOP};
use crate::fake_api::{Effect, FakeApi};

/// How many histories of each sort are run, unless one is asked for.
const SEEDS: u64 = 60;
/// After this time everything that is under way has ended, the longest pauses included.
const QUIET: Duration = Duration::from_secs(1200);

/// Xorshift: the same numbers for the same seed, on every machine.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// Which things happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Changes, deploys, crashes, faults: nothing may be missed, and nothing needless done.
    Fair,
    /// Late watches and late reads, too. A change that comes and goes meanwhile may cost a rollout, so
    /// only what is missed counts.
    Foul,
}

struct Simulation {
    dice: Dice,
    world: World,
    content: u64,
    trace: Vec<String>,
}

impl Simulation {
    async fn start(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut web = deployment("web", &["login"], &[]);
        web["metadata"]["annotations"]["restamp.dev/settle"] = json!(dice.pick(&["0s", "2s"]));
        let world = World::with(&[secret("login", "0"), web]).await;
        Self {
            dice,
            world,
            content: 0,
            trace: Vec::new(),
        }
    }

    fn api(&self) -> FakeApi {
        self.world.api.clone()
    }

    fn live(&self) -> Value {
        secret("login", &self.content.to_string())
    }

    /// One thing happens, and then some time passes: never a whole number of seconds, since a retry that
    /// falls on the very instant of a change is a race that nobody can win.
    async fn act(mut self, weather: Weather) -> Self {
        let actions = if weather == Weather::Fair { 8 } else { 11 };
        let what = match self.dice.below(actions) {
            0 | 1 => self.change(),
            2 => self.recreate().await,
            3 => self.relabel(),
            4 => self.deploy().await,
            5 => self.fault(),
            6 => {
                self = self.restart().await;
                "restart"
            }
            7 => self.interrupt(),
            8 => {
                self.api().hold(self.resource());
                "hold"
            }
            9 => {
                self.release();
                "release"
            }
            _ => self.late_read(),
        };
        let pause = self.dice.pick(&[0, 100, 1000, 2500, 20_000]) + self.dice.below(97) + 1;
        self.trace.push(format!("{what}, then {pause} ms"));
        sleep(Duration::from_millis(pause)).await;
        self
    }

    fn change(&mut self) -> &'static str {
        self.content += 1;
        self.api().put("user", &self.live());
        "change"
    }

    async fn recreate(&mut self) -> &'static str {
        self.api().delete(&name("secrets", "login"));
        sleep(Duration::from_millis(self.dice.pick(&[3, 1500, 7300]))).await;
        self.api().put("user", &self.live());
        "re-create with the same content"
    }

    fn relabel(&mut self) -> &'static str {
        let label = self.dice.below(1000).to_string();
        let object = self
            .dice
            .pick(&[("secrets", "login"), ("deployments", "web")]);
        let key = name(object.0, object.1);
        self.api().edit("user", &key, |it| {
            it["metadata"]["labels"] = json!({ "a": label })
        });
        "relabel"
    }

    async fn deploy(&mut self) -> &'static str {
        let api = self.api();
        api.heal();
        let mut web = api.get(&name("deployments", "web")).unwrap();
        let image = format!("app:{}", self.dice.below(1_000_000));
        web["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        stamp_as_webhook(&api, &mut web).await;
        api.put("user", &web);
        "deploy through the webhook"
    }

    fn fault(&mut self) -> &'static str {
        let times = u32::try_from(1 + self.dice.below(4)).unwrap();
        let (verb, key) = if self.dice.below(2) == 0 {
            ("patch", name("deployments", "web"))
        } else {
            ("get", name("secrets", "login"))
        };
        let effect = self.dice.pick(&[
            Effect::Refused(500),
            Effect::AnswerLost,
            Effect::Refused(429),
        ]);
        self.api().fail(verb, &key, times, effect);
        "faults"
    }

    async fn restart(mut self) -> Self {
        let orderly = self.dice.below(2) == 0;
        let api = if orderly {
            self.world.stop().await
        } else {
            self.world.kill().await
        };
        Self {
            world: World::start(&api).await,
            ..self
        }
    }

    fn interrupt(&mut self) -> &'static str {
        let resource = self.resource();
        if self.dice.below(2) == 0 {
            self.api().expire(resource);
        } else {
            self.api().cut(resource);
            self.api().compact();
        }
        "interrupt a watch"
    }

    fn late_read(&mut self) -> &'static str {
        let by = Duration::from_millis(self.dice.below(9000));
        self.api()
            .fail("get", &name("secrets", "login"), 1, Effect::AnswerLate(by));
        "a late read"
    }

    fn resource(&mut self) -> &'static str {
        self.dice.pick(&["secrets", "deployments"])
    }

    fn release(&self) {
        ["secrets", "deployments"]
            .iter()
            .for_each(|held| self.api().release(held));
    }

    /// Lets everything end, and says what the pods were rolled out for.
    async fn end(self) -> (Verdict, Vec<String>) {
        self.api().heal();
        self.release();
        sleep(QUIET).await;
        let verdict = Verdict::of(&self.api());
        self.world.kill().await;
        (verdict, self.trace)
    }
}

#[derive(Debug, Default, PartialEq)]
struct Verdict {
    missed: bool,
    needless: usize,
}

impl Verdict {
    /// Follows the writes: pods start on what is live when their template changes.
    fn of(api: &FakeApi) -> Self {
        let (mut live, mut pods) = (Value::Null, Value::Null);
        let (mut generation, mut needless) = (Value::Null, 0);
        for (resource, object) in api.history(SHOP) {
            match (resource.as_str(), object) {
                ("secrets", object) => live = object.map_or(Value::Null, |it| it["data"].clone()),
                ("deployments", Some(object)) if object["metadata"]["generation"] != generation => {
                    let rolled = !generation.is_null();
                    generation = object["metadata"]["generation"].clone();
                    needless +=
                        usize::from(rolled && last_writer(&object) == "restamp" && pods == live);
                    pods = live.clone();
                }
                _ => {}
            }
        }
        Self {
            missed: pods != live,
            needless,
        }
    }
}

fn last_writer(object: &Value) -> &str {
    let fields = object["metadata"]["managedFields"].as_array().unwrap();
    let last = fields.iter().max_by_key(|entry| entry["time"].as_str());
    last.unwrap()["manager"].as_str().unwrap()
}

async fn run(seed: u64, weather: Weather) {
    let mut simulation = Simulation::start(seed).await;
    for _ in 0..5 + simulation.dice.below(25) {
        simulation = simulation.act(weather).await;
    }
    let (verdict, trace) = simulation.end().await;
    let trace = trace.join("\n");
    assert!(
        !verdict.missed,
        "seed {seed}, {weather:?}: a change was missed\n{trace}"
    );
    if weather == Weather::Fair {
        assert_eq!(
            verdict.needless, 0,
            "seed {seed}: needless rollouts\n{trace}"
        );
    }
}

fn simulate(weather: Weather) {
    let asked = env::var("SIMULATE")
        .ok()
        .map(|seed| seed.parse().expect("a number"));
    let seeds = asked.map_or(1..=SEEDS, |seed| seed..=seed);
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(run(seed, weather));
    }
}

#[test]
fn nothing_is_missed_and_nothing_needless_done_whatever_fails() {
    simulate(Weather::Fair);
}

#[test]
fn nothing_is_missed_when_watches_and_reads_are_late() {
    simulate(Weather::Foul);
}
