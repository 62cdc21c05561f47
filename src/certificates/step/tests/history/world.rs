//! A cluster, as far as it is about certificates, in which time passes second by second.

use std::collections::BTreeSet;

use super::*;

/// How late an API server, and a replica of the webhook, may be. Both are waited for.
pub const API_SERVER_LAG: i64 = 50;
pub const REPLICA_LAG: i64 = 550;
/// How long a look may take from its first request to its last.
pub const LOOK: i64 = 45;
pub const LONG: i64 = 1000;

pub type Ca = u32;
pub type Bundle = BTreeSet<Ca>;
pub type Secrets = (Option<AuthoritySecret>, Option<ServingSecret>);

#[derive(Clone, Debug, Default)]
pub struct AuthoritySecret {
    pub version: u32,
    pub authority: Option<(Ca, Life)>,
    pub before: Bundle,
    /// What is left of a certificate without its key.
    pub keyless: Option<Ca>,
}

#[derive(Clone, Debug)]
pub struct Certificate {
    pub id: u32,
    pub issuer: Ca,
    pub life: Life,
    pub hosts: u32,
}

#[derive(Clone, Debug)]
pub struct ServingSecret {
    pub version: u32,
    pub certificate: Option<Certificate>,
}

#[derive(Clone, Debug)]
pub struct Configuration {
    pub generation: u32,
    pub resource_version: u32,
    pub bundle: Bundle,
    pub hosts: u32,
    pub is_tampered: bool,
}

/// What a replica of the watcher has read so far, and what it remembers.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    pub clock: i64,
    pub began: i64,
    pub configuration: Option<Configuration>,
    pub authority: Option<Option<AuthoritySecret>>,
    pub serving: Option<Option<ServingSecret>>,
    pub published: Option<(u32, i64)>,
    pub seen: Option<(u32, i64)>,
}

pub struct World {
    pub time: i64,
    pub last: u32,
    pub authority: Option<AuthoritySecret>,
    pub serving: Option<ServingSecret>,
    /// All that it has ever been, each since when.
    pub configurations: Vec<(i64, Configuration)>,
    pub actors: [Actor; 3],
    /// Up to which configuration each API server is.
    pub api_servers: [usize; 2],
    pub replicas: [(i64, Option<Certificate>); 2],
    pub put_back_at: i64,
    pub retired: u32,
}

impl World {
    /// One that has come to rest.
    pub fn new() -> Self {
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

    pub fn come_to_rest(&mut self) {
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

    pub fn new_id(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    pub fn configuration(&self) -> &Configuration {
        &self.configurations.last().unwrap().1
    }

    /// Whether nobody can still believe in a bundle that somebody has altered.
    pub fn is_whole(&self) -> bool {
        !self.configuration().is_tampered && self.time - self.put_back_at > LOOK
    }

    pub fn reconfigure(&mut self, change: impl FnOnce(&mut Configuration)) {
        let mut next = self.configuration().clone();
        (next.generation, next.resource_version) = (self.new_id(), self.new_id());
        change(&mut next);
        self.configurations.push((self.time, next));
    }

    pub fn pass(&mut self, seconds: i64) {
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

    pub fn look(&mut self, which: usize) {
        let (looked, serving) = &mut self.replicas[which];
        *looked = self.time;
        let found = self.serving.as_ref();
        if let Some(certificate) = found.and_then(|secret| secret.certificate.clone()) {
            *serving = Some(certificate);
        }
    }

    pub fn check(&self) {
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
    pub fn act(&mut self, who: usize) {
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

    pub fn trusted(&self) -> Bundle {
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
