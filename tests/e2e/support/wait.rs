//! Waiting for conditions.

use std::{env, fmt::Debug, time::Duration};

use tokio::time::{Instant, sleep};

/// No condition takes longer, on a machine that is busy with other tests. E2E_DEADLINE, in seconds, is for other machines.
pub fn deadline() -> Duration {
    let given = env::var("E2E_DEADLINE").ok();
    let given = given.map(|seconds| {
        seconds
            .parse()
            .expect("E2E_DEADLINE is a number of seconds")
    });
    Duration::from_secs(given.unwrap_or(90))
}

const POLL: Duration = Duration::from_millis(50);

/// Waits until `probe` gives `Ok`; panics with its last complaint when it takes too long.
pub async fn until<T, E: Debug>(what: &str, mut probe: impl AsyncFnMut() -> Result<T, E>) -> T {
    let (began, deadline) = (Instant::now(), deadline());
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(complaint) if began.elapsed() > deadline => {
                panic!("{what}: still not so after {deadline:?}: {complaint:?}")
            }
            Err(_) => sleep(POLL).await,
        }
    }
}
