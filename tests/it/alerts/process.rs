//! The program and its variables.

use std::process::Command;

use crate::repository::help;

const SECRET: &str = "https://T0KEN@hooks.example:99999/T0KEN";

/// The program with nothing of the environment but these.
fn restamp(arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_restamp"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_watcher_does_not_start_without_the_receiver_that_it_is_told_to_alert() {
    let on = ("ALERT_ON_RELOAD", "true");
    for (variable, value) in [
        ("ALERT_WEBHOOK_URL", ""),
        ("ALERT_WEBHOOK_URL", SECRET),
        ("ALERT_WEBHOOK_PROXY", SECRET),
    ] {
        let url = ("ALERT_WEBHOOK_URL", "https://hooks.example/T0KEN");
        let (started, text) = restamp(&["watcher"], &[url, on, (variable, value)]);
        assert!(!started);
        assert!(
            text.starts_with("restamp: ") && text.contains(variable),
            "{text}"
        );
        assert!(!text.contains("T0KEN"), "{text}");
    }
}

#[test]
fn a_webhook_url_that_is_none_stops_the_start_and_is_not_shown() {
    for url in [SECRET, "T0KEN", "ftp://hooks.example/T0KEN"] {
        let (started, text) = restamp(&["watcher", "--webhook-url", url], &[]);
        assert!(!started);
        assert!(
            text.contains("--webhook-url") && !text.contains("T0KEN"),
            "{text}"
        );
    }
    let (_, text) = restamp(
        &["watcher", "--webhook-url=http://hooks.example/T0KEN"],
        &[],
    );
    assert!(text.contains("restarting nothing"), "{text}");
    assert!(
        text.contains("hooks.example") && !text.contains("T0KEN"),
        "{text}"
    );
}

#[test]
fn without_ca_certificates_only_plain_http_is_alerted() {
    let alerting = |url| {
        let variables = [
            ("ALERT_ON_RELOAD", "true"),
            ("ALERT_WEBHOOK_URL", url),
            ("SSL_CERT_FILE", "/nowhere"),
        ];
        let (started, text) = restamp(&["watcher"], &variables);
        assert!(!started, "there is no cluster");
        text
    };
    let text = alerting("https://hooks.example/T0KEN");
    assert!(
        text.contains("install some, or set SSL_CERT_FILE"),
        "{text}"
    );
    assert!(!text.contains("T0KEN"), "{text}");
    let text = alerting("http://hooks.example/T0KEN");
    assert!(text.contains("found no cluster"), "{text}");
    assert!(text.contains("host=\"hooks.example\""), "{text}");
    assert!(!text.contains("T0KEN"), "{text}");
}

#[test]
fn help_names_the_variables_and_shows_no_value() {
    let variables = [
        "ALERT_ON_RELOAD",
        "ALERT_WEBHOOK_URL",
        "ALERT_SINK",
        "ALERT_WEBHOOK_PROXY",
        "ALERT_ADDITIONAL_INFO",
    ];
    let (_, text) = restamp(
        &["watcher", "--help"],
        &variables.map(|name| (name, SECRET)),
    );
    for name in variables {
        assert!(text.contains(name), "{text}");
        assert!(!help(&["webhook"]).contains(name), "{name}");
    }
    assert!(!text.contains("T0KEN"), "{text}");
}
