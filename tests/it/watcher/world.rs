//! A watcher that runs against the fake, and the objects that it looks after.

use std::{cell::Cell, net::SocketAddr, sync::mpsc, thread, time::Duration};

use restamp::{
    alerts::Receiver,
    cluster::{
        key,
        kind::{KINDS, Kinds},
    },
    runtime::{
        ambient::{Ambient, NoRandomness},
        metrics::WatcherMetrics,
        tasks::TaskError,
    },
    stamp::{
        annotations::{AUTO, OBSERVED, STAMP},
        settings::PolicySettings,
    },
    watcher::{self, LEASE, Settings},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::fake_api::{Call, FakeApi, Key, key, now};

/// Where Restamp is installed.
pub const HOME: &str = "restamp-system";
/// Where the workloads are.
pub const SHOP: &str = "shop";
/// No wait is longer than this.
const PATIENCE: Duration = Duration::from_secs(600);
/// No watcher runs longer than this, in real time.
const REAL_PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    /// What the next installation key is made of: each is another one.
    static KEYS: Cell<u64> = const { Cell::new(1) };
}

/// A wall clock that goes with the tests' time, and chance that does not repeat itself.
pub fn ambient() -> Ambient {
    Ambient {
        now,
        random: next_key,
    }
}

fn next_key(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    let number = KEYS.replace(KEYS.get() + 1).to_le_bytes();
    for (byte, digit) in bytes.iter_mut().zip(number.into_iter().cycle()) {
        *byte = digit;
    }
    Ok(())
}

/// A running watcher and its API server.
pub struct World {
    /// The API server.
    pub api: FakeApi,
    /// What the watcher counts.
    pub metrics: WatcherMetrics,
    /// Where its HTTP endpoints are.
    pub admin: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), TaskError>>,
    _watchdog: mpsc::Sender<()>,
}

impl World {
    /// Starts a watcher.
    pub async fn start(api: &FakeApi) -> Self {
        Self::start_with(api, PolicySettings::default()).await
    }

    /// Starts a watcher with these settings.
    pub async fn start_with(api: &FakeApi, policy: PolicySettings) -> Self {
        let metrics = WatcherMetrics::new().unwrap();
        Self::start_whole(api, Kinds::default(), policy, (None, None), metrics).await
    }

    /// Starts a watcher that follows these kinds.
    pub async fn following(api: &FakeApi, kinds: Kinds) -> Self {
        let (policy, metrics) = (PolicySettings::default(), WatcherMetrics::new().unwrap());
        Self::start_whole(api, kinds, policy, (None, None), metrics).await
    }

    /// Starts one that tells a webhook in the place of restarts, and waits until it leads and has listed everything.
    pub async fn telling(api: &FakeApi, policy: PolicySettings, webhook: Receiver) -> Self {
        let metrics = WatcherMetrics::new().unwrap();
        let receivers = (None, Some(webhook));
        let world = Self::start_whole(api, Kinds::default(), policy, receivers, metrics).await;
        until("it leads", || world.metrics.leader.get() == 1).await;
        world.quiet().await;
        world
    }

    async fn start_whole(
        api: &FakeApi,
        kinds: Kinds,
        policy: PolicySettings,
        (alerts, webhook): (Option<Receiver>, Option<Receiver>),
        metrics: WatcherMetrics,
    ) -> Self {
        let shutdown = CancellationToken::new();
        let settings = Settings {
            namespace: HOME.to_owned(),
            identity: "us".to_owned(),
            kinds,
            policy: policy.into(),
            settle: Duration::from_secs(2),
            ambient: ambient(),
            alerts,
            webhook,
            certificates: None,
        };
        let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = admin.local_addr().unwrap();
        let run = watcher::run(
            api.client(),
            settings,
            metrics.clone(),
            admin,
            shutdown.clone(),
        );
        Self {
            api: api.clone(),
            metrics,
            admin: address,
            shutdown,
            task: tokio::spawn(run),
            _watchdog: watchdog(),
        }
    }

    /// Starts a watcher on these objects, and waits until every workload is recorded and all is quiet.
    pub async fn with(objects: &[Value]) -> Self {
        Self::counting(objects, WatcherMetrics::new().unwrap()).await
    }

    /// The same with a watcher that counts here.
    pub async fn counting(objects: &[Value], metrics: WatcherMetrics) -> Self {
        Self::recorded_with(objects, PolicySettings::default(), None, metrics).await
    }

    /// The same with a watcher that alerts about restarts.
    pub async fn alerting(objects: &[Value], receiver: Receiver) -> Self {
        let metrics = WatcherMetrics::new().unwrap();
        let policy = PolicySettings::default();
        Self::recorded_with(objects, policy, Some(receiver), metrics).await
    }

    /// The same with these settings.
    pub async fn set_up(objects: &[Value], policy: PolicySettings) -> Self {
        Self::recorded_with(objects, policy, None, WatcherMetrics::new().unwrap()).await
    }

    async fn recorded_with(
        objects: &[Value],
        policy: PolicySettings,
        alerts: Option<Receiver>,
        metrics: WatcherMetrics,
    ) -> Self {
        let api = FakeApi::default();
        for object in objects {
            if let Some((group, _)) = object["apiVersion"].as_str().unwrap().split_once('/') {
                api.serve_group(group);
            }
            api.put("kubectl", object);
        }
        let world =
            Self::start_whole(&api, Kinds::default(), policy, (alerts, None), metrics).await;
        world.until_recorded().await;
        world.quiet().await;
        api.forget_calls();
        world
    }

