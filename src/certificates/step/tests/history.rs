//! Whatever happens, and in whichever order, nobody distrusts what is served, as long as nobody takes the trust away.
//!
//! Every replica of the watcher acts as if it led, each request for itself, so that they come in between each other.
//! What they see of time is a wall clock that is set at will, and one that only goes on.

mod world;

use proptest::{collection::vec, prelude::*, strategy::ValueTree};

use super::*;
use world::{Actor, Bundle, LONG, ServingSecret, World};

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

impl World {
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
