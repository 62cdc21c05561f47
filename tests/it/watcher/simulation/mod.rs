//! P1, P2 and P4 under random histories: changes, deploys, undos, faults, crashes, late and lost events,
//! conflicts; watcher and webhook unmodified, in one process. The pods are looked at whenever all is quiet. Most
//! histories are about a Deployment that is stamped, others about other kinds, or about Reloader's variables.
//!
//! Each history is a seed, so that a failure can be run again: `SIMULATE=SEED cargo test simulation`; more
//! of them with `SIMULATE=FIRST..LAST`. The pauses of broken watches have chance of their own, in the library.

mod dice;
mod events;
mod subject;
mod users;
mod verdict;

use std::{env, ops::RangeInclusive, time::Duration};

use restamp::stamp::settings::PolicySettings;
use tokio::time::sleep;

use self::{
    dice::Dice,
    events::Event,
    subject::Subject,
    verdict::{Verdict, writes},
};
use super::{World, secret};
use crate::{
    fake_api::{FakeApi, set_back},
    webhook::Webhook,
};

/// The Secrets that there are.
const SOURCES: [&str; 2] = ["login", "mail"];
/// Which Secrets are followed, where labels decide.
const FOLLOWED: &str = "follow!=no";
/// How many histories of each sort are run, unless others are asked for.
const SEEDS: u64 = 60;
/// The same of subjects other than a Deployment that is stamped.
const SEEDS_OF_OTHERS: u64 = 30;
/// After this time everything that is under way has ended, the longest pauses included.
const QUIET: Duration = Duration::from_secs(700);

/// Which things happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Users come and go, and everything works: nothing may be missed, and nothing needless done.
    Calm,
    /// Crashes and faults, too. What comes while nobody watches is in doubt, and restarts pods once more.
    Fair,
    /// Some write without the webhook. What then is stored without any memory cannot be missed, and who
    /// rolls out without a stamp rolls out twice.
    Blind,
    /// Late watches and late reads, too, and a webhook that cannot read. A change that comes and goes
    /// meanwhile may cost a rollout, so only what is missed counts.
    Foul,
    /// Sources get and lose the label that they are followed by, and keep their content while they lack it.
    Labelled,
    /// A source and its workload come and go while watches lag, and nothing else happens.
    Fog,
}

impl Weather {
    /// What happens in one history: about half of what can, since rare sequences need few sorts of events.
    fn some_events(self, subject: Subject, dice: &mut Dice) -> Vec<Event> {
        let mut all = self.events();
        all.retain(|event| subject.takes(*event));
        let some: Vec<_> = all.iter().copied().filter(|_| dice.below(2) == 0).collect();
        if self == Weather::Fog || some.len() < 3 {
            all
        } else {
            some
        }
    }

    fn events(self) -> Vec<Event> {
        let of = |events: &[Event]| events.to_vec();
        match self {
            Weather::Calm => of(&Event::CALM),
            Weather::Fair => [of(&Event::CALM), of(&Event::FAULTS)].concat(),
            Weather::Blind => [of(&Event::CALM), of(&Event::FAULTS), of(&Event::BLIND)].concat(),
            Weather::Foul => [of(&Event::CALM), of(&Event::FAULTS), of(&Event::LATE)].concat(),
            Weather::Labelled => of(&Event::LABELLED),
            Weather::Fog => of(&Event::FOG),
        }
    }

    /// After this time everything that is under way has ended: without faults nothing waits long.
    fn quiet(self) -> Duration {
        match self {
            Weather::Fog => Duration::from_secs(100),
            _ => QUIET,
        }
    }

    /// What must not be.
    fn judge(self, subject: Subject, verdict: &Verdict) -> Result<(), &'static str> {
        // With variables, the webhook records nothing, so what is made is unrecorded for a moment.
        let is_unseen =
            matches!(self, Weather::Blind | Weather::Foul) || subject == Subject::Variables;
        let excused = is_unseen && verdict.unrecorded;
        if verdict.lost {
            return Err("it is gone");
        }
        if verdict.missed && !excused {
            return Err("a change was missed");
        }
        if verdict.rolled > 0 {
            return Err("it was rolled out in the place of a restart");
        }
        // Whoever leaves out variables rolls out.
        let may_drag = self == Weather::Blind || subject == Subject::Variables;
        if verdict.dragged > 0 && !may_drag {
            return Err("a write rolled out what would not have without Restamp");
        }
        match self {
            Weather::Foul | Weather::Fog => Ok(()),
            // Pods that are restarted in place start later than that is written, on whatever is there then.
            Weather::Calm if verdict.doubtful > 0 && subject != Subject::Rollout => {
                Err("a rollout in doubt where there is none")
            }
            _ if verdict.needless > 0 => Err("a needless rollout"),
            Weather::Calm | Weather::Fair if verdict.after_blind > 0 => Err("nobody was blind"),
            _ => Ok(()),
        }
    }
}

fn policy(weather: Weather, subject: Subject) -> PolicySettings {
    PolicySettings {
        source_labels: (weather == Weather::Labelled).then(|| FOLLOWED.parse().unwrap()),
        strategy: subject.strategy(),
        ..PolicySettings::default()
    }
}

struct Simulation {
    seed: u64,
    dice: Dice,
    weather: Weather,
    subject: Subject,
    events: Vec<Event>,
    /// How long nothing happens between two events, in milliseconds.
    pauses: &'static [u64],
    /// The Secrets that the workload uses.
    sources: &'static [&'static str],
    world: World,
    webhook: Webhook,
    settle: &'static str,
    /// Counts contents: none comes back.
    content: u64,
    trace: Vec<String>,
}

