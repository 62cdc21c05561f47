//! Whatever happens, and in whichever order, nobody distrusts what is served, as long as nobody takes the trust away.
//!
//! Every replica of the watcher acts as if it led, each request for itself, so that they come in between each other.
//! What they see of time is a wall clock that is set at will, and one that only goes on.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, strategy::ValueTree};

use super::*;

/// How late an API server, and a replica of the webhook, may be. Both are waited for.
const API_SERVER_LAG: i64 = 50;
const REPLICA_LAG: i64 = 550;
/// How long a look may take from its first request to its last.
const LOOK: i64 = 45;
const LONG: i64 = 1000;

type Ca = u32;
type Bundle = BTreeSet<Ca>;
type Secrets = (Option<AuthoritySecret>, Option<ServingSecret>);

#[derive(Clone, Debug)]
enum Action {
    Pass(i64),
    Act(usize),
    /// One goes on for a while.
    GoOn(usize, usize),
    Crash(usize),
    SetClock(usize, i64),
    ApiServerLooks(usize),
    ReplicaLooks(usize),
    ReplicaRestarts(usize),
    DeleteAuthority,
    CutAuthority,
    DeleteServing,
    CutServing,
    Wipe(bool),
    Relabel,
    ChangeHosts,
}

fn action() -> impl Strategy<Value = Action> {
    use Action::*;
    let year = 31_536_000_i64;
    prop_oneof![
        10 => (1..40i64).prop_map(Pass),
        2 => (LONG..700_000).prop_map(Pass),
        60 => (0..3usize).prop_map(Act),
        8 => (0..3usize, 1..60usize).prop_map(|(who, rounds)| GoOn(who, rounds)),
        2 => (0..3usize).prop_map(Crash),
        1 => (0..3usize, prop_oneof![-40_000..40_000i64, -year..year]).prop_map(|(who, by)| SetClock(who, by)),
        8 => (0..2usize).prop_map(ApiServerLooks),
        8 => (0..2usize).prop_map(ReplicaLooks),
        1 => (0..2usize).prop_map(ReplicaRestarts),
        2 => Just(DeleteAuthority),
        1 => Just(CutAuthority),
        1 => Just(DeleteServing),
        1 => Just(CutServing),
        1 => any::<bool>().prop_map(Wipe),
        1 => Just(Relabel),
        1 => Just(ChangeHosts),
    ]
}

#[derive(Clone, Debug, Default)]
struct AuthoritySecret {
    version: u32,
    authority: Option<(Ca, Life)>,
    before: Bundle,
    /// What is left of a certificate without its key.
    keyless: Option<Ca>,
}

#[derive(Clone, Debug)]
struct Certificate {
    id: u32,
    issuer: Ca,
    life: Life,
    hosts: u32,
}

#[derive(Clone, Debug)]
struct ServingSecret {
    version: u32,
    certificate: Option<Certificate>,
}

#[derive(Clone, Debug)]
struct Configuration {
    generation: u32,
    resource_version: u32,
    bundle: Bundle,
    hosts: u32,
    is_tampered: bool,
}

/// What a replica of the watcher has read so far, and what it remembers.
#[derive(Clone, Debug, Default)]
struct Actor {
    clock: i64,
    began: i64,
    configuration: Option<Configuration>,
    authority: Option<Option<AuthoritySecret>>,
    serving: Option<Option<ServingSecret>>,
    published: Option<(u32, i64)>,
    seen: Option<(u32, i64)>,
}

struct World {
    time: i64,
    last: u32,
    authority: Option<AuthoritySecret>,
    serving: Option<ServingSecret>,
    /// All that it has ever been, each since when.
    configurations: Vec<(i64, Configuration)>,
    actors: [Actor; 3],
    /// Up to which configuration each API server is.
    api_servers: [usize; 2],
    replicas: [(i64, Option<Certificate>); 2],
    put_back_at: i64,
    retired: u32,
}

impl World {
    /// One that has come to rest.
    fn new() -> Self {
        let configuration = Configuration {
            generation: 0,
            resource_version: 0,
            bundle: Bundle::new(),
            hosts: 0,
            is_tampered: true,
        };
        let mut world = Self {
            time: 0,
            last: 0,
            authority: None,
            serving: None,
            configurations: vec![(0, configuration)],
            actors: Default::default(),
            api_servers: [0; 2],
            replicas: [(0, None), (0, None)],
            put_back_at: -LONG,
            retired: 0,
        };
        world.come_to_rest();
        world
    }

    fn come_to_rest(&mut self) {
        for actor in &mut self.actors {
            *actor = Actor::default();
        }
        let (mut rounds, mut quiet) = (0, 0);
        while quiet < 100 {
            let last = self.last;
            for _ in 0..4 {
                self.act(0);
            }
            self.pass(20);
            quiet = if last == self.last { quiet + 1 } else { 0 };
            rounds += 1;
            assert!(rounds < 1000, "it does not come to rest");
        }
        self.pass(LONG);
    }

