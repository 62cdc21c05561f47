//! Receivers on a bad day: slow, away, busy, broken.

use std::time::Duration;

use restamp::alerts::TRIES;
use tokio::{net::TcpSocket, time::Instant};

use super::{Answer, Delivery, FAILED, FakeReceiver, SENT, deliver, eventually, receiver};
use crate::logs::Logs;

#[tokio::test]
async fn an_accepted_alert_is_a_success() {
    for status in [200, 201, 202, 204] {
        let chat = FakeReceiver::that(&[Answer::Status(status)]).await;
        assert_eq!(deliver(receiver(&chat.url("/"))).await, SENT, "{status}");
        chat.only_one();
    }
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_made_again() {
    let chat = FakeReceiver::that(&[Answer::Never, Answer::Status(200)]).await;
    let mut receiver = receiver(&chat.url("/"));
    receiver.pauses.one_try = Duration::from_millis(500);
    let began = Instant::now();
    assert_eq!(deliver(receiver).await, SENT);
    assert!(began.elapsed() >= Duration::from_millis(500));
    assert!(chat.received().len() >= 2);
}

#[tokio::test]
async fn a_receiver_that_is_away_is_tried_until_it_is_back() {
    let logs = Logs::capture();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    let mut receiver = receiver(&url);
    receiver.pauses.retry = Duration::from_millis(400);
    let delivery = Delivery::start(receiver);
    delivery.send("hello");
    eventually("it was refused", || {
        !logs.with(&["trying again", "refused"]).is_empty()
    })
    .await;
    let chat = FakeReceiver::on(socket.listen(16).unwrap(), &[Answer::Status(200)]);
    assert_eq!(delivery.finish().await, SENT);
    assert_eq!(chat.only_one().body, "hello");
}

/// How long the receiver was left alone after that answer, with all other pauses short.
async fn pause_after(answer: Answer, longest: Duration) -> Duration {
    let chat = FakeReceiver::that(&[answer, Answer::Status(200)]).await;
    let mut receiver = receiver(&chat.url("/"));
    receiver.pauses.longest = longest;
    assert_eq!(deliver(receiver).await, SENT, "{answer:?}");
    let received = chat.received();
    assert_eq!(received.len(), 2, "{answer:?}");
    received[1].at - received[0].at
}

#[tokio::test]
async fn a_busy_receiver_says_how_long_it_is_left_alone() {
    for status in [429, 503] {
        let busy = Answer::With(status, "Retry-After", "1");
        let pause = pause_after(busy, Duration::from_secs(60)).await;
        assert!(pause >= Duration::from_secs(1), "{status}: {pause:?}");
    }
}

#[tokio::test]
async fn a_busy_receiver_cannot_have_us_wait_for_ever_or_not_at_all() {
    let limit = Duration::from_millis(50);
    for wish in ["86400", "18446744073709551615"] {
        let pause = pause_after(Answer::With(429, "Retry-After", wish), limit).await;
        assert!(pause >= limit, "{wish}: {pause:?}");
    }
    for wish in ["0", "-1", "soon", "Wed, 21 Oct 2065 07:28:00 GMT"] {
        let pause = pause_after(Answer::With(429, "Retry-After", wish), limit).await;
        assert!(pause >= Duration::from_millis(1), "{wish}: {pause:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_receiver_is_tried_again() {
    for status in [429, 500, 502, 503, 504] {
        let chat = FakeReceiver::that(&[Answer::Status(status), Answer::Status(200)]).await;
        assert_eq!(deliver(receiver(&chat.url("/"))).await, SENT, "{status}");
        let received = chat.received();
        assert_eq!(received.len(), 2, "{status}");
        assert_eq!(received[0].body, received[1].body);
    }
}

#[tokio::test]
async fn pauses_grow_until_it_is_given_up() {
    let logs = Logs::capture();
    let chat = FakeReceiver::that(&[Answer::Status(500)]).await;
    let mut receiver = receiver(&chat.url("/"));
    receiver.pauses.retry = Duration::from_millis(20);
    receiver.pauses.longest = Duration::from_millis(80);
    assert_eq!(deliver(receiver).await, FAILED);
    let received = chat.received();
    assert_eq!(received.len(), TRIES as usize);
    for (tries, least) in received.windows(2).zip([20, 40, 80, 80]) {
        let pause = tries[1].at - tries[0].at;
        assert!(
            pause >= Duration::from_millis(least),
            "{pause:?} < {least} ms"
        );
    }
    let lines = logs.with(&["WARN", "giving up", "host=\"127.0.0.1\"", "tries=5", "500"]);
    assert_eq!(lines.len(), 1, "{:?}", logs.with(&[]));
}

#[tokio::test]
async fn what_the_receiver_does_not_want_is_not_sent_again() {
    for status in [400, 401, 403, 404, 410] {
        let chat = FakeReceiver::that(&[Answer::Status(status)]).await;
        assert_eq!(deliver(receiver(&chat.url("/"))).await, FAILED, "{status}");
        chat.only_one();
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_nobody_else_gets_the_message() {
    let other = FakeReceiver::that(&[Answer::Status(200)]).await;
    let location = other.url("/stolen").leak();
    for status in [301, 302, 303, 307, 308] {
        let chat = FakeReceiver::that(&[Answer::With(status, "Location", location)]).await;
        assert_eq!(deliver(receiver(&chat.url("/"))).await, FAILED, "{status}");
        chat.only_one();
    }
    assert!(other.received().is_empty());
}

#[tokio::test]
async fn one_that_fails_does_not_keep_the_next_one() {
    let answers = [Answer::Status(404), Answer::Status(200)];
    let chat = FakeReceiver::that(&answers).await;
    let delivery = Delivery::start(receiver(&chat.url("/")));
    delivery.send("first");
    delivery.send("second");
    let results = delivery.finish().await;
    assert_eq!((results.sent, results.failed), (1, 1));
    let bodies: Vec<_> = chat.received().into_iter().map(|it| it.body).collect();
    assert_eq!(bodies, ["first", "second"]);
}
