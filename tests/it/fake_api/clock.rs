//! The wall clock of the tests: it goes as tokio's clock does, which a test can let jump.

use std::cell::Cell;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

thread_local! {
    static START: Cell<Instant> = Cell::new(Instant::now());
}

/// Sets it to the beginning, so that what follows can be had again.
pub fn set_back() {
    START.set(Instant::now());
}

/// What time it is.
pub fn now() -> Timestamp {
    let passed = START.get().elapsed();
    Timestamp::UNIX_EPOCH + SignedDuration::try_from(passed).expect("a short time")
}
