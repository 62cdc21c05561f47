//! The documents say what the code does.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use regex::Regex;
use restamp::{
    alerts::{self, Pauses},
    cluster::{csi, discovery, kind::KINDS, source},
    runtime::metrics::{Outcome, ReloaderMetrics, Skip, WatcherMetrics, WebhookMetrics},
    stamp::{
        annotations::{OBSERVED, POLICY_KEYS, STAMP},
        reason::Reason,
        source::SourceKind,
    },
};

use crate::repository::{files, help, path, read};

/// Of each metric its type and labels.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

/// Has everything happen that is counted under Reloader's names.
fn count(metrics: &ReloaderMetrics) {
    let second = Some(Duration::from_secs(1));
    metrics.reloaded("a", "b", true, second);
    metrics.source_event("a", "b");
    metrics.skip(Skip::Ignored);
    metrics.decided("a", true);
    metrics.reconciled(Outcome::Success, second);
    metrics.failed();
}

/// What a scrape shows once everything has happened.
fn rendered() -> Described {
    let metrics = WatcherMetrics::new().unwrap().by_namespace().unwrap();
    count(&metrics.reloader);
    metrics.decisions.with_label_values(&["a"]).inc();
    metrics.writes.with_label_values(&["a", "b"]).inc();
    metrics.reads.with_label_values(&["a"]).inc();
    metrics.events.with_label_values(&["a"]).inc();
    metrics.alerts.with_label_values(&["a"]).inc();
    metrics.watch_errors.with_label_values(&["a"]).inc();
    metrics.requests.forbidden("a", "b");
    let certificates = &metrics.certificates;
    certificates.expiry.with_label_values(&["a"]).set(1);
    certificates.steps.with_label_values(&["a", "b"]).inc();
    metrics
        .restamp_seconds
        .with_label_values(&["a"])
        .observe(1.0);
    let webhook = WebhookMetrics::new().unwrap();
    webhook.admissions.with_label_values(&["a"]).inc();
    webhook.refusals.with_label_values(&["a"]).inc();
    let text = [metrics.registry, webhook.registry]
        .map(|registry| String::from_utf8(registry.render().unwrap()).unwrap())
        .concat();
    let label = Regex::new(r#"(\w+)=""#).unwrap();
    let mut described = Described::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            described.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let metric = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| {
                    described
                        .contains_key(name.strip_suffix(suffix)?)
                        .then_some(suffix)
                })
                .map_or(name, |suffix| name.strip_suffix(suffix).unwrap());
            let labels = label.captures_iter(line).map(|found| found[1].to_owned());
            let (_, known) = described.get_mut(metric).unwrap();
            known.extend(labels.filter(|label| label != "le"));
        }
    }
    described
}

/// What the table of metrics says.
fn documented() -> Described {
    let row = Regex::new(r"(?m)^\| `((?:restamp|reloader)_\w+)` \| (\w+) \| ([^|]*) \|").unwrap();
    let quoted = Regex::new(r"`(\w+)`").unwrap();
    let text = read("docs/metrics.md");
    row.captures_iter(&text)
        .map(|row| {
            let labels = quoted
                .captures_iter(&row[3])
                .map(|label| label[1].to_owned())
                .collect();
            (row[1].to_owned(), (row[2].to_owned(), labels))
        })
        .collect()
}

#[test]
fn every_metric_is_described_with_its_type_and_labels() {
    assert_eq!(documented(), rendered());
}

#[test]
fn every_metric_in_the_code_was_rendered_for_that_comparison() {
    let literal = Regex::new(r#""((?:restamp|reloader)_\w+)""#).unwrap();
    let parts = files("src/runtime/metrics", ".rs").into_iter();
    let code: String = parts
        .chain(["src/runtime/metrics.rs".to_owned()])
        .map(|file| read(&file))
        .collect();
    let written: BTreeSet<_> = literal
        .captures_iter(&code)
        .map(|name| name[1].to_owned())
        .collect();
    assert_eq!(written, rendered().into_keys().collect());
}

#[test]
fn every_reason_is_described_in_its_own_words() {
    let text = read("docs/metrics.md");
    for reason in Reason::ALL {
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("| `{reason}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/metrics.md lacks {reason}"));
        assert!(
            row.contains(reason.sentence()),
            "{row}\nsays something else than the code: {}",
            reason.sentence()
        );
    }
}

