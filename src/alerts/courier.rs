//! The queue of alerts, and the one task that delivers them, one after the other.

use std::time::Duration;

use prometheus::IntCounterVec;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    payload::Payload,
    receiver::{Failure, Pauses, Receiver},
};
use crate::runtime::ambient::NoRandomness;

/// Alerts that may wait: as many as workloads that follow one source in a large cluster.
pub const QUEUE: usize = 1024;
/// Tries for each alert.
pub const TRIES: u32 = 5;

/// Fills a buffer with random bytes.
type Random = fn(&mut [u8]) -> Result<(), NoRandomness>;

/// Where alerts are handed over.
#[derive(Clone)]
pub struct Alerts {
    queue: mpsc::Sender<String>,
    results: IntCounterVec,
}

/// Who delivers them.
pub struct Courier {
    queue: mpsc::Receiver<String>,
    receiver: Receiver,
    random: Random,
    results: IntCounterVec,
}

/// A queue for alerts, and who empties it. `results` counts, by result, what became of each.
pub fn queue(receiver: Receiver, random: Random, results: IntCounterVec) -> (Alerts, Courier) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let alerts = Alerts {
        queue: sender,
        results: results.clone(),
    };
    let courier = Courier {
        queue,
        receiver,
        random,
        results,
    };
    (alerts, courier)
}

impl Alerts {
    /// Hands a message over, without ever waiting: if there is no room, it is dropped.
    pub fn send(&self, message: String) {
        if self.queue.try_send(message).is_err() {
            count(&self.results, "dropped");
            warn!("too many alerts are waiting: one is dropped");
        }
    }
}

impl Courier {
    /// Delivers until nobody is left who could hand anything over; after `shutdown`, not for long.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let farewell = self.receiver.pauses.farewell;
        let is_done = tokio::select! {
            biased;
            () = self.deliver_all() => true,
            () = async { shutdown.cancelled().await; sleep(farewell).await } => false,
        };
        if !is_done {
            let alerts = self.queue.len() + 1;
            warn!(alerts, "stopping with alerts that were not delivered");
        }
    }

    async fn deliver_all(&mut self) {
        while let Some(message) = self.queue.recv().await {
            self.deliver(&message).await;
        }
    }

    async fn deliver(&self, message: &str) {
        let payload = Payload::new(&self.receiver.config, message);
        let host = self.receiver.config.url.host();
        let mut tries = 1;
        let failure = loop {
            match self.receiver.post(&payload).await {
                Ok(()) => {
                    count(&self.results, "sent");
                    debug!(host, tries, "alerted");
                    return;
                }
                Err(failure) if tries == TRIES || !failure.may_pass() => break failure,
                Err(failure) => {
                    let pause = self.pause(tries, &failure);
                    debug!(host, tries, error = %failure, ?pause, "cannot alert; trying again");
                    sleep(pause).await;
                }
            }
            tries += 1;
        };
        count(&self.results, "failed");
        warn!(host, tries, error = %failure, "cannot alert; giving up");
    }

    fn pause(&self, tries: u32, failure: &Failure) -> Duration {
        let mut chance = [0];
        // Without chance there is no harm but that watchers may come back together.
        let _ = (self.random)(&mut chance);
        let [chance] = chance;
        pause(&self.receiver.pauses, tries, failure.retry_after(), chance)
    }
}

/// How long to wait after that many tries: longer each time, not less than is `wanted`, and not the same
/// for every watcher, so that they do not come back together.
fn pause(pauses: &Pauses, tries: u32, wanted: Option<Duration>, chance: u8) -> Duration {
    let doubled = pauses.retry.saturating_mul(2_u32.saturating_pow(tries - 1));
    let half = doubled.min(pauses.longest) / 2;
    let pause = half + half * u32::from(chance) / u32::from(u8::MAX);
    pause.max(wanted.unwrap_or_default()).min(pauses.longest)
}

fn count(results: &IntCounterVec, result: &'static str) {
    results.with_label_values(&[result]).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: Pauses = Pauses {
        one_try: Duration::ZERO,
        retry: Duration::from_secs(1),
        longest: Duration::from_secs(60),
        farewell: Duration::ZERO,
    };

    fn milliseconds(tries: u32, wanted: Option<u64>, chance: u8) -> u128 {
        let wanted = wanted.map(Duration::from_secs);
        pause(&PAUSES, tries, wanted, chance).as_millis()
    }

    #[test]
    fn a_pause_is_between_half_and_all_of_what_is_doubled_each_time() {
        for (tries, all) in [(1, 1_000), (2, 2_000), (3, 4_000), (4, 8_000), (40, 60_000)] {
            assert_eq!(milliseconds(tries, None, 0), all / 2, "{tries}");
            assert_eq!(milliseconds(tries, None, u8::MAX), all, "{tries}");
            let between = milliseconds(tries, None, 100);
            assert!(all / 2 < between && between < all, "{tries}: {between}");
        }
    }

    #[test]
    fn what_the_receiver_wants_makes_a_pause_longer_up_to_a_limit() {
        assert_eq!(milliseconds(1, Some(30), 0), 30_000);
        assert_eq!(milliseconds(1, Some(u64::MAX), 0), 60_000);
        assert_eq!(milliseconds(3, Some(1), 0), 2_000);
    }
}