    fn new_id(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    fn configuration(&self) -> &Configuration {
        &self.configurations.last().unwrap().1
    }

    fn do_(&mut self, action: &Action) {
        match *action {
            Action::Pass(seconds) => self.pass(seconds),
            Action::Act(who) => self.act(who),
            Action::GoOn(who, rounds) => {
                for round in 0..4 * rounds {
                    self.act(who);
                    self.pass(if round % 4 == 3 { 12 } else { 1 });
                }
            }
            Action::Crash(who) => {
                self.actors[who] = Actor {
                    clock: self.actors[who].clock,
                    ..Actor::default()
                }
            }
            Action::SetClock(who, clock) => self.actors[who].clock = clock,
            Action::ApiServerLooks(which) => {
                self.api_servers[which] = self.configurations.len() - 1
            }
            Action::ReplicaLooks(which) => self.look(which),
            Action::ReplicaRestarts(which) => self.replicas[which].1 = None,
            _ => self.harm(action),
        }
    }

    fn harm(&mut self, action: &Action) {
        match *action {
            // Whoever takes away both at once takes the trust away.
            Action::DeleteAuthority if self.is_whole() => self.authority = None,
            Action::CutAuthority if self.is_whole() => {
                let version = self.new_id();
                if let Some(secret) = &mut self.authority {
                    secret.version = version;
                    let cut = secret.authority.take();
                    secret.keyless = cut.map(|(ca, _)| ca).or(secret.keyless);
                }
            }
            Action::DeleteServing => self.serving = None,
            Action::CutServing => {
                let version = self.new_id();
                if let Some(secret) = &mut self.serving {
                    *secret = ServingSecret {
                        version,
                        certificate: None,
                    };
                }
            }
            Action::Wipe(all)
                if self
                    .authority
                    .as_ref()
                    .is_some_and(|it| it.authority.is_some()) =>
            {
                self.reconfigure(|configuration| {
                    configuration.is_tampered = true;
                    if all {
                        configuration.bundle.clear();
                    } else {
                        configuration.bundle.pop_last();
                    }
                });
            }
            Action::Relabel => {
                let version = self.new_id();
                if let Some(secret) = &mut self.serving {
                    secret.version = version;
                }
            }
            Action::ChangeHosts => self.reconfigure(|configuration| configuration.hosts += 1),
            _ => {}
        }
    }

    /// Whether nobody can still believe in a bundle that somebody has altered.
    fn is_whole(&self) -> bool {
        !self.configuration().is_tampered && self.time - self.put_back_at > LOOK
    }

    fn reconfigure(&mut self, change: impl FnOnce(&mut Configuration)) {
        let mut next = self.configuration().clone();
        (next.generation, next.resource_version) = (self.new_id(), self.new_id());
        change(&mut next);
        self.configurations.push((self.time, next));
    }

    fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds.min(LONG) {
            self.time += 1;
            for which in 0..2 {
                self.hurry(which);
            }
            for actor in &mut self.actors {
                if self.time - actor.began > LOOK {
                    (actor.configuration, actor.authority, actor.serving) = (None, None, None);
                }
            }
            self.check();
        }
        self.time += (seconds - LONG).max(0);
    }

    /// Has API servers and replicas look that are about to be too late.
    fn hurry(&mut self, which: usize) {
        while let Some((since, _)) = self.configurations.get(self.api_servers[which] + 1) {
            if self.time - since < API_SERVER_LAG {
                break;
            }
            self.api_servers[which] += 1;
        }
        if self.time - self.replicas[which].0 >= REPLICA_LAG {
            self.look(which);
        }
    }

    fn look(&mut self, which: usize) {
        let (looked, serving) = &mut self.replicas[which];
        *looked = self.time;
        let found = self.serving.as_ref();
        if let Some(certificate) = found.and_then(|secret| secret.certificate.clone()) {
            *serving = Some(certificate);
        }
    }

    fn check(&self) {
        for up_to in self.api_servers {
            let (_, configuration) = &self.configurations[up_to];
            if configuration.is_tampered {
                continue;
            }
            for (_, serving) in &self.replicas {
                let Some(certificate) = serving else { continue };
                assert!(
                    configuration.bundle.contains(&certificate.issuer),
                    "at {}, {certificate:?} is served, and trusted is {:?}; {:?}",
                    self.time,
                    configuration.bundle,
                    self.authority,
                );
            }
        }
    }

    /// One request of a replica of the watcher.
    fn act(&mut self, who: usize) {
        let (authority, serving) = (self.authority.clone(), self.serving.clone());
        let (time, configuration) = (self.time, self.configuration().clone());
        let actor = &mut self.actors[who];
        if actor.configuration.is_none() {
            (actor.configuration, actor.began) = (Some(configuration), time);
        } else if actor.authority.is_none() {
            actor.authority = Some(authority);
        } else if actor.serving.is_none() {
            actor.serving = Some(serving);
        } else {
            let taken = (
                actor.configuration.take(),
                actor.authority.take(),
                actor.serving.take(),
            );
            if let (Some(configuration), Some(authority), Some(serving)) = taken {
                self.step(who, &configuration, &(authority, serving));
            }
        }
        self.check();
    }