#[test]
fn every_reason_of_a_step_with_certificates_is_described() {
    let label = Regex::new(r#"Reason::\w+ => "(\w+)""#).unwrap();
    let code = read("src/certificates/step.rs");
    let text = read("docs/metrics.md");
    assert!(
        label.is_match(&code),
        "src/certificates/step.rs looks different now"
    );
    for found in label.captures_iter(&code) {
        let reason = format!("`{}`", &found[1]);
        assert!(text.contains(&reason), "docs/metrics.md lacks {reason}");
    }
}

#[test]
fn every_result_is_described() {
    let label = Regex::new(r#"Error::\w+ \{ \.\. \} => "(\w+)""#).unwrap();
    let code = read("src/cluster/error.rs");
    let results: Vec<_> = label
        .captures_iter(&code)
        .map(|found| found[1].to_owned())
        .collect();
    assert!(
        !results.is_empty(),
        "src/cluster/error.rs looks different now"
    );
    let text = read("docs/metrics.md");
    for result in results {
        assert!(
            text.contains(&format!("| `{result}` |")),
            "docs/metrics.md lacks {result}"
        );
    }
}

#[test]
fn every_resource_and_kind_in_labels_is_named() {
    let text = read("docs/metrics.md");
    let sources = SourceKind::ALL.map(source::api_resource);
    let sources = sources
        .iter()
        .chain([&csi::pod_statuses()])
        .map(discovery::name_of)
        .collect::<Vec<_>>();
    let workloads = KINDS
        .iter()
        .flat_map(|kind| [kind.resource(), kind.kind.to_owned()]);
    for label in sources.into_iter().chain(workloads) {
        assert!(
            text.contains(&format!("`{label}`")),
            "docs/metrics.md lacks {label}"
        );
    }
}

#[test]
fn every_annotation_is_described() {
    let text = read("docs/annotations.md");
    for key in POLICY_KEYS.into_iter().chain([STAMP, OBSERVED]) {
        assert!(
            text.contains(&format!("`{key}`")),
            "docs/annotations.md lacks {key}"
        );
    }
}

fn documents() -> Vec<String> {
    let mut all = files("docs", ".md");
    all.push("README.md".to_owned());
    all
}

#[test]
fn the_read_me_names_the_commands_and_they_exist() {
    let text = read("README.md");
    for command in ["make demo", "make test", "restamp explain"] {
        assert!(text.contains(command), "README.md lacks {command:?}");
    }
    let makefile = read("Makefile");
    let mentioned = Regex::new(r"(?m)(?:^|`)make ([a-z][a-z0-9-]*)").unwrap();
    for file in documents() {
        for target in mentioned.captures_iter(&read(&file)) {
            let rule = Regex::new(&format!(r"(?m)^{}\s*:", &target[1])).unwrap();
            assert!(
                rule.is_match(&makefile),
                "{file}: there is no `make {}`",
                &target[1]
            );
        }
    }
    help(&["watcher"]);
    help(&["webhook"]);
    help(&["explain"]);
    help(&["check"]);
    help(&["migrate"]);
}

/// Their numbers, and what Restamp does instead.
#[test]
fn every_defect_of_reloader_has_a_line() {
    let text = read("docs/migration.md");
    for number in 1..=74 {
        let row = format!("| D-{number:02} | ");
        assert_eq!(
            text.matches(&row).count(),
            1,
            "docs/migration.md lacks {row}"
        );
    }
}

#[test]
fn flags_and_variables_in_documents_exist() {
    let help = [&[][..], &["watcher"], &["webhook"], &["explain"]]
        .map(help)
        .concat();
    let named = Regex::new(
        r"`(RESTAMP_[A-Z_]+)|`(--restamp-[a-z-]+|--log-[a-z-]+|--settle|--admin-[a-z-]+|--listen|--cert-[a-z]+|--webhook-configuration|--reload-on-[a-z]+|--auto-reload-all|--resources?-[a-z-]+|--namespace[a-z-]*|--[a-z-]+-annotation)",
    )
    .unwrap();
    for file in documents() {
        if file.contains("/adr/") || file == "docs/compatibility.md" {
            continue;
        }
        for found in named.captures_iter(&read(&file)) {
            let name = found.get(1).or(found.get(2)).unwrap().as_str();
            assert!(help.contains(name), "{file}: the program knows no {name}");
        }
    }
}

#[test]
fn every_flag_of_reloader_is_described() {
    let text = read("docs/flags.md");
    let help = help(&["watcher"]);
    let (_, about_workloads) = help.split_once("Policy, the same for").unwrap();
    let flag = Regex::new(r"(?m)^ +(--[a-zA-Z-]+)").unwrap();
    let flags: Vec<_> = flag.captures_iter(about_workloads).collect();
    assert!(flags.len() > 10, "{help}");
    for flag in flags {
        let row = Regex::new(&format!(r"(?m)^\| .*`{}`.* \|", &flag[1])).unwrap();
        assert!(row.is_match(&text), "docs/flags.md lacks {row}");
    }
}

#[test]
fn variables_and_limits_of_alerts_are_those_of_the_code() {
    let text = read("docs/alerts.md");
    let row = Regex::new(r"(?m)^\| `(ALERT_\w+)` \|").unwrap();
    let described: Vec<_> = row
        .captures_iter(&text)
        .map(|row| row[1].to_owned())
        .collect();
    assert_eq!(described, alerts::VARIABLES.map(|(name, _)| name));
    let Pauses {
        one_try,
        retry,
        longest,
        farewell,
    } = Pauses::default();
    let pauses: Vec<_> = (0..alerts::TRIES - 1)
        .map(|doubled| (retry.as_secs() << doubled).to_string())
        .collect();
    let (last, first) = pauses.split_last().unwrap();
    for said in [
        format!("Up to {} alerts", alerts::QUEUE),
        format!("A try takes {} seconds at most", one_try.as_secs()),
        format!("There are {} tries", alerts::TRIES),
        format!("waits {} and {last} seconds", first.join(", ")),
        format!("up to {} seconds", longest.as_secs()),
        format!("has {} seconds for what still waits", farewell.as_secs()),
    ] {
        assert!(text.contains(&said), "docs/alerts.md lacks {said:?}");
    }
}

#[test]
fn what_is_compatible_names_the_tests_that_show_it() {
    let row = Regex::new(r"(?m)^\| (.+) \| (same|better|no) \| .*\| ?(.*?) ?\|$").unwrap();
    let name = Regex::new(r"`(\w+)`").unwrap();
    let tests = [files("src", ".rs"), files("tests", ".rs")].concat();
    let tests: String = tests.iter().map(|file| read(file)).collect();
    let text = read("docs/compatibility.md");
    let rows: Vec<_> = row.captures_iter(&text).collect();
    let written = text.lines().filter(|line| line.starts_with("| ")).count();
    let headings = text.matches("| what | here |").count();
    assert_eq!(rows.len() + headings, written, "a row has another form");
    for row in rows {
        let named: Vec<_> = name.captures_iter(&row[3]).collect();
        assert!(!named.is_empty(), "{}: which test shows it?", &row[1]);
        for test in named {
            let written = Regex::new(&format!(
                r"#\[(tokio::)?test[^\n]*\n(#\[[^\n]*\n)*\s*(async )?fn {}\(",
                &test[1]
            ));
            let is_there = written.unwrap().is_match(&tests);
            assert!(is_there, "{}: there is no test {}", &row[1], &test[1]);
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#:\s]+)(#[^)]*)?\)").unwrap();
    for file in documents() {
        let (directory, _) = file.rsplit_once('/').unwrap_or((".", ""));
        for found in link.captures_iter(&read(&file)) {
            let target = format!("{directory}/{}", &found[1]);
            assert!(
                path(&target).exists(),
                "{file}: {} does not exist",
                &found[1]
            );
        }
    }
}
