use kube::core::DynamicObject;
use serde_json::json;

use super::*;
use crate::{
    cluster::{kind::KINDS, workload::Workload},
    runtime::metrics::WatcherMetrics,
    stamp::{settings::PolicySettings, source::SourceKind},
};

fn workload() -> Workload {
    let object: DynamicObject = serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "shop" }, "spec": {}
    }))
    .unwrap();
    Workload::parse(&KINDS[0], &object, &PolicySettings::default()).unwrap()
}

fn record() -> Record {
    Record::new(workload(), 1)
}

fn version(n: u8) -> Version {
    Version {
        uid: "u".into(),
        resource_version: n.to_string().into(),
    }
}

fn source() -> SourceName {
    SourceName::new(SourceKind::Secret, "db")
}

const SETTLE: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn it_settles_after_a_quiet_time_but_not_for_ever_later() {
    let (mut record, start) = (record(), Instant::now());
    assert_eq!(record.settled_at(SETTLE), None);
    record.touch(start);
    assert_eq!(record.settled_at(SETTLE), Some(start + SETTLE));
    record.touch(start + Duration::from_secs(1));
    assert_eq!(
        record.settled_at(SETTLE),
        Some(start + Duration::from_secs(3))
    );
    record.touch(start + Duration::from_secs(60));
    assert_eq!(
        record.settled_at(SETTLE),
        Some(start + SETTLE * MAX_SETTLES)
    );
}

#[tokio::test(start_paused = true)]
async fn failures_wait_longer_and_longer_up_to_a_limit() {
    let (mut record, now) = (record(), Instant::now());
    let pauses: Vec<_> = (0..12).map(|_| record.failed(now).as_secs()).collect();
    assert_eq!(pauses[..4], [1, 2, 4, 8]);
    assert_eq!(pauses.last(), Some(&MAX_PAUSE.as_secs()));
    record.written(false, None, now);
    assert_eq!(record.failed(now), FIRST_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn repairs_that_keep_being_undone_become_rare_and_are_reported() {
    let (mut record, mut now) = (record(), Instant::now());
    let mut waits = Vec::new();
    for _ in 0..5 {
        assert_eq!(record.truce_until(now), None);
        record.written(record.is_repair(Reason::TemplateMoved), None, now);
        let at = record.truce_until(now).unwrap();
        waits.push((at - now).as_secs());
        now = at;
    }
    assert_eq!(waits, [2, 4, 8, 16, 32]);
    assert!(record.report_fight());
    assert!(!record.report_fight(), "once for each repair");
    assert!(
        !record.is_repair(Reason::ContentChanged),
        "real changes do not wait"
    );
    let calm = now + CALM;
    assert_eq!(record.truce_until(calm), None);
    assert!(!record.report_fight(), "a calm time ends it");
}

#[tokio::test(start_paused = true)]
async fn a_whole_earlier_state_that_is_put_back_counts_as_undone() {
    let (mut record, now) = (record(), Instant::now());
    let changed = Reason::ContentChanged;
    record.written(record.is_repair(changed), Some("v1.k.d.3"), now);
    for (stamp, is_repair) in [
        (Some("v1.k.d.3"), false),
        (Some("v1.k.d.4"), false),
        (Some("v1.k.d.2"), true),
        (Some("edited"), true),
        (None, true),
    ] {
        record.workload.facts.stamp = stamp.map(Box::from);
        assert_eq!(record.is_repair(changed), is_repair, "{stamp:?}");
    }
    assert_eq!(record.truce_until(now), None, "content really changed");
    record.written(record.is_repair(changed), Some("v1.k.d.4"), now);
    assert!(record.truce_until(now).is_some());
}

#[test]
fn an_arrival_counts_only_as_the_first_event_since_the_absence() {
    let read_as = |n| move |_: &SourceName| Some(Box::leak(Box::new(version(n))) as &Version);
    let watched = || {
        let mut record = record();
        record.watch_absence(source(), 7);
        record
    };
    let mut plain = watched();
    plain.source_changed(&source(), Some(&version(1)), Some(7));
    assert_eq!(plain.arrived(read_as(1)).len(), 1);
    assert_eq!(
        plain.arrived(read_as(2)).len(),
        0,
        "the read shows another version"
    );
    plain.source_changed(&source(), None, Some(7));
    assert_eq!(plain.arrived(read_as(1)).len(), 0, "it changed since");
    plain.source_changed(&source(), Some(&version(3)), Some(7));
    assert_eq!(
        plain.arrived(read_as(3)).len(),
        0,
        "it had been there before"
    );
    let mut relisted = watched();
    relisted.source_changed(&source(), Some(&version(1)), Some(8));
    assert_eq!(relisted.arrived(read_as(1)).len(), 0, "the watch had a gap");
    let mut unwatched = record();
    unwatched.source_changed(&source(), Some(&version(1)), Some(7));
    assert_eq!(
        unwatched.arrived(read_as(1)).len(),
        0,
        "nobody watched the absence"
    );
}

#[tokio::test(start_paused = true)]
async fn it_is_stale_no_more_once_it_was_written_or_is_at_rest_or_is_gone() {
    let metrics = WatcherMetrics::new().unwrap();
    let stale = |number: u8| {
        let text = metrics.registry.render().unwrap();
        let line = format!("\nrestamp_stale_workloads {number}\n");
        String::from_utf8(text).unwrap().contains(&line)
    };
    let ends: [fn(Record) -> Option<Record>; 3] = [
        |mut record| {
            record.written(false, None, Instant::now());
            Some(record)
        },
        |mut record| {
            record.at_rest();
            Some(record)
        },
        |_| None,
    ];
    for end in ends {
        let mut record = record();
        record.stale = Some(metrics.stale.begin(Instant::now()));
        assert!(stale(1));
        let _ended = end(record);
        assert!(stale(0));
    }
}
