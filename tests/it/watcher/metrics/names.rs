//! Names, labels and buckets that need no workload to show.

use std::time::Duration;

use restamp::runtime::metrics::{Outcome, WatcherMetrics};

use super::{scrape, value};

#[test]
fn both_ends_of_a_restart_are_there_from_the_start() {
    let metrics = WatcherMetrics::new().unwrap();
    for success in ["true", "false"] {
        let series = format!("reloader_reload_executed_total{{success=\"{success}\"}}");
        assert_eq!(value(&metrics, &series), 0.0);
    }
}

#[test]
fn each_request_is_counted_and_timed() {
    let metrics = WatcherMetrics::new().unwrap();
    let took = Duration::from_millis(20);
    metrics.requests.ended("PATCH", "api", Some(200), took);
    metrics.requests.ended("PATCH", "api", None, took);
    for code in ["200", "<error>"] {
        let counted =
            format!("rest_client_requests_total{{code=\"{code}\",host=\"api\",method=\"PATCH\"}}");
        assert_eq!(value(&metrics, &counted), 1.0, "{code}");
    }
    for (part, expected) in [("count", 2.0), ("sum", 0.04)] {
        let timed =
            format!("rest_client_request_duration_seconds_{part}{{host=\"api\",verb=\"PATCH\"}}");
        assert!((value(&metrics, &timed) - expected).abs() < 1e-6, "{part}");
    }
}

#[test]
fn histograms_have_reloader_s_buckets() {
    let metrics = WatcherMetrics::new().unwrap();
    let second = Some(Duration::from_secs(1));
    metrics
        .reloader
        .reloaded("Deployment", "shop", true, second);
    metrics.reloader.reconciled(Outcome::Success, second);
    metrics
        .requests
        .ended("GET", "api", None, Duration::from_secs(1));
    let short = "0.001 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5";
    for (name, expected) in [
        (
            "reloader_reconcile_duration_seconds",
            &*format!("{short} 10"),
        ),
        (
            "reloader_action_latency_seconds",
            "0.01 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60",
        ),
        ("reloader_workqueue_latency_seconds", short),
        (
            "rest_client_request_duration_seconds",
            "0.001 0.01 0.05 0.1 0.5 1 5 10 30",
        ),
    ] {
        let samples = scrape(&metrics).into_keys();
        let of_it = samples.filter(|series| series.starts_with(&format!("{name}_bucket{{")));
        let limits = of_it.map(|series| {
            series
                .split('"')
                .find_map(|part| part.parse().ok())
                .unwrap()
        });
        let mut limits: Vec<f64> = limits.filter(|limit: &f64| limit.is_finite()).collect();
        limits.sort_by(f64::total_cmp);
        let limits: Vec<_> = limits.iter().map(ToString::to_string).collect();
        assert_eq!(limits.join(" "), expected, "{name}");
    }
}

#[test]
fn what_is_not_offered_is_not_there() {
    let metrics = WatcherMetrics::new().unwrap();
    let text = String::from_utf8(metrics.registry.render().unwrap()).unwrap();
    let of_the_process = ["go_", "process_", "promhttp_"];
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.trim_start_matches("# TYPE ");
        let is_offered = !of_the_process.iter().any(|other| name.starts_with(other));
        assert!(
            is_offered && !name.starts_with("reloader_events_processed_total"),
            "{name}"
        );
    }
}
