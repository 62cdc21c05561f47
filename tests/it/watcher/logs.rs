//! What the watcher logs.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    World, deployment, secret, until,
    world::{HOME, installation_key},
};
use crate::{fake_api::FakeApi, logs::Logs};

/// What nobody may ever see again. Three bytes are four digits of base64, so that it looks the same there
/// whatever follows it.
const PAYLOAD: &str = "hunter2!!";

fn assert_no_payload(logs: &Logs) {
    let bytes = format!("{:?}", PAYLOAD.as_bytes());
    for shape in [
        PAYLOAD,
        &STANDARD.encode(PAYLOAD),
        bytes.trim_matches(['[', ']']),
    ] {
        assert_eq!(logs.with(&[shape]), Vec::<String>::new(), "{shape}");
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
    let logs = Logs::capture_all();
    let api = FakeApi::default();
    let login = |value: &str| with_last_applied(secret("login", &format!("{PAYLOAD}{value}")));
    api.put("kubectl", &login("one"));
    api.put("kubectl", &deployment("web", &["login"], &[]));
    api.put("kubectl", &key_secret(&format!("{PAYLOAD} is not base64")));
    let world = World::start(&api).await;
    until("the key is missed", || {
        !logs.with(&["no installation key"]).is_empty()
    })
    .await;
    api.put("kubectl", &key_secret(&STANDARD.encode(PAYLOAD.repeat(4))));
    world.until_recorded().await;
    api.put("kubectl", &login("two"));
    world.until_rolled("web", 1).await;
    api.put("kubectl", &malformed(login("")));
    until("the Secret cannot be read", || {
        !logs.with(&["cannot read a source"]).is_empty()
    })
    .await;
    world.stop().await;

    for told in [
        "Deployment shop/web",
        "ContentChanged",
        "\"level\":\"DEBUG\"",
    ] {
        let log = logs.with(&[]).join("\n");
        assert!(log.contains(told), "no {told:?} in\n{log}");
    }
    assert_no_payload(&logs);
}
