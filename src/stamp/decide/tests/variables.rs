//! With Reloader's variables in the place of the stamp.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::stamp::{
    pod::{Containers, PodTemplate},
    reloader::variable,
};

/// A workload whose one container uses everything, and what its pods started with.
struct Running {
    stored: Stored,
    template: Value,
    /// The content of the pods.
    started: World,
    rollouts: u32,
}

impl Running {
    fn new(references: &References, world: &World) -> Self {
        let env_from: Vec<_> = references
            .keys()
            .map(|source| json!({ "secretRef": { "name": source.name } }))
            .collect();
        Self {
            stored: adopted(references, world),
            template: json!({ "spec": { "containers": [{ "name": "app", "envFrom": env_from }] } }),
            started: world.clone(),
            rollouts: 0,
        }
    }

    fn containers(&self) -> Containers {
        let template: PodTemplate = serde_json::from_value(self.template.clone()).unwrap();
        template.containers()
    }

    fn whole(&self) -> (Value, Option<String>) {
        (self.template.clone(), self.stored.stamp.clone())
    }

    /// Somebody writes a template.
    fn put(&mut self, (template, stamp): (Value, Option<String>), world: &World) {
        if self.whole() != (template.clone(), stamp.clone()) {
            self.started = world.clone();
        }
        (self.template, self.stored.stamp) = (template, stamp);
    }

    fn settle(&mut self, setting: &Setting<'_>, world: &World) {
        for _ in 0..3 {
            let containers = self.containers();
            let setting = Setting {
                references: setting.references,
                keyring: setting.keyring,
                arrived: BTreeSet::new(),
                reload_on_delete: setting.reload_on_delete,
                trigger: Trigger::Variables(&containers),
            };
            let decision = setting.decide(&self.stored, world);
            let before = self.whole();
            self.stored.apply(&decision);
            if let Decision::Restamp { start, .. } = &decision {
                if let NewStart::Variables(operations) = start {
                    let patch: json_patch::Patch =
                        serde_json::from_value(json!(operations)).unwrap();
                    json_patch::patch(&mut self.template, &patch).unwrap();
                }
                assert_ne!(self.whole(), before, "a restart that restarts nothing");
                self.started = world.clone();
                self.rollouts += 1;
            }
            if let Decision::Leave(_) = decision {
                return;
            }
        }
        panic!("does not come to rest");
    }

    fn value(&self, source: &str) -> Option<String> {
        let env = self.template["spec"]["containers"][0]["env"].as_array()?;
        let name = variable(&secret(source));
        let found = env.iter().find(|var| var["name"] == name.as_str())?;
        found["value"].as_str().map(str::to_owned)
    }
}

/// SHA-1 of `k=a`.
const A: &str = "3b409fa8901efcf123474a59f58b189957dab616";

#[test]
fn a_change_is_told_by_the_variable_of_its_source_and_nothing_else() {
    let (references, keyring) = (uses(&["db", "login"]), ring(1, None));
    let world = World::default().with("db", "a").with("login", "a");
    let mut running = Running::new(&references, &world);
    let setting = setting(&references, &keyring);
    running.settle(&setting, &world);
    assert_eq!(running.value("db"), None, "adopting writes no variable");
    let world = world.with("db", "b");
    running.settle(&setting, &world);
    assert_eq!((running.rollouts, running.stored.stamp.clone()), (1, None));
    assert!(running.value("db").is_some() && running.value("login").is_none());
    running.settle(&setting, &world.with("db", "a"));
    assert_eq!(
        (running.rollouts, running.value("db").as_deref()),
        (2, Some(A))
    );
}

#[test]
fn where_the_variable_cannot_tell_the_stamp_does() {
    let (references, keyring) = (uses(&["db"]), ring(1, None));
    let (a, b) = (
        World::default().with("db", "a"),
        World::default().with("db", "b"),
    );
    let mut running = Running::new(&references, &b);
    let setting = setting(&references, &keyring);
    running.settle(&setting, &a);
    let of_a = running.whole();
    running.settle(&setting, &b);
    // Undone by hand: the pods start on b, with the variable of a.
    running.put(of_a, &b);
    running.settle(&setting, &b);
    assert_eq!(running.rollouts, 2);
    running.settle(&setting, &a);
    assert_eq!(running.rollouts, 3);
    assert!(running.stored.stamp.is_some());
}

#[test]
fn a_deletion_takes_the_variable_away() {
    let (references, keyring) = (uses(&["db"]), ring(1, None));
    let mut running = Running::new(&references, &World::default().with("db", "a"));
    let setting = Setting {
        reload_on_delete: true,
        ..setting(&references, &keyring)
    };
    running.settle(&setting, &World::default().with("db", "b"));
    running.settle(&setting, &World::default());
    assert_eq!((running.rollouts, running.value("db")), (2, None));
    assert_eq!(running.stored.stamp, None);
}

/// What happens to a workload.
#[derive(Clone, Debug)]
enum Happening {
    /// A source gets this content; none is a deletion.
    Content(&'static str, Option<&'static str>),
    /// Somebody puts an earlier template back, counted from the last one.
    Undo(usize),
    /// Restamp looks.
    Look,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let sources = prop::sample::select(vec!["db", "d.b", "login"]);
    let contents = prop::sample::select(vec![None, Some("a"), Some("b"), Some("c")]);
    prop::collection::vec(
        prop_oneof![
            (sources, contents).prop_map(|(source, content)| Happening::Content(source, content)),
            (0..4usize).prop_map(Happening::Undo),
            Just(Happening::Look),
        ],
        0..24,
    )
}

proptest! {
    /// P1 and P2: the pods run on what is live whenever Restamp has looked, and the same content restarts nothing.
    #[test]
    fn whatever_happens_pods_come_to_run_on_what_is_live(happenings in happenings(), on_delete in any::<bool>()) {
        let (references, keyring) = (uses(&["db", "d.b", "login"]), ring(1, None));
        let mut world = World::default().with("db", "a").with("d.b", "a").with("login", "a");
        let mut running = Running::new(&references, &world);
        let mut history = vec![running.whole()];
        let mut looked = world.sources.clone();
        let setting = Setting { reload_on_delete: on_delete, ..setting(&references, &keyring) };
        for happening in happenings {
            match happening {
                Happening::Content(source, Some(content)) => {
                    world = world.with(source, content);
                    // Pods whose source is missing wait for it.
                    if !running.started.sources.contains_key(&secret(source)) {
                        running.started = running.started.clone().with(source, content);
                    }
                }
                Happening::Content(source, None) => world = world.without(source),
                // Content that came and went between two looks, with pods that started on it, nobody can see.
                Happening::Undo(back) => {
                    running.settle(&setting, &world);
                    looked = world.sources.clone();
                    let earlier = history[history.len().saturating_sub(1 + back)].clone();
                    running.put(earlier, &world);
                }
                Happening::Look => {
                    let (before, stamp) = (running.rollouts, running.stored.stamp.clone());
                    let recorded = running.stored.observed.as_ref().and_then(|it| it.stamp.as_deref());
                    let is_as_it_was = looked == world.sources && recorded == stamp.as_deref();
                    running.settle(&setting, &world);
                    prop_assert!(!is_as_it_was || running.rollouts == before, "a needless rollout");
                    for (name, content) in &world.sources {
                        prop_assert_eq!(running.started.sources.get(name), Some(content));
                    }
                    looked = world.sources.clone();
                }
            }
            history.push(running.whole());
        }
    }
}
