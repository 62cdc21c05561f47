//! Restarts that a pause period holds back, and pauses that Reloader left.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, info};

use super::{engine::Engine, intake::Via, jobs::log_failure};
use crate::cluster::{
    Error,
    events::EventReason,
    workload::{Workload, WorkloadId},
};

impl Engine {
    /// Until when a restart of the workload is held back, if it is.
    pub(super) fn held_back_until(&self, id: &WorkloadId, now: Instant) -> Option<Instant> {
        let wall_clock = (self.settings.ambient.now)();
        let until = self.records.get(id)?.workload.held_until(wall_clock)?;
        debug!(workload = %id, %until, "a restart is held back by the pause period");
        Some(now + between(wall_clock, until))
    }

    /// Resumes a workload that Reloader left paused, or has it looked at again when that is due. True if that is under
    /// way.
    pub(super) fn resumes(&mut self, id: &WorkloadId, now: Instant) -> bool {
        let Some(record) = self.records.get(id) else {
            return false;
        };
        let Some(due) = record.workload.resume_at() else {
            return false;
        };
        let wait = between((self.settings.ambient.now)(), due);
        if wait.is_zero() {
            self.writing.insert(id.clone());
            let version = record.workload.resource_version.clone();
            self.jobs.resume(id.clone(), version);
        } else {
            self.queue.schedule(id, now + wait);
        }
        wait.is_zero()
    }

    pub(super) fn resume_done(&mut self, id: &WorkloadId, result: Result<Workload, Error>) {
        self.writing.remove(id);
        let now = Instant::now();
        match result {
            Ok(workload) => {
                self.answered(workload, Via::Written);
                info!(workload = %id, "resumed: Reloader had left it paused");
                let message = "Resumed: Reloader had paused it, and the pause is over";
                self.publish(id, EventReason::Resumed, message.to_owned());
            }
            Err(Error::Conflict { .. }) => {
                self.writing.insert(id.clone());
                self.jobs.refresh(id.clone());
                return;
            }
            Err(error) => {
                log_failure("cannot resume a workload; trying again", &error);
                self.put_off(id, now);
            }
        }
        self.queue.schedule(id, now);
    }
}

/// How long it is from one time to the other; no time if that has passed.
fn between(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}
