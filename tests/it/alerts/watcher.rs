//! The watcher alerts about restarts, and about nothing else.

use std::time::Duration;

use restamp::alerts::{Pauses, Receiver};
use serde_json::Value;

use super::{Answer, FakeReceiver, config};
use crate::watcher::{World, config_map, deployment, name, secret, until};

/// How long a watcher that is asked to stop may take.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A receiver with a limit that a clock which jumps does not reach.
fn slack(chat: &FakeReceiver) -> Receiver {
    let variables = [
        ("ALERT_WEBHOOK_URL", &*chat.url("/")),
        ("ALERT_SINK", "slack"),
    ];
    let mut receiver = Receiver::new(config(&variables)).unwrap();
    receiver.pauses.one_try = Duration::from_secs(1_000_000_000);
    receiver
}

fn texts(chat: &FakeReceiver) -> Vec<String> {
    let text = |body: &str| {
        let body: Value = serde_json::from_str(body).unwrap();
        body["attachments"][0]["text"].as_str().unwrap().to_owned()
    };
    chat.received().iter().map(|it| text(&it.body)).collect()
}

fn shop() -> [Value; 4] {
    [
        secret("login", "one"),
        config_map("files", "one"),
        deployment("web", &["login"], &["files"]),
        deployment("other", &["unrelated"], &[]),
    ]
}

#[tokio::test(start_paused = true)]
async fn each_restart_is_one_alert_in_reloaders_words() {
    let chat = FakeReceiver::that(&[Answer::Status(200)]).await;
    let world = World::alerting(&shop(), slack(&chat)).await;
    assert_eq!(
        texts(&chat),
        Vec::<String>::new(),
        "recording is no restart"
    );

    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
    let one = "Reloader detected changes in *login* of type *SECRET* in namespace *shop*. \
               Hence reloaded *web* of type *Deployment* in namespace *shop*";
    let sent = world.metrics.alerts.with_label_values(&["sent"]);
    until("it is told", || sent.get() == 1).await;
    assert_eq!(texts(&chat), [one]);

    world.api.put("kubectl", &config_map("files", "two"));
    world.api.put("kubectl", &secret("login", "three"));
    world.until_rolled("web", 2).await;
    until("it is told", || sent.get() == 2).await;
    world.quiet().await;
    let two = "Reloader detected changes in *files* of type *CONFIGMAP* in namespace *shop*. \
               Hence reloaded *web* of type *Deployment* in namespace *shop* (and 1 more)";
    assert_eq!(texts(&chat), [one, two]);
}

#[tokio::test(start_paused = true)]
async fn a_repair_of_what_somebody_undid_is_no_alert() {
    let chat = FakeReceiver::that(&[Answer::Status(200)]).await;
    let world = World::alerting(&shop(), slack(&chat)).await;
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
    world
        .api
        .edit("somebody", &name("deployments", "web"), |web| {
            web["spec"]["template"]["metadata"]["annotations"] = Value::Null;
        });
    world.until_rolled("web", 3).await;
    world.quiet().await;
    assert_eq!(texts(&chat).len(), 1, "{:?}", texts(&chat));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_holds_up_no_restart() {
    let chat = FakeReceiver::that(&[Answer::Never]).await;
    let world = World::alerting(&shop(), slack(&chat)).await;
    for (times, value) in (1..).zip(["two", "three", "four"]) {
        world.api.put("kubectl", &secret("login", value));
        world.until_rolled("web", times).await;
        until("it hangs", || chat.received().len() == 1).await;
    }
    for result in ["sent", "failed", "dropped"] {
        let count = world.metrics.alerts.with_label_values(&[result]).get();
        assert_eq!(count, 0, "{result}");
    }
    let asked = tokio::time::Instant::now();
    world.stop().await;
    let took = asked.elapsed();
    assert!(took >= Pauses::default().farewell, "{took:?}");
    assert!(took < LAST_WORDS, "{took:?}");
}
