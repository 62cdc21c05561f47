//! Gauges of time that passes by itself: worked out when they are asked for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    Gauge, IntGauge,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tokio::time::Instant;

use super::Registry;

/// The seconds since a moment; 0 without one.
#[derive(Clone)]
pub struct AgeGauge {
    since: Arc<Mutex<Option<Instant>>>,
    seconds: Gauge,
}

impl AgeGauge {
    pub(super) fn new(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Self> {
        registry.add(Self {
            since: Arc::default(),
            seconds: Gauge::new(name, help)?,
        })
    }

    /// Counts from `since` on.
    pub fn set(&self, since: Option<Instant>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

impl Collector for AgeGauge {
    fn desc(&self) -> Vec<&Desc> {
        self.seconds.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let age = since.map(|since| since.elapsed().as_secs_f64());
        self.seconds.set(age.unwrap_or_default());
        self.seconds.collect()
    }
}

/// How many things have begun and are not over, and for how long the oldest has not been.
#[derive(Clone)]
pub struct Ongoing {
    began: Arc<Mutex<BTreeMap<Instant, i64>>>,
    count: IntGauge,
    oldest: AgeGauge,
}

impl Ongoing {
    pub(super) fn new(count: IntGauge, oldest: AgeGauge) -> Self {
        Self {
            began: Arc::default(),
            count,
            oldest,
        }
    }

    /// One more began at `at`; it is over when what is returned is dropped.
    pub fn begin(&self, at: Instant) -> Begun {
        self.add(at, 1);
        let ongoing = self.clone();
        Begun { ongoing, at }
    }

    fn add(&self, at: Instant, more: i64) {
        let mut began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let number = began.entry(at).or_default();
        *number += more;
        if *number == 0 {
            began.remove(&at);
        }
        self.count.add(more);
        self.oldest.set(began.keys().next().copied());
    }
}

/// One thing that is not over.
#[must_use]
pub struct Begun {
    ongoing: Ongoing,
    at: Instant,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.ongoing.add(self.at, -1);
    }
}
