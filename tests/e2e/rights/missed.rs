//! What a process says of a right that it lacks.

use super::given::Right;
use crate::support::{replica::Replica, wait::until};

/// What a process says of one right, from a moment on: in its log, and by the counter of that right.
pub struct Missed<'a> {
    process: &'a Replica,
    right: Right,
    logged: usize,
    counted: f64,
}

impl<'a> Missed<'a> {
    /// From its start on.
    pub fn ever(process: &'a Replica, right: Right) -> Self {
        Self {
            process,
            right,
            logged: 0,
            counted: 0.0,
        }
    }

    /// From now on.
    pub async fn from_now_on(process: &'a Replica, right: Right) -> Self {
        Self {
            logged: process.log().len(),
            counted: process.metric(&series(right)).await,
            ..Self::ever(process, right)
        }
    }

    /// Waits until the log names the right, and of what it is, and until it is counted.
    pub async fn until_told(&self, what: &str) {
        let told = self.told(what);
        until("it is logged", async || {
            let log = self.process.log();
            let is_it = |line: &str| line.contains(&told) && line.contains("grant this right");
            if log[self.logged..].lines().any(is_it) {
                Ok(())
            } else {
                Err(format!("no {told:?} in\n{}", &log[self.logged..]))
            }
        })
        .await;
        let series = series(self.right);
        until("it is counted", async || {
            match self.process.metric(&series).await {
                count if count > self.counted => Ok(()),
                count => Err(format!("{series} {count}")),
            }
        })
        .await;
    }

    /// As [`Missed::until_told`], and until the process is not ready for that reason.
    pub async fn until_not_ready(&self, what: &str) {
        self.until_told(what).await;
        let told = self.told(what);
        until("it is not ready", async || {
            match self.process.http("/readyz").await {
                Ok((503, body)) if body.contains(&told) => Ok(()),
                other => Err(format!("no {told:?} in {other:?}")),
            }
        })
        .await;
    }

    fn told(&self, what: &str) -> String {
        format!("may not {} {what}", self.right.text())
    }
}

fn series(right: Right) -> String {
    let (verb, resource) = (right.verb, right.resource());
    format!("restamp_forbidden_total{{resource=\"{resource}\",verb=\"{verb}\"}}")
}
