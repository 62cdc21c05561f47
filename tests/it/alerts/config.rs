//! What the variables ask for.

use std::{error::Error, ffi::OsString, os::unix::ffi::OsStringExt};

use restamp::alerts::{Config, ConfigError, Sink};

use super::{config, read};

const TOKEN: &str = "T0KEN";

fn says(error: &ConfigError) -> String {
    let cause = error.source().map(ToString::to_string);
    format!("{error} {} {error:?}", cause.unwrap_or_default())
}

#[test]
fn alerts_are_sent_only_if_the_variable_is_exactly_true() {
    for value in ["", "false", "True", "TRUE", "1", "yes", " true", "true\n"] {
        let url = ("ALERT_WEBHOOK_URL", "nonsense");
        assert_eq!(
            read(&[("ALERT_ON_RELOAD", value), url]).unwrap(),
            None,
            "{value:?}"
        );
    }
    assert_eq!(read(&[]).unwrap(), None);
}

#[test]
fn alerts_without_a_receiver_are_an_error_that_says_what_to_set() {
    let on = ("ALERT_ON_RELOAD", "true");
    for variables in [&[on][..], &[on, ("ALERT_WEBHOOK_URL", " \n")]] {
        let error = read(variables).unwrap_err().to_string();
        assert!(error.contains("set it to the URL"), "{error}");
        assert!(error.contains("ALERT_WEBHOOK_URL"), "{error}");
    }
}

#[test]
fn what_is_no_address_is_refused_without_being_shown() {
    let wrong = [
        "T0KEN",
        "hooks.example/T0KEN",
        "/T0KEN",
        "https://",
        "https://T0KEN@/",
        "https://hooks.example:99999/T0KEN",
        "https://hooks .example/T0KEN",
        "ftp://T0KEN@hooks.example/T0KEN",
        "socks5://T0KEN:T0KEN@proxy:1080",
        "proxy:3128/T0KEN",
        "10.0.0.1:3128",
        "file:///T0KEN",
    ];
    for value in wrong {
        for variable in ["ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_PROXY"] {
            let good = ("ALERT_WEBHOOK_URL", "http://hooks.example");
            let on = ("ALERT_ON_RELOAD", "true");
            let error = read(&[on, (variable, value), good]).expect_err(value);
            let text = says(&error);
            assert!(text.contains(variable), "{value}: {text}");
            assert!(!text.contains(TOKEN), "{value}: {text}");
        }
    }
}

#[test]
fn what_is_no_text_is_refused() {
    for wrong in ["ALERT_WEBHOOK_URL", "ALERT_SINK", "ALERT_WEBHOOK_PROXY"] {
        let variable = |name: &'static str| match name {
            "ALERT_ON_RELOAD" => Some("true".into()),
            name if name == wrong => Some(OsString::from_vec(b"T0KEN\xff".into())),
            "ALERT_WEBHOOK_URL" => Some("http://hooks.example".into()),
            _ => None,
        };
        let text = says(&Config::read(variable).unwrap_err());
        assert!(text.contains(wrong), "{text}");
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn names_of_sinks_are_those_of_reloader() {
    let sink = |url, name| config(&[("ALERT_WEBHOOK_URL", url), ("ALERT_SINK", name)]).sink;
    let here = "https://hooks.example/x";
    for (name, expected) in [
        ("slack", Sink::Slack),
        (" Slack\n", Sink::Slack),
        ("teams", Sink::TeamsWorkflow),
        ("GCHAT", Sink::GoogleChat),
        ("raw", Sink::Raw),
        ("webhook", Sink::Raw),
        ("", Sink::Raw),
        ("discord", Sink::Raw),
    ] {
        assert_eq!(sink(here, name), expected, "{name:?}");
    }
    assert_eq!(config(&[("ALERT_WEBHOOK_URL", here)]).sink, Sink::Raw);
    for connector in [
        "https://webhook.office.com/x",
        "https://shop.WEBHOOK.office.com/webhookb2/x",
    ] {
        assert_eq!(
            sink(connector, "teams"),
            Sink::TeamsConnector,
            "{connector}"
        );
    }
    let elsewhere = "https://shop.example/webhook.office.com";
    assert_eq!(sink(elsewhere, "teams"), Sink::TeamsWorkflow);
}

#[test]
fn values_are_trimmed_and_an_empty_proxy_is_none() {
    let config = config(&[
        ("ALERT_WEBHOOK_URL", " https://hooks.example/x\n"),
        ("ALERT_WEBHOOK_PROXY", " \n"),
        ("ALERT_ADDITIONAL_INFO", " cluster *a* \n"),
    ]);
    assert_eq!(config.url.host(), "hooks.example");
    assert_eq!(config.proxy, None);
    assert_eq!(config.info.as_deref(), Some("cluster *a*"));
}

#[test]
fn an_address_prints_scheme_and_host_and_nothing_else() {
    let config = config(&[
        (
            "ALERT_WEBHOOK_URL",
            "https://T0KEN:T0KEN@hooks.example:8443/T0KEN/x?T0KEN=T0KEN#T0KEN",
        ),
        (
            "ALERT_WEBHOOK_PROXY",
            "http://T0KEN:T0KEN@proxy.example:3128",
        ),
    ]);
    assert_eq!(config.url.to_string(), "https://hooks.example");
    let debug = format!("{config:?} {:#?}", config.proxy);
    assert!(debug.contains("http://proxy.example"), "{debug}");
    assert!(!debug.contains(TOKEN), "{debug}");
}
