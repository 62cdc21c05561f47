//! Alerts, delivered over real sockets to receivers of every mood. Only the pauses are shorter.

mod config;
mod payloads;
mod process;
mod proxy;
mod queue;
mod receiver;
mod retries;
mod secrecy;
mod tls;
mod watcher;
mod webhook_url;

use std::{ffi::OsString, time::Duration};

use prometheus::{IntCounterVec, Opts};
use restamp::alerts::{self, Alerts, Config, ConfigError, Pauses, Receiver};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use receiver::{Answer, FakeReceiver};

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What these variables ask for.
fn read(variables: &[(&str, &str)]) -> Result<Option<Config>, ConfigError> {
    Config::read(|wanted| {
        let found = variables.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| OsString::from(value))
    })
}

/// What these variables ask for, besides alerts at all.
fn config(variables: &[(&str, &str)]) -> Config {
    let all = [&[("ALERT_ON_RELOAD", "true")], variables].concat();
    read(&all).unwrap().unwrap()
}

/// A receiver of plain text at that URL, with short pauses between tries.
fn receiver(url: &str) -> Receiver {
    receiver_of(config(&[("ALERT_WEBHOOK_URL", url)]))
}

/// A receiver with short pauses between tries.
fn receiver_of(config: Config) -> Receiver {
    impatient(Receiver::new(config).unwrap())
}

fn impatient(mut receiver: Receiver) -> Receiver {
    receiver.pauses = Pauses {
        one_try: PATIENCE,
        retry: Duration::from_millis(2),
        longest: PATIENCE,
        farewell: Duration::from_millis(300),
    };
    receiver
}

/// A queue, and who empties it.
struct Delivery {
    alerts: Alerts,
    results: IntCounterVec,
    shutdown: CancellationToken,
    courier: JoinHandle<()>,
}

/// What became of alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Results {
    sent: u64,
    failed: u64,
    dropped: u64,
}

impl Results {
    fn of(counters: &IntCounterVec) -> Self {
        let count = |result| counters.with_label_values(&[result]).get();
        Self {
            sent: count("sent"),
            failed: count("failed"),
            dropped: count("dropped"),
        }
    }
}

impl Delivery {
    fn start(receiver: Receiver) -> Self {
        let results = IntCounterVec::new(Opts::new("alerts", "Results."), &["result"]).unwrap();
        let always_most = |bytes: &mut [u8]| {
            bytes.fill(u8::MAX);
            Ok(())
        };
        let (alerts, courier) = alerts::queue(receiver, always_most, results.clone());
        let shutdown = CancellationToken::new();
        Self {
            alerts,
            results,
            courier: tokio::spawn(courier.run(shutdown.clone())),
            shutdown,
        }
    }

    fn send(&self, message: &str) {
        self.alerts.send(message.to_owned());
    }

    /// What became of all alerts, once nothing is left to do.
    async fn finish(self) -> Results {
        let Self {
            alerts,
            results,
            courier,
            ..
        } = self;
        drop(alerts);
        let ended = tokio::time::timeout(PATIENCE, courier).await;
        ended.expect("an end").expect("no panic");
        Results::of(&results)
    }
}

/// Sends one alert, and says what became of it.
async fn deliver(receiver: Receiver) -> Results {
    let delivery = Delivery::start(receiver);
    delivery.send("a *message*");
    delivery.finish().await
}

const SENT: Results = Results {
    sent: 1,
    failed: 0,
    dropped: 0,
};
const FAILED: Results = Results {
    sent: 0,
    failed: 1,
    dropped: 0,
};

/// Waits in real time.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "never: {what}");
}
