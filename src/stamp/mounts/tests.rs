use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::stamp::{
    decide::{Case, Decision, Live, Trigger, decide},
    digest::{InstallationKey, KEY_BYTES},
    observed::{Observed, Recorded},
    patch::NewStart,
    pod::PodTemplate,
    policy::Selection,
    reason::Reason,
    references::{Reference, References},
    reloader::ContentHash,
    settings::ReloadStrategy,
    source::{Keys, SourceKind, SourceName, Usage},
};

#[test]
fn what_pods_show_is_one_row_for_each_content_the_newest_at_the_end() {
    let mounts = [
        ("two", false, 5),
        ("one", true, 3),
        ("one", false, 1),
        ("two", false, 4),
    ];
    let mounts = mounts.map(|(content, updated, version)| Mount {
        content,
        updated,
        version,
    });
    let row = |content, started, updated| Shown {
        content,
        started,
        updated,
    };
    let expected = [row("one", Some(1), Some(3)), row("two", Some(5), None)];
    assert_eq!(shown(mounts), expected);
    assert_eq!(shown::<u8>([]), []);
}

fn ring() -> Keyring {
    Keyring {
        current: InstallationKey::new(&[1; KEY_BYTES]).unwrap(),
        previous: None,
    }
}

fn class() -> SourceName {
    SourceName::new(SourceKind::SecretProviderClass, "vault")
}

fn objects(pairs: &[(&str, &str)]) -> Objects {
    let pairs = pairs.iter();
    pairs
        .map(|(id, version)| ((*id).to_owned(), (*version).to_owned()))
        .collect()
}

fn digest(contents: &[Objects]) -> SourceDigests {
    let contents: Vec<_> = contents.iter().collect();
    digests(&ring(), &class().within("shop"), &contents)
}

#[test]
fn every_content_and_every_mixture_has_digests_of_its_own() {
    let all = [
        vec![objects(&[("a", "1")])],
        vec![objects(&[("a", "2")])],
        vec![objects(&[("b", "1")])],
        vec![objects(&[("a", "1"), ("b", "1")])],
        vec![objects(&[("a", "1;b=1")])],
        vec![objects(&[("a", "1")]), objects(&[("a", "2")])],
        vec![objects(&[("a", "1")]), objects(&[("b", "1")])],
        vec![objects(&[("a", "1")]), objects(&[("a", "1"), ("b", "1")])],
    ];
    for (index, one) in all.iter().enumerate() {
        assert_eq!(
            digest(one),
            digest(&[one.clone(), one.clone()].concat()),
            "{one:?} twice"
        );
        for other in &all[index + 1..] {
            assert_ne!(digest(one), digest(other), "{one:?} and {other:?}");
        }
    }
}

/// Mounts the class.
fn template() -> PodTemplate {
    let mount = json!({ "name": "v" });
    let volume =
        json!({ "name": "v", "csi": { "volumeAttributes": { "secretProviderClass": "vault" } } });
    let containers = json!([{ "name": "app", "volumeMounts": [mount] }]);
    let spec = json!({ "containers": containers, "volumes": [volume] });
    serde_json::from_value(json!({ "spec": spec })).unwrap()
}

/// A pod of the workload.
#[derive(Clone, Debug)]
struct Pod {
    /// What its processes have read.
    started: u8,
    mount: Mount<u8>,
    /// Whether a restart is under way that has not got to it yet.
    old: bool,
}

/// A store outside, the driver, a workload with its pods, and what is recorded of it.
struct Model {
    ring: Keyring,
    strategy: ReloadStrategy,
    store: u8,
    clock: u64,
    pods: Vec<Pod>,
    observed: Option<Observed>,
    stamp: Option<String>,
    restarts: usize,
    /// Whether a restart replaces all pods before anything else happens.
    at_once: bool,
}

#[derive(Clone, Copy, Debug)]
enum Happens {
    /// The store gets this content.
    Rotate(u8),
    /// The driver looks whether a pod has what the store has.
    Poll(usize),
    /// A pod is replaced, be it by the restart or not.
    Replace(usize),
    Add,
    Remove(usize),
    /// Somebody puts a label on the status of a pod.
    Label(usize),
    /// The watcher looks.
    Look,
}

impl Model {
    fn new(at_once: bool) -> Self {
        let mut model = Self {
            ring: ring(),
            strategy: ReloadStrategy::Stamp,
            store: 0,
            clock: 1,
            pods: Vec::new(),
            observed: None,
            stamp: None,
            restarts: 0,
            at_once,
        };
        (0..3).for_each(|_| model.happen(Happens::Add));
        model.look();
        model
    }

    fn pod(&self) -> Pod {
        Pod {
            started: self.store,
            mount: Mount {
                content: self.store,
                updated: false,
                version: self.clock,
            },
            old: false,
        }
    }

