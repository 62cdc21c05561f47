//! Waiting for conditions.

use std::{fmt::Debug, time::Duration};

use tokio::time::{Instant, sleep};

/// No condition takes longer, on a machine that is busy with other tests.
pub const DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

/// Waits until `probe` gives `Ok`; panics with its last complaint when it takes too long.
pub async fn until<T, E: Debug>(what: &str, mut probe: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(complaint) if Instant::now() > deadline => {
                panic!("{what}: still not so after {DEADLINE:?}: {complaint:?}")
            }
            Err(_) => sleep(POLL).await,
        }
    }
}
