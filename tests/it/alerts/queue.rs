//! The queue takes what it can, and keeps nobody.

use std::time::Duration;

use restamp::alerts::QUEUE;
use tokio::time::Instant;

use super::{Answer, Delivery, FakeReceiver, PATIENCE, Results, eventually, receiver};
use crate::logs::Logs;

#[tokio::test]
async fn a_full_queue_drops_what_comes_and_keeps_nobody() {
    let logs = Logs::capture();
    let chat = FakeReceiver::that(&[Answer::Never]).await;
    let delivery = Delivery::start(receiver(&chat.url("/")));
    delivery.send("under way");
    eventually("it hangs", || chat.received().len() == 1).await;
    // None of these waits: there is no `await` in them.
    for _ in 0..QUEUE {
        delivery.send("waits");
    }
    assert_eq!(Results::of(&delivery.results).dropped, 0);
    delivery.send("too many");
    delivery.send("too many");
    assert_eq!(Results::of(&delivery.results).dropped, 2);
    assert_eq!(logs.with(&["WARN", "dropped"]).len(), 2);
    delivery.shutdown.cancel();
    let results = delivery.finish().await;
    assert_eq!((results.sent, results.failed, results.dropped), (0, 0, 2));
}

#[tokio::test]
async fn what_is_queued_when_we_are_asked_to_stop_is_still_delivered() {
    let busy = [Answer::Status(500), Answer::Status(200)];
    let chat = FakeReceiver::that(&busy).await;
    let mut receiver = receiver(&chat.url("/"));
    receiver.pauses.farewell = PATIENCE;
    let delivery = Delivery::start(receiver);
    delivery.shutdown.cancel();
    for message in ["one", "two", "three"] {
        delivery.send(message);
    }
    assert_eq!(delivery.finish().await.sent, 3);
}

#[tokio::test]
async fn a_receiver_that_hangs_does_not_keep_us_from_stopping() {
    let logs = Logs::capture();
    let chat = FakeReceiver::that(&[Answer::Never]).await;
    let delivery = Delivery::start(receiver(&chat.url("/")));
    for message in ["one", "two", "three"] {
        delivery.send(message);
    }
    eventually("it hangs", || chat.received().len() == 1).await;
    let asked = Instant::now();
    delivery.shutdown.cancel();
    assert_eq!(delivery.finish().await.sent, 0);
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < PATIENCE / 2, "{took:?}");
    let lines = logs.with(&["WARN", "not delivered", "alerts=3"]);
    assert_eq!(lines.len(), 1, "{:?}", logs.with(&[]));
}