    /// Waits until every workload that asks for restarts has a memory.
    pub async fn until_recorded(&self) {
        let lacks_memory = |object: &Value| {
            let annotations = &object["metadata"]["annotations"];
            annotations[AUTO] == "true" && annotations[OBSERVED].is_null()
        };
        until("all is recorded", || {
            let all = KINDS.iter().flat_map(|kind| self.api.all(kind.plural));
            !all.into_iter().any(|object| lacks_memory(&object))
        })
        .await;
    }

    /// Lets enough time pass for whatever is under way to end.
    pub async fn quiet(&self) {
        sleep(Duration::from_secs(60)).await;
        assert!(!self.task.is_finished(), "the watcher ended");
    }

    /// Waits until the Deployment has been rolled out `times` times since it was made.
    pub async fn until_rolled(&self, name: &str, times: u64) {
        let what = format!("{name} is rolled out {times} times");
        until(&what, || self.rollouts(name) == times).await;
    }

    /// How often the Deployment was rolled out since it was made.
    pub fn rollouts(&self, name: &str) -> u64 {
        self.deployment(name)["metadata"]["generation"]
            .as_u64()
            .unwrap()
            - 1
    }

    /// The Deployment as it is now.
    pub fn deployment(&self, name: &str) -> Value {
        self.api.get(&key("deployments", SHOP, name)).unwrap()
    }

    /// The stamp on the Deployment's template.
    pub fn stamp(&self, name: &str) -> Option<String> {
        let deployment = self.deployment(name);
        let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
        annotations[STAMP].as_str().map(str::to_owned)
    }

    /// What the Deployment's memory says of a source.
    pub fn recorded(&self, name: &str, source: &str) -> Value {
        let deployment = self.deployment(name);
        let text = deployment["metadata"]["annotations"][OBSERVED]
            .as_str()
            .unwrap();
        let observed: Value = serde_json::from_str(text).unwrap();
        observed["sources"][source]["digest"].clone()
    }

    /// The requests since the last [`FakeApi::forget_calls`], those left out that a leader makes of his own accord: for
    /// the Lease, for kinds that may be served, and for Jobs that are to be made.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls = self.api.calls();
        calls.retain(|call| {
            let is_of_jobs = call.query.contains("restamp.dev%2Frecreates");
            call.key.resource != "leases" && call.verb != "discover" && !is_of_jobs
        });
        calls
    }

    /// The requests of a verb for an object, or for all of a resource.
    pub fn count(&self, verb: &str, resource: &str, name: &str) -> usize {
        let wanted = |call: &&Call| {
            call.verb == verb && call.key.resource == resource && call.key.name == name
        };
        self.calls().iter().filter(wanted).count()
    }

    /// The messages of the Events with that reason.
    pub fn events(&self, reason: &str) -> Vec<String> {
        let events = self.api.all("events").into_iter();
        events
            .filter(|event| event["reason"] == reason)
            .map(|event| event["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Ends the watcher as SIGTERM does.
    pub async fn stop(self) -> FakeApi {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended
            .expect("an end")
            .expect("no panic")
            .expect("an orderly end");
        self.api
    }

    /// Ends the watcher as SIGKILL does.
    pub async fn kill(self) -> FakeApi {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        self.api
    }
}

/// A task that never rests keeps the clock from jumping, so that no deadline can come: ends the tests
/// instead, unless what it returns is dropped in time.
fn watchdog() -> mpsc::Sender<()> {
    let (alive, watched) = mpsc::channel::<()>();
    let test = thread::current().name().unwrap_or_default().to_owned();
    thread::spawn(move || {
        if watched.recv_timeout(REAL_PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{test}: virtual time stands still: some task never rests");
            std::process::abort();
        }
    });
    alive
}

/// Waits, in virtual time.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, wait).await.is_ok(),
        "never: {what}"
    );
}

/// Names an object of the shop.
pub fn name(resource: &str, name: &str) -> Key {
    key(resource, SHOP, name)
}

/// The installation key's Secret.
pub fn installation_key() -> Key {
    key("secrets", HOME, key::SECRET)
}

/// Puts another installation key before the one in use.
pub fn rotate_key(api: &FakeApi) {
    api.edit("admin", &installation_key(), |secret| {
        let old = secret["data"]["key"].take();
        secret["data"] = json!({
            "key": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            "previous-key": old,
        });
    });
}

/// The watcher's Lease.
pub fn lease() -> Key {
    key("leases", HOME, LEASE)
}

/// A Secret with one entry.
pub fn secret(name: &str, value: &str) -> Value {
    let value = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, value);
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "namespace": SHOP, "name": name },
        "data": { "value": value },
    })
}

/// A ConfigMap with one entry.
pub fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "namespace": SHOP, "name": name },
        "data": { "value": value },
    })
}

/// A Deployment that asks for restarts, and whose pods take all of these Secrets and ConfigMaps.
pub fn deployment(name: &str, secrets: &[&str], config_maps: &[&str]) -> Value {
    let secrets = secrets
        .iter()
        .map(|name| json!({ "secretRef": { "name": name } }));
    let config_maps = config_maps
        .iter()
        .map(|name| json!({ "configMapRef": { "name": name } }));
    let env_from: Vec<_> = secrets.chain(config_maps).collect();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "namespace": SHOP, "name": name, "annotations": { AUTO: "true" } },
        "spec": { "template": {
            "metadata": { "labels": { "app": name } },
            "spec": { "containers": [{ "name": "app", "image": "app:1", "envFrom": env_from }] },
        }},
    })
}

/// The Deployment with another image.
pub fn next_image(stored: &Value) -> Value {
    let mut next = stored.clone();
    next["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:2");
    next
}