    fn happen(&mut self, what: Happens) {
        self.clock += 1;
        let (fresh, clock, store) = (self.pod(), self.clock, self.store);
        let count = self.pods.len();
        match what {
            Happens::Rotate(content) => self.store = content,
            Happens::Add => self.pods.push(fresh),
            Happens::Look => self.look(),
            _ if count == 0 => {}
            Happens::Poll(pod) => {
                let mount = &mut self.pods[pod % count].mount;
                if mount.content != store {
                    *mount = Mount {
                        content: store,
                        updated: true,
                        version: clock,
                    };
                }
            }
            Happens::Replace(pod) => self.pods[pod % count] = fresh,
            Happens::Remove(pod) => drop(self.pods.remove(pod % count)),
            Happens::Label(pod) => {
                self.pods[pod % count].mount.version = clock;
            }
        }
    }

    /// What the watcher decides, until nothing is left to do.
    fn look(&mut self) {
        for _ in 0..3 {
            match self.decide() {
                Decision::Leave(reason) => {
                    assert!(matches!(reason, Reason::Current), "{reason:?}");
                    return;
                }
                Decision::Record { observed, .. } => self.observed = Some(observed),
                Decision::Restamp { observed, .. } => {
                    self.stamp = observed.stamp.as_deref().map(str::to_owned);
                    self.observed = Some(observed);
                    self.restart();
                }
            }
        }
        panic!("does not come to rest");
    }

    fn restart(&mut self) {
        let is_behind = |pod: &Pod| pod.started != pod.mount.content;
        assert!(self.pods.iter().any(is_behind), "needless: {:?}", self.pods);
        self.restarts += 1;
        self.pods.iter_mut().for_each(|pod| pod.old = true);
        if self.at_once {
            self.finish();
        }
    }

    /// The restart gets to all pods.
    fn finish(&mut self) {
        let fresh = self.pod();
        let old = self.pods.iter_mut().filter(|pod| pod.old);
        old.for_each(|pod| *pod = fresh.clone());
    }

    fn decide(&self) -> Decision {
        let mounts = self.pods.iter().map(|pod| Mount {
            content: objects(&[("password", &pod.mount.content.to_string())]),
            updated: pod.mount.updated,
            version: pod.mount.version,
        });
        let provided = Provided::of(
            &self.ring,
            &class().within("shop"),
            self.strategy,
            self.clock,
            mounts,
        );
        let live = |_: &SourceName| provided.as_ref().map_or(Live::Unmounted, Live::Mounted);
        let usage = Usage {
            keys: Keys::All,
            optional: false,
        };
        let reference = Reference {
            usage,
            by: Selection::Auto,
            literal: true,
        };
        let references = References::from([(class(), reference)]);
        let containers = template().containers();
        decide(&Case {
            namespace: "shop",
            stamp: self.stamp.as_deref(),
            observed: self.observed.as_ref(),
            references: &references,
            live: &live,
            arrived: &BTreeSet::new(),
            reload_on_delete: true,
            trigger: match self.strategy {
                ReloadStrategy::Stamp => Trigger::Stamp,
                ReloadStrategy::Variables => Trigger::Variables(&containers),
            },
            keyring: &self.ring,
        })
    }

    /// The driver gets to every pod, and the watcher has seen it.
    fn come_to_rest(&mut self) {
        self.look();
        for _ in 0..2 {
            self.finish();
            (0..self.pods.len()).for_each(|pod| self.happen(Happens::Poll(pod)));
            self.look();
        }
        self.finish();
    }

    fn outline(&self) -> Outline<u8> {
        Outline::of(self.pods.iter().map(|pod| pod.mount.clone()))
    }

    fn all_are_current(&self) -> bool {
        self.pods.iter().all(|pod| pod.started == self.store)
    }
}

