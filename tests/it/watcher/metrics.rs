//! What the watcher counts: under Reloader's names as Reloader would, and how far behind it is.

mod names;

use std::{collections::BTreeMap, process::Command, time::Duration};

use restamp::{
    runtime::metrics::WatcherMetrics,
    stamp::annotations::{SETTLE, STAMP},
};
use serde_json::json;
use tokio::time::sleep;

use super::{SHOP, World, deployment, installation_key, name, secret, world::lease};
use crate::fake_api::{Effect, FakeApi};

type Samples = BTreeMap<String, f64>;

/// What a scrape shows.
fn scrape(metrics: &WatcherMetrics) -> Samples {
    let text = String::from_utf8(metrics.registry.render().unwrap()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn value(metrics: &WatcherMetrics, sample: &str) -> f64 {
    let samples = scrape(metrics);
    let value = samples.get(sample);
    *value.unwrap_or_else(|| panic!("{sample} is not in {samples:#?}"))
}

/// Reloader's counters that moved since, and by how much; of histograms how many were observed. The queue is left
/// out.
fn moved(before: &Samples, metrics: &WatcherMetrics) -> Vec<String> {
    let is_counter = |name: &str| {
        name.starts_with("reloader_")
            && !name.contains("_workqueue_")
            && !name.contains("_bucket{")
            && !name.contains("_sum{")
    };
    let after = scrape(metrics).into_iter();
    after
        .map(|(name, value)| {
            let more = value - before.get(&name).copied().unwrap_or_default();
            (name, more)
        })
        .filter(|(name, more)| is_counter(name) && *more != 0.0)
        .map(|(name, more)| format!("{name} {more}").replace("reloader_", ""))
        .collect()
}

/// A shop with these Deployments, each with the Secrets `login` and `other`.
async fn shop(deployments: &[&str]) -> World {
    let mut objects = vec![secret("login", "one"), secret("other", "one")];
    let made = deployments
        .iter()
        .map(|name| deployment(name, &["login", "other"], &[]));
    objects.extend(made);
    World::with(&objects).await
}

#[tokio::test(start_paused = true)]
async fn recording_what_runs_is_no_restart() {
    let world = shop(&["web"]).await;
    assert_eq!(
        moved(&Samples::new(), &world.metrics),
        [
            "events_received_total{event_type=\"add\",resource_type=\"secrets\"} 3",
            "reconcile_duration_seconds_count{result=\"skipped\"} 1",
            "reconcile_duration_seconds_count{result=\"success\"} 1",
            "reconcile_total{result=\"skipped\"} 1",
            "reconcile_total{result=\"success\"} 1",
            "workloads_scanned_total{kind=\"Deployment\"} 2",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn each_workload_that_a_change_restarts_is_counted_once() {
    for (workloads, number) in [(&["web"][..], 1), (&["api", "web"], 2)] {
        let world = shop(workloads).await;
        let before = scrape(&world.metrics);
        world.api.put("kubectl", &secret("login", "two"));
        world.quiet().await;
        assert_eq!(
            moved(&before, &world.metrics),
            [
                format!("action_latency_seconds_count{{workload_kind=\"Deployment\"}} {number}"),
                format!("action_total{{result=\"success\",workload_kind=\"Deployment\"}} {number}"),
                "events_received_total{event_type=\"update\",resource_type=\"secrets\"} 1"
                    .to_owned(),
                format!("reconcile_duration_seconds_count{{result=\"skipped\"}} {number}"),
                format!("reconcile_duration_seconds_count{{result=\"success\"}} {number}"),
                format!("reconcile_total{{result=\"skipped\"}} {number}"),
                format!("reconcile_total{{result=\"success\"}} {number}"),
                format!("reload_executed_total{{success=\"true\"}} {number}"),
                format!("workloads_matched_total{{kind=\"Deployment\"}} {number}"),
                format!(
                    "workloads_scanned_total{{kind=\"Deployment\"}} {}",
                    2 * number
                ),
            ]
        );
        for (name, label) in [
            ("reloader_action_latency_seconds", "workload_kind"),
            ("restamp_restamp_duration_seconds", "kind"),
        ] {
            let of = |part| {
                let series = format!("{name}_{part}{{{label}=\"Deployment\"}}");
                value(&world.metrics, &series)
            };
            assert_eq!(of("count"), f64::from(number), "{name}");
            let took = of("sum") / f64::from(number);
            assert!(
                (2.0..2.1).contains(&took),
                "{name} {took}: the settle window"
            );
        }
        let looked = "reloader_reconcile_duration_seconds_sum{result=\"success\"}";
        let looked = value(&world.metrics, looked);
        assert!(looked < 0.1, "{looked}: without the settle window");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_read_again_as_it_was_has_not_changed() {
    let world = shop(&["web"]).await;
    world.api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
    world.quiet().await;
    world.api.forget_calls();
    let web = name("deployments", "web");
    world.api.edit("kubectl", &web, |web| {
        let annotations = &mut web["spec"]["template"]["metadata"]["annotations"];
        annotations.as_object_mut().unwrap().remove(STAMP);
    });
    world.quiet().await;
    assert!(world.stamp("web").is_some());
    assert_eq!(world.count("get", "secrets", "login"), 1);
    let samples = scrape(&world.metrics).into_keys();
    let skipped: Vec<_> = samples.filter(|it| it.contains("skipped_total")).collect();
    assert!(skipped.is_empty(), "{skipped:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_without_other_content_is_counted_once_for_all_who_use_the_source() {
    let world = shop(&["api", "web"]).await;
    let before = scrape(&world.metrics);
    world.api.edit("kubectl", &name("secrets", "login"), |it| {
        it["metadata"]["labels"] = json!({ "a": "b" });
    });
    world.quiet().await;
    assert_eq!(
        moved(&before, &world.metrics),
        [
            "events_received_total{event_type=\"update\",resource_type=\"secrets\"} 1",
            "reconcile_duration_seconds_count{result=\"skipped\"} 2",
            "reconcile_total{result=\"skipped\"} 2",
            "skipped_total{reason=\"no_data_change\"} 1",
            "workloads_scanned_total{kind=\"Deployment\"} 2",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_of_an_ignored_source_is_skipped() {
    let mut hidden = secret("hidden", "one");
    hidden["metadata"]["annotations"] = json!({ "reloader.stakater.com/ignore": "true" });
    let web = deployment("web", &["login", "hidden"], &[]);
    let world = World::with(&[secret("login", "one"), hidden.clone(), web]).await;
    let before = scrape(&world.metrics);
    hidden["data"]["value"] = json!("dHdv");
    world.api.put("kubectl", &hidden);
    world.quiet().await;
    assert_eq!(
        moved(&before, &world.metrics),
        [
            "events_received_total{event_type=\"update\",resource_type=\"secrets\"} 1",
            "reconcile_duration_seconds_count{result=\"skipped\"} 1",
            "reconcile_total{result=\"skipped\"} 1",
            "skipped_total{reason=\"ignored_or_not_selected\"} 1",
            "workloads_scanned_total{kind=\"Deployment\"} 1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_that_goes_and_comes_back_is_deleted_and_added() {
    let world = shop(&["web"]).await;
    let before = scrape(&world.metrics);
    world.api.delete(&name("secrets", "login"));
    world.quiet().await;
    world.api.put("kubectl", &secret("login", "one"));
    world.quiet().await;
    let moved = moved(&before, &world.metrics);
    for event in ["add", "delete"] {
        let one =
            format!("events_received_total{{event_type=\"{event}\",resource_type=\"secrets\"}} 1");
        assert!(moved.contains(&one), "{moved:#?}");
    }
    assert!(!moved.concat().contains("reload_executed"), "{moved:#?}");
}

#[tokio::test(start_paused = true)]
async fn of_what_a_list_shows_only_the_difference_is_an_event() {
    let mut objects = ["login", "gone", "kept"]
        .map(|name| secret(name, "one"))
        .to_vec();
    objects.push(deployment("web", &["login"], &[]));
    let world = World::with(&objects).await;
    let before = scrape(&world.metrics);
    world.api.cut("secrets");
    world.api.delete(&name("secrets", "gone"));
    world.api.put("kubectl", &secret("login", "two"));
    world.api.put("kubectl", &secret("new", "one"));
    world.api.compact();
    world.until_rolled("web", 1).await;
    world.quiet().await;
    let mut moved = moved(&before, &world.metrics);
    moved.retain(|sample| sample.starts_with("events_received"));
    let one = |event| {
        format!("events_received_total{{event_type=\"{event}\",resource_type=\"secrets\"}} 1")
    };
    assert_eq!(moved, ["add", "delete", "update"].map(one));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_a_failed_restart_and_is_tried_again() {
    let world = shop(&["web"]).await;
    let before = scrape(&world.metrics);
    let web = name("deployments", "web");
    world.api.fail("patch", &web, 2, Effect::Refused(500));
    world.api.put("kubectl", &secret("login", "two"));
    world.quiet().await;
    assert_eq!(
        moved(&before, &world.metrics),
        [
            "action_latency_seconds_count{workload_kind=\"Deployment\"} 3",
            "action_total{result=\"error\",workload_kind=\"Deployment\"} 2",
            "action_total{result=\"success\",workload_kind=\"Deployment\"} 1",
            "errors_total{type=\"handler_error\"} 2",
            "events_received_total{event_type=\"update\",resource_type=\"secrets\"} 1",
            "reconcile_duration_seconds_count{result=\"error\"} 2",
            "reconcile_duration_seconds_count{result=\"skipped\"} 1",
            "reconcile_duration_seconds_count{result=\"success\"} 1",
            "reconcile_total{result=\"error\"} 2",
            "reconcile_total{result=\"skipped\"} 1",
            "reconcile_total{result=\"success\"} 1",
            "reload_executed_total{success=\"false\"} 2",
            "reload_executed_total{success=\"true\"} 1",
            "retries_total 2",
            "workloads_matched_total{kind=\"Deployment\"} 3",
            "workloads_scanned_total{kind=\"Deployment\"} 4",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_is_one_error_and_puts_off_all_who_wait_for_it() {
    let world = shop(&["api", "web"]).await;
    let before = scrape(&world.metrics);
    let login = name("secrets", "login");
    world.api.fail("get", &login, 1, Effect::Refused(500));
    world.api.put("kubectl", &secret("login", "two"));
    world.quiet().await;
    let moved = moved(&before, &world.metrics);
    for sample in [
        "errors_total{type=\"handler_error\"} 1",
        "reconcile_total{result=\"error\"} 2",
        "reload_executed_total{success=\"true\"} 2",
        "retries_total 2",
    ] {
        assert!(moved.iter().any(|it| it == sample), "{moved:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_and_a_workload_that_is_gone_are_no_failed_restarts() {
    for status in [409, 404] {
        let mut hasty = deployment("web", &["login"], &[]);
        hasty["metadata"]["annotations"][SETTLE] = json!("0s");
        let world = World::with(&[secret("login", "one"), hasty]).await;
        let before = scrape(&world.metrics);
        let web = name("deployments", "web");
        world.api.fail("patch", &web, 1, Effect::Refused(status));
        world.api.put("kubectl", &secret("login", "two"));
        world.quiet().await;
        let moved = moved(&before, &world.metrics);
        let one = "reload_executed_total{success=\"true\"} 1".to_owned();
        assert!(moved.contains(&one), "{status}: {moved:#?}");
        let failed = |it: &String| it.contains("error") || it.contains("false");
        assert!(!moved.iter().any(failed), "{status}: {moved:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn namespaces_are_counted_only_where_that_is_asked_for() {
    let objects = [secret("login", "one"), deployment("web", &["login"], &[])];
    let counted = WatcherMetrics::new().unwrap().by_namespace().unwrap();
    for (metrics, asked) in [(counted, true), (WatcherMetrics::new().unwrap(), false)] {
        let world = World::counting(&objects, metrics).await;
        world.api.put("kubectl", &secret("login", "two"));
        world.quiet().await;
        let samples = scrape(&world.metrics);
        let by_namespace = format!(
            "reloader_reload_executed_total_by_namespace{{namespace=\"{SHOP}\",success=\"true\"}}"
        );
        assert_eq!(samples.get(&by_namespace), asked.then_some(&1.0));
        let named = samples.keys().any(|sample| sample.contains(SHOP));
        assert_eq!(named, asked, "{samples:#?}");
    }
}

#[test]
fn the_variable_of_reloader_asks_for_namespaces() {
    for (value, asked) in [("enabled", true), ("true", false), ("Enabled", false)] {
        let output = Command::new(env!("CARGO_BIN_EXE_restamp"))
            .arg("watcher")
            .env_clear()
            .env("METRICS_COUNT_BY_NAMESPACE", value)
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("found no cluster"), "{text}");
        let said = text.contains("counting restarts by namespace");
        assert_eq!(said, asked, "{value}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn staleness_is_seen_for_as_long_as_a_restart_fails() {
    let world = shop(&["api", "web"]).await;
    let stale = || {
        let count = value(&world.metrics, "restamp_stale_workloads");
        (count, value(&world.metrics, "restamp_stale_age_seconds"))
    };
    assert_eq!(stale(), (0.0, 0.0));
    let web = name("deployments", "web");
    world.api.fail("patch", &web, 99, Effect::Refused(500));
    world.api.put("kubectl", &secret("login", "two"));
    sleep(Duration::from_secs(20)).await;
    let (count, age) = stale();
    assert_eq!(count, 1.0, "the other one was restarted");
    assert!((19.9..=20.0).contains(&age), "{age}");
    sleep(Duration::from_secs(5)).await;
    assert!(
        (stale().1 - age - 5.0).abs() < 0.01,
        "time passes by itself"
    );
    world.api.heal();
    world.quiet().await;
    assert_eq!(world.rollouts("web"), 1);
    assert_eq!(stale(), (0.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn what_is_undone_or_deleted_or_not_ours_to_restart_is_stale_no_more() {
    let end: [fn(&FakeApi); 3] = [
        |api| api.put("kubectl", &secret("login", "one")),
        |api| api.delete(&name("deployments", "web")),
        |api| {
            api.edit("other", &lease(), |lease| {
                lease["spec"]["holderIdentity"] = json!("other");
                lease["spec"]["renewTime"] = json!("2030-01-01T00:00:00.000000Z");
            });
        },
    ];
    for (number, end) in end.into_iter().enumerate() {
        let world = shop(&["web"]).await;
        let web = name("deployments", "web");
        world.api.fail("patch", &web, 99, Effect::Refused(500));
        world.api.put("kubectl", &secret("login", "two"));
        sleep(Duration::from_secs(10)).await;
        let stale = || value(&world.metrics, "restamp_stale_workloads");
        assert_eq!(stale(), 1.0);
        end(&world.api);
        sleep(Duration::from_secs(10)).await;
        assert_eq!(stale(), 0.0, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_stands_still_shows() {
    let api = FakeApi::default();
    api.put("kubectl", &secret("login", "one"));
    api.put("kubectl", &deployment("web", &["login"], &[]));
    api.fail("get", &installation_key(), 99, Effect::Refused(500));
    let world = World::start(&api).await;
    let waits = || {
        let sample = |name| value(&world.metrics, name);
        let depth = sample("reloader_workqueue_depth");
        assert_eq!(sample("restamp_queue_depth"), depth);
        (depth, sample("restamp_queue_age_seconds"))
    };
    sleep(Duration::from_secs(30)).await;
    let (depth, age) = waits();
    assert_eq!(depth, 1.0);
    assert!((25.0..=30.0).contains(&age), "{age}");
    assert_eq!(value(&world.metrics, "reloader_workqueue_adds_total"), 1.0);
    api.heal();
    world.until_recorded().await;
    world.quiet().await;
    assert_eq!(waits(), (0.0, 0.0));
    let longest = value(&world.metrics, "reloader_workqueue_latency_seconds_sum");
    assert!(longest >= age, "{longest}");
}
