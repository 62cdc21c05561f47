//! Certificates that Restamp makes itself: what to do next with them, and how they are made and read.
//!
//! ```text
//!  watcher/ -> cluster/ read -> material -> step -> authority -> cluster/ write
//!               (I/O)          (what it is) (pure)  (new keys)     (I/O)
//! ```
//!
//! One CA signs one serving certificate, which all replicas of the webhook serve. The order in which they change, so that
//! the API server trusts whatever is served at any moment, is that of [`step::next`].

pub mod authority;
pub mod material;
pub mod step;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// From when until when something is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The first moment.
    pub from: Timestamp,
    /// The last moment.
    pub until: Timestamp,
}

impl Life {
    /// Whether that is now.
    pub fn includes(&self, now: Timestamp) -> bool {
        self.from <= now && now <= self.until
    }
}

/// How long things last, and how long it is waited for others to learn of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// For how long a CA is valid. It is replaced after two thirds.
    pub authority: Duration,
    /// For how long a serving certificate is valid. It is replaced after two thirds.
    pub serving: Duration,
    /// By when every API server has taken in a `caBundle`.
    pub publish: Duration,
    /// By when every replica of the webhook serves a new certificate.
    pub adopt: Duration,
}

impl Default for Times {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        Self {
            authority: Duration::from_secs(3650 * DAY),
            serving: Duration::from_secs(90 * DAY),
            publish: Duration::from_secs(MINUTE),
            adopt: Duration::from_secs(10 * MINUTE),
        }
    }
}

/// By how much clocks may differ: what is new is valid since so long ago.
const SKEW: Duration = Duration::from_secs(24 * 60 * 60);

impl Times {
    /// The life of a CA that is made now.
    pub fn life_of_authority(&self, now: Timestamp) -> Life {
        life(now, self.authority)
    }

    /// The life of a serving certificate that is made now.
    pub fn life_of_serving(&self, now: Timestamp) -> Life {
        life(now, self.serving)
    }
}

fn life(now: Timestamp, lasts: Duration) -> Life {
    Life {
        from: earlier(now, SKEW),
        until: later(now, lasts),
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

/// How long it is until then; zero if that is over.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    let left: SignedDuration = then.duration_since(now);
    Duration::try_from(left).unwrap_or_default()
}
