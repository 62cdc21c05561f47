//! Pause periods: how long further restarts of a Deployment are held back after one. They outlive a process, so they
//! are told by the wall clock.

use std::time::Duration;

use jiff::Timestamp;

use super::Workload;

impl Workload {
    /// How long further restarts are held back after one.
    pub fn pause_period(&self) -> Option<Duration> {
        let period = self.facts.policy.pause_period();
        period.filter(|_| self.id.kind.pauses())
    }

    /// Until when the next restart is held back; nothing if it need not wait.
    pub fn held_until(&self, now: Timestamp) -> Option<Timestamp> {
        let period = self.pause_period()?;
        let observed = self.facts.observed.as_ref()?;
        let restarted: Timestamp = observed.restarted.as_deref()?.parse().ok()?;
        let until = restarted.checked_add(period).ok()?;
        // A time in a far future cannot have been written by a leader whose clock is about right.
        let is_plausible = restarted <= now.checked_add(period).ok()?;
        (is_plausible && now < until).then_some(until)
    }

    /// When a Deployment is to be resumed that Reloader paused and did not resume; nothing if there is no such pause.
    pub fn resume_at(&self) -> Option<Timestamp> {
        let paused_at = self.left_paused.as_deref()?;
        let due = || {
            let paused_at: Timestamp = paused_at.parse().ok()?;
            paused_at.checked_add(self.pause_period()?).ok()
        };
        // Without a period, or a time that it could have begun at, it is over.
        Some(due().unwrap_or(Timestamp::MIN))
    }
}

#[cfg(test)]
mod tests {
    use kube::api::DynamicObject;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        cluster::kind::Kinds,
        stamp::{
            annotations::{AUTO, OBSERVED, PAUSE_PERIOD, PAUSED_AT},
            settings::PolicySettings,
            warning::Warning,
        },
    };

    fn at(text: &str) -> Timestamp {
        format!("2026-01-01T{text}Z").parse().unwrap()
    }

    fn workload(kind: &str, annotations: &Value, paused: bool) -> Workload {
        let object = json!({
            "metadata": { "name": "web", "namespace": "shop", "annotations": annotations },
            "spec": { "paused": paused, "template": { "spec": { "containers": [] } } },
        });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let kind = Kinds::default().find(kind).unwrap();
        Workload::parse(kind, &object, &PolicySettings::default()).unwrap()
    }

    fn restarted(period: &str, time: &str) -> Workload {
        let observed =
            json!({ "v": 1, "ns": "shop", "key": "k", "sources": {}, "restarted": time });
        let annotations =
            json!({ AUTO: "true", PAUSE_PERIOD: period, OBSERVED: observed.to_string() });
        workload("deployment", &annotations, false)
    }

    #[test]
    fn a_restart_holds_back_the_next_for_the_period() {
        let workload = restarted("10m", "2026-01-01T12:00:00Z");
        assert_eq!(workload.held_until(at("12:09:59")), Some(at("12:10:00")));
        assert_eq!(workload.held_until(at("12:10:00")), None);
        // The clock of the leader before was ahead.
        assert_eq!(workload.held_until(at("11:59:00")), Some(at("12:10:00")));
    }

    #[test]
    fn what_makes_no_sense_holds_back_nothing() {
        for (period, time) in [
            ("", "2026-01-01T12:00:00Z"),
            ("soon", "2026-01-01T12:00:00Z"),
            ("-10m", "2026-01-01T12:00:00Z"),
            ("0", "2026-01-01T12:00:00Z"),
            ("10m", "yesterday"),
            ("10m", "2999-01-01T12:00:00Z"),
            ("10m", ""),
        ] {
            let workload = restarted(period, time);
            assert_eq!(workload.held_until(at("12:01:00")), None, "{period} {time}");
        }
        let never = workload(
            "deployment",
            &json!({ AUTO: "true", PAUSE_PERIOD: "10m" }),
            false,
        );
        assert_eq!(never.held_until(at("12:01:00")), None);
    }

    #[test]
    fn only_deployments_have_pause_periods() {
        let annotations = json!({ AUTO: "true", PAUSE_PERIOD: "10m" });
        let workload = workload("statefulset", &annotations, false);
        assert_eq!(workload.pause_period(), None);
        let annotation = PAUSE_PERIOD;
        assert!(
            workload
                .facts
                .warnings
                .contains(&Warning::NotForKind { annotation })
        );
    }

    #[test]
    fn a_pause_that_reloader_left_ends_when_it_is_due() {
        let left = |annotations: Value| workload("deployment", &annotations, true).resume_at();
        let due = left(json!({ PAUSE_PERIOD: "5m", PAUSED_AT: "2026-01-01T13:00:00+01:00" }));
        assert_eq!(due, Some(at("12:05:00")));
        for annotations in [
            json!({ PAUSED_AT: "2026-01-01T12:00:00Z" }),
            json!({ PAUSED_AT: "2026-01-01T12:00:00Z", PAUSE_PERIOD: "soon" }),
            json!({ PAUSED_AT: "noon", PAUSE_PERIOD: "5m" }),
        ] {
            assert_eq!(left(annotations), Some(Timestamp::MIN));
        }
        for annotations in [json!({ PAUSE_PERIOD: "5m" }), json!({ PAUSED_AT: "" })] {
            assert_eq!(left(annotations), None, "somebody else paused it");
        }
        let annotations = json!({ PAUSED_AT: "2026-01-01T12:00:00Z" });
        assert_eq!(
            workload("deployment", &annotations, false).resume_at(),
            None
        );
    }
}