    fn step(&mut self, who: usize, configuration: &Configuration, read: &Secrets) {
        let (authority, serving) = read;
        let held = authority.clone().unwrap_or_default();
        let facts = self.facts(who, configuration, &held, serving.as_ref());
        let (step, _) = next(&facts, &TIMES);
        let is_as_read = match step {
            Step::Wait(_) => false,
            Step::MakeAuthority | Step::Retire => version(&self.authority) == version(authority),
            Step::Publish => {
                self.configuration().resource_version == configuration.resource_version
            }
            Step::Issue => {
                let version = |secret: &Option<ServingSecret>| secret.as_ref().map(|it| it.version);
                version(&self.serving) == version(serving)
            }
        };
        if is_as_read {
            self.write(step, facts.now, configuration, &held);
        }
    }

    fn facts(
        &mut self,
        who: usize,
        configuration: &Configuration,
        held: &AuthoritySecret,
        serving: Option<&ServingSecret>,
    ) -> Facts {
        let certificate = serving.and_then(|it| it.certificate.clone());
        let actor = &mut self.actors[who];
        let is_published = configuration.bundle == held.trusted();
        let published = is_published.then_some(configuration.generation);
        let published = age(&mut actor.published, published, self.time);
        let id = certificate.as_ref().map(|it| it.id);
        let seen = age(&mut actor.seen, id, self.time);
        Facts {
            now: at(self.time + actor.clock),
            authority: held.authority.map(|(_, life)| life),
            overlaps: !held.before.is_empty(),
            published,
            serving: certificate.map(|it| Serving {
                life: it.life,
                issuer: match it.issuer {
                    issuer if Some(issuer) == held.signer() => Issuer::Authority,
                    issuer if held.before.contains(&issuer) => Issuer::Before,
                    _ => Issuer::Unknown,
                },
                fits: it.hosts == configuration.hosts,
                seen: seen.unwrap_or_default(),
            }),
        }
    }

    fn write(&mut self, step: Step, now: Timestamp, read: &Configuration, held: &AuthoritySecret) {
        let (version, id, trusted) = (self.new_id(), self.new_id(), held.trusted());
        match step {
            Step::Wait(_) => {}
            Step::MakeAuthority => {
                let mut before = &trusted | &read.bundle;
                before.extend(held.keyless);
                self.authority = Some(AuthoritySecret {
                    version,
                    authority: Some((id, TIMES.life_of_authority(now))),
                    before,
                    keyless: None,
                });
            }
            Step::Retire => {
                self.retired += 1;
                self.authority = Some(AuthoritySecret {
                    version,
                    before: Bundle::new(),
                    ..held.clone()
                });
            }
            Step::Publish => {
                self.reconfigure(|configuration| {
                    configuration.is_tampered = false;
                    configuration.bundle = trusted;
                });
                self.put_back_at = self.time;
            }
            Step::Issue => {
                let certificate = Some(Certificate {
                    id,
                    issuer: held.signer().unwrap(),
                    life: TIMES.life_of_serving(now),
                    hosts: read.hosts,
                });
                self.serving = Some(ServingSecret {
                    version,
                    certificate,
                });
            }
        }
    }
}

impl AuthoritySecret {
    fn signer(&self) -> Option<Ca> {
        self.authority.map(|(ca, _)| ca)
    }

    fn trusted(&self) -> Bundle {
        self.before.iter().copied().chain(self.signer()).collect()
    }
}

fn version(secret: &Option<AuthoritySecret>) -> Option<u32> {
    secret.as_ref().map(|it| it.version)
}

fn age(seen: &mut Option<(u32, i64)>, now: Option<u32>, time: i64) -> Option<Duration> {
    let now = now.or_else(|| {
        *seen = None;
        None
    })?;
    let (_, since) = seen
        .filter(|(before, _)| *before == now)
        .unwrap_or((now, time));
    *seen = Some((now, since));
    Some(seconds(u64::try_from(time - since).unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn what_is_served_is_trusted_whatever_happens(actions in vec(action(), 1..300)) {
        let mut world = World::new();
        for action in &actions {
            world.do_(action);
            world.check();
        }
        world.come_to_rest();
        let authority = world.authority.clone().unwrap();
        let (signer, _) = authority.authority.unwrap();
        prop_assert_eq!(authority.before, Bundle::new());
        prop_assert_eq!(&world.configuration().bundle, &Bundle::from([signer]));
        let certificate = world.serving.clone().unwrap().certificate.unwrap();
        prop_assert_eq!((certificate.issuer, certificate.hosts), (signer, world.configuration().hosts));
    }
}

/// Otherwise the histories above would show little.
#[test]
fn histories_have_rotations_in_them() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut retired = 0;
    for _ in 0..50 {
        let actions = vec(action(), 300).new_tree(&mut runner).unwrap().current();
        let mut world = World::new();
        actions.iter().for_each(|action| world.do_(action));
        retired += world.retired;
    }
    assert!(retired > 50, "{retired}");
}
