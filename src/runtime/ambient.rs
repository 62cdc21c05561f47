//! The one seam for wall-clock time and randomness. Monotonic time is tokio's, which tests can pause.

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};

/// Where wall-clock time and random bytes come from.
#[derive(Clone, Copy)]
pub struct Ambient {
    /// The wall clock: for times that people read, and for pauses that outlive a process.
    pub now: fn() -> Timestamp,
    /// Fills a key with random bytes.
    pub random: fn(&mut [u8]) -> Result<(), NoRandomness>,
}

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct NoRandomness;

impl Default for Ambient {
    fn default() -> Self {
        Self {
            now: Timestamp::now,
            random: |bytes| SystemRandom::new().fill(bytes).map_err(|_| NoRandomness),
        }
    }
}