impl Simulation {
    async fn start(seed: u64, weather: Weather, subject: Subject) -> Self {
        let mut dice = Dice::new(seed);
        let settle = dice.pick(&["0s", "2s"]);
        let sources = match weather {
            Weather::Fog => &SOURCES[..1],
            _ => dice.pick(&[&SOURCES[..], &SOURCES[..1]]),
        };
        let [login, mail] = SOURCES.map(|name| secret(name, "0"));
        let policy = policy(weather, subject);
        let objects = [login, mail, subject.manifest(sources, settle)];
        let world = World::set_up(&objects, policy.clone()).await;
        let webhook = Webhook::following(&world.api, policy).await;
        Self {
            seed,
            events: weather.some_events(subject, &mut dice),
            pauses: dice.pick(&[&[0, 100, 1000, 2500, 20_000][..], &[0, 100]]),
            dice,
            weather,
            subject,
            sources,
            world,
            webhook,
            content: 0,
            settle,
            trace: vec![format!("settle {settle}, sources {sources:?}")],
        }
    }

    fn api(&self) -> FakeApi {
        self.world.api.clone()
    }

    /// One thing happens, and then some time passes: never a whole number of seconds, since a retry that
    /// falls on the very instant of a change is a race that nobody can win.
    async fn step(mut self) -> Self {
        let event = self.dice.pick(&self.events);
        let (mut simulation, what) = self.carry_out(event).await;
        let dice = &mut simulation.dice;
        let pause = dice.pick(simulation.pauses) + dice.below(97) + 1;
        simulation.trace.push(format!("{what}, then {pause} ms"));
        sleep(Duration::from_millis(pause)).await;
        simulation
    }

    fn judge(&self) {
        let (seed, weather, subject) = (self.seed, self.weather, self.subject);
        let verdict = Verdict::of(&self.api(), subject);
        if let Err(wrong) = weather.judge(subject, &verdict) {
            let (trace, writes) = (self.trace.join("\n"), writes(&self.api(), subject));
            panic!(
                "seed {seed}, {weather:?}, {subject:?}: {wrong}: {verdict:?}\n{trace}\n{writes}"
            );
        }
    }
}

async fn run(seed: u64, weather: Weather, subject: Subject) {
    set_back();
    let mut simulation = Simulation::start(seed, weather, subject).await;
    for _ in 0..5 + simulation.dice.below(25) {
        simulation = simulation.step().await;
    }
    simulation.rest().await;
    simulation.world.kill().await;
}

fn seeds(subject: Subject) -> RangeInclusive<u64> {
    let number = |text: &str| text.parse().expect("a number");
    match env::var("SIMULATE") {
        Err(_) if subject == Subject::Deployment => 1..=SEEDS,
        Err(_) => 1..=SEEDS_OF_OTHERS,
        Ok(asked) => match asked.split_once("..") {
            Some((first, last)) => number(first)..=number(last),
            None => number(&asked)..=number(&asked),
        },
    }
}

fn simulate(weather: Weather) {
    simulate_with(Subject::Deployment, weather);
}

fn simulate_with(subject: Subject, weather: Weather) {
    for seed in seeds(subject) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(run(seed, weather, subject));
    }
}

#[test]
fn nothing_is_missed_and_nothing_needless_done_while_all_is_well() {
    simulate(Weather::Calm);
}

#[test]
fn nothing_is_missed_and_nothing_needless_done_whatever_fails() {
    simulate(Weather::Fair);
}

#[test]
fn only_what_was_never_recorded_is_missed_when_writes_go_past_the_webhook() {
    simulate(Weather::Blind);
}

#[test]
fn nothing_is_missed_and_nothing_needless_done_when_labels_come_and_go() {
    simulate(Weather::Labelled);
}

#[test]
fn nothing_is_missed_when_sources_come_and_go_behind_late_watches() {
    simulate(Weather::Fog);
}

#[test]
fn nothing_is_missed_when_watches_and_reads_are_late() {
    simulate(Weather::Foul);
}

#[test]
fn with_variables_nothing_is_missed_and_nothing_needless_done_whatever_fails() {
    simulate_with(Subject::Variables, Weather::Calm);
    simulate_with(Subject::Variables, Weather::Fair);
}

#[test]
fn with_variables_nothing_is_missed_when_watches_and_reads_are_late() {
    simulate_with(Subject::Variables, Weather::Foul);
}

#[test]
fn a_cron_job_runs_for_each_change_and_for_nothing_else_whatever_fails() {
    simulate_with(Subject::CronJob, Weather::Calm);
    simulate_with(Subject::CronJob, Weather::Fair);
}

#[test]
fn a_job_is_made_again_for_each_change_and_never_lost_whatever_fails() {
    simulate_with(Subject::Job, Weather::Calm);
    simulate_with(Subject::Job, Weather::Fair);
}

#[test]
fn no_change_misses_a_job_and_none_is_lost_when_watches_and_reads_are_late() {
    simulate_with(Subject::Job, Weather::Foul);
}

#[test]
fn a_rollout_restarts_in_place_for_each_change_and_for_nothing_else_whatever_fails() {
    simulate_with(Subject::Rollout, Weather::Calm);
    simulate_with(Subject::Rollout, Weather::Fair);
}

#[test]
fn no_change_misses_a_rollout_that_restarts_in_place_when_watches_and_reads_are_late() {
    simulate_with(Subject::Rollout, Weather::Foul);
}