fn happens(
    rotate: impl Strategy<Value = Happens>,
    labels: u32,
) -> impl Strategy<Value = Vec<Happens>> {
    let one = prop_oneof![
        2 => rotate,
        4 => (0..4_usize).prop_map(Happens::Poll),
        2 => (0..4_usize).prop_map(Happens::Replace),
        1 => Just(Happens::Add),
        1 => (0..4_usize).prop_map(Happens::Remove),
        labels => (0..4_usize).prop_map(Happens::Label),
        4 => Just(Happens::Look),
    ];
    proptest::collection::vec(one, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Also content that comes back: no pod is ever left on what it started with while it has something else.
    #[test]
    fn while_the_watcher_looks_at_what_is_news_no_pod_is_left_behind(
        history in happens((0..3_u8).prop_map(Happens::Rotate), 1),
    ) {
        let mut model = Model::new(true);
        for what in history {
            let before = model.outline();
            model.happen(what);
            if model.outline() != before {
                model.look();
            }
            prop_assert!(model.pods.iter().all(|pod| pod.started == pod.mount.content));
        }
        model.come_to_rest();
        prop_assert!(model.all_are_current());
    }

    /// Looks are rare, restarts take long, and every content is new.
    #[test]
    fn whatever_happens_between_two_looks_each_content_is_one_restart_at_most(
        history in happens(Just(Happens::Rotate(0)), 0),
    ) {
        let mut model = Model::new(false);
        let mut rotations = 0;
        for what in history {
            model.happen(match what {
                Happens::Rotate(_) => {
                    rotations += 1;
                    Happens::Rotate(rotations)
                }
                what => what,
            });
        }
        model.come_to_rest();
        prop_assert!(model.all_are_current());
        prop_assert!(model.restarts <= usize::from(rotations));
    }
}

/// The histories of the decision record.
#[test]
fn histories() {
    use Happens::{Add, Look, Poll, Remove, Replace, Rotate};
    let there_and_back = [Rotate(1), Poll(0), Rotate(0), Poll(0), Look];
    let while_down = [Rotate(1), Poll(0), Poll(1), Replace(2), Look];
    let lagging = [Rotate(1), Poll(0), Look, Replace(0), Look, Poll(1), Look];
    let scaled_up_in_between = [Rotate(1), Add, Look, Poll(0), Look];
    let scaled_up_and_back = [Rotate(1), Add, Look, Rotate(0), Poll(3), Look];
    let replaced_by_others = [
        Rotate(1),
        Replace(0),
        Replace(1),
        Replace(2),
        Look,
        Poll(0),
        Look,
    ];
    let to_zero_and_up = [
        Remove(0),
        Remove(0),
        Remove(0),
        Look,
        Rotate(1),
        Add,
        Add,
        Look,
    ];
    let one_after_another = [Rotate(1), Poll(0), Look, Rotate(2), Poll(1), Look];
    for (history, restarts) in [
        (&there_and_back[..], 0),
        (&while_down, 1),
        (&lagging, 1),
        (&scaled_up_in_between, 1),
        (&scaled_up_and_back, 1),
        (&replaced_by_others, 0),
        (&to_zero_and_up, 0),
        (&one_after_another, 2),
    ] {
        let mut model = Model::new(false);
        history.iter().for_each(|what| model.happen(*what));
        assert_eq!(model.restarts, restarts, "{history:?}");
        model.come_to_rest();
        assert_eq!(model.restarts, restarts, "{history:?}, and after it");
        assert!(model.all_are_current(), "{history:?}");
    }
}

#[test]
fn what_is_recorded_in_another_cluster_is_no_excuse() {
    let mut model = Model::new(true);
    model.happen(Happens::Rotate(1));
    model.happen(Happens::Poll(0));
    let recorded = model.observed.take().map(|mut observed| {
        if let Recorded::Entries(entries) = &mut observed.recorded {
            entries.values_mut().for_each(|it| it.since = Some(1000));
        }
        observed
    });
    model.observed = recorded;
    model.look();
    assert_eq!(model.restarts, 1);
}

#[test]
fn after_a_rotation_of_the_key_the_same_content_restarts_nothing() {
    let mut model = Model::new(true);
    let old = model.ring.current.clone();
    model.ring = Keyring {
        current: InstallationKey::new(&[2; KEY_BYTES]).unwrap(),
        previous: Some(old.clone()),
    };
    (0..3).for_each(|_| model.happen(Happens::Remove(0)));
    model.look();
    let key = |model: &Model| model.observed.as_ref().unwrap().key.clone();
    assert_eq!(key(&model), *old.id(), "nothing to digest anew");
    model.happen(Happens::Add);
    model.look();
    assert_eq!(key(&model), *model.ring.current.id());
    model.happen(Happens::Rotate(1));
    model.happen(Happens::Poll(0));
    model.look();
    assert_eq!(model.restarts, 1);
}

#[test]
fn reloader_s_variable_tells_of_the_newest_content() {
    let mut model = Model::new(true);
    model.strategy = ReloadStrategy::Variables;
    model.happen(Happens::Rotate(1));
    model.happen(Happens::Poll(0));
    let Decision::Restamp {
        start: NewStart::Variables(written),
        ..
    } = model.decide()
    else {
        panic!("a variable is written");
    };
    let id = class().within("shop");
    let content = objects(&[("password", "1")]);
    let hash = ContentHash::of(class().kind, &hashed(&id, &content)).to_string();
    let written = json!(written).to_string();
    assert!(
        written.contains("STAKATER_VAULT_SECRETPROVIDERCLASS"),
        "{written}"
    );
    assert!(written.contains(&hash), "{written}");
}
