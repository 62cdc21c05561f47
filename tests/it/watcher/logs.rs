//! What the watcher logs.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use restamp::runtime::telemetry::{self, LogFormat};
use serde_json::{Value, json};
use tracing::{
    Dispatch,
    subscriber::{DefaultGuard, NoSubscriber},
};

use super::{
    World, deployment, secret, until,
    world::{HOME, installation_key},
};
use crate::fake_api::FakeApi;

/// What nobody may ever see again. Three bytes are four digits of base64, so that it looks the same there
/// whatever follows it.
const PAYLOAD: &str = "hunter2!!";

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Takes what this thread logs, which is all that a test of one thread does.
    fn capture(&self) -> Capture {
        let log = self.clone();
        let writer = move || log.clone();
        let subscriber = telemetry::subscriber(LogFormat::Json, "trace", writer).unwrap();
        Capture {
            _other: Dispatch::new(NoSubscriber::new()),
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

struct Capture {
    /// With a single subscriber, whether a place in the code logs is decided by the thread that comes
    /// there first: in another test, which logs to nobody.
    _other: Dispatch,
    _guard: DefaultGuard,
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn assert_no_payload(log: &str) {
    let bytes = format!("{:?}", PAYLOAD.as_bytes());
    for shape in [
        PAYLOAD,
        &STANDARD.encode(PAYLOAD),
        bytes.trim_matches(['[', ']']),
    ] {
        let leak = log.lines().find(|line| line.contains(shape));
        assert_eq!(leak, None, "{shape}");
    }
}

fn with_last_applied(mut secret: Value) -> Value {
    let applied = secret.to_string();
    secret["metadata"]["annotations"] =
        json!({ "kubectl.kubernetes.io/last-applied-configuration": applied });
    secret
}

fn malformed(mut secret: Value) -> Value {
    secret["data"]["value"] = format!("{PAYLOAD} is not base64").into();
    secret
}

fn key_secret(key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "namespace": HOME, "name": installation_key().name },
        "data": { "key": key },
    })
}

#[tokio::test(start_paused = true)]
async fn at_its_finest_the_log_tells_of_workloads_and_of_no_payload() {
    let log = Log::default();
    let _capture = log.capture();
    let api = FakeApi::default();
    let login = |value: &str| with_last_applied(secret("login", &format!("{PAYLOAD}{value}")));
    api.put("kubectl", &login("one"));
    api.put("kubectl", &deployment("web", &["login"], &[]));
    api.put("kubectl", &key_secret(&format!("{PAYLOAD} is not base64")));
    let world = World::start(&api).await;
    until("the key is missed", || {
        log.text().contains("no installation key")
    })
    .await;
    api.put("kubectl", &key_secret(&STANDARD.encode(PAYLOAD.repeat(4))));
    world.until_recorded().await;
    api.put("kubectl", &login("two"));
    world.until_rolled("web", 1).await;
    api.put("kubectl", &malformed(login("")));
    until("the Secret cannot be read", || {
        log.text().contains("cannot read a source")
    })
    .await;
    world.stop().await;

    let log = log.text();
    for told in [
        "Deployment shop/web",
        "ContentChanged",
        "\"level\":\"DEBUG\"",
    ] {
        assert!(log.contains(told), "no {told:?} in\n{log}");
    }
    assert_no_payload(&log);
}
