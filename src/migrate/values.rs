//! The values of the chart that say what Reloader's flags say.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::Flags;
use crate::stamp::{
    annotations::PolicyKeys,
    scope::Namespaces,
    settings::{PolicySettings, ReloadStrategy},
    source::SourceKind,
};

/// Flags of the watcher alone, and what the chart calls them.
const OF_WATCHER: [(&str, &str); 3] = [
    ("log-format", "logFormat"),
    ("log-level", "logLevel"),
    ("webhook-url", "webhookUrl"),
];

/// What is to stand below `reloader`; what is as by default is left out.
pub(super) fn of(flags: &Flags) -> Value {
    let settings = &flags.settings;
    let ignores = |kind| settings.ignored.contains(&kind);
    let leaves_out = |kind| flags.kinds.find(kind).is_none();
    let switches = [
        ("autoReloadAll", settings.auto_reload_all),
        ("reloadOnCreate", settings.reload_on_create),
        ("reloadOnDelete", settings.reload_on_delete),
        ("ignoreConfigMaps", ignores(SourceKind::ConfigMap)),
        ("ignoreSecrets", ignores(SourceKind::Secret)),
        ("ignoreJobs", leaves_out("jobs")),
        ("ignoreCronJobs", leaves_out("cronjobs")),
    ];
    let switches = switches.into_iter().filter(|(_, is_on)| *is_on);
    let mut values: Map<_, _> = switches
        .map(|(name, is_on)| (name.to_owned(), json!(is_on)))
        .collect();
    let mut set = |name: &str, value: Value| drop(values.insert(name.to_owned(), value));
    for (flag, name) in OF_WATCHER {
        if let Some(value) = flags.given.get(flag) {
            set(name, json!(value));
        }
    }
    if settings.strategy == ReloadStrategy::Variables {
        set("reloadStrategy", json!("env-vars"));
    }
    if let Some(labels) = &settings.source_labels {
        set("resourceLabelSelector", json!(labels.to_string()));
    }
    namespaces(settings, &mut set);
    let names = names(&settings.keys);
    if !names.is_empty() {
        set("custom_annotations", Value::Object(names));
    }
    json!({ "reloader": values })
}

fn namespaces(settings: &PolicySettings, set: &mut impl FnMut(&str, Value)) {
    match &settings.namespaces {
        Namespaces::Only(names) => {
            set("watchGlobally", json!(false));
            set("namespaces", json!(names));
        }
        Namespaces::Cluster { ignored, selector } => {
            if !ignored.is_empty() {
                set("ignoreNamespaces", json!(ignored));
            }
            if let Some(selector) = selector {
                set("namespaceSelector", json!(selector.to_string()));
            }
        }
    }
}

/// The annotations that have other names.
fn names(keys: &PolicyKeys) -> Map<String, Value> {
    let all = |keys: &PolicyKeys| {
        [
            ("auto", keys.auto),
            ("configmap_auto", keys.config_map.auto),
            ("secret_auto", keys.secret.auto),
            ("configmap", keys.config_map.reload),
            ("secret", keys.secret.reload),
            ("search", keys.search),
            ("match", keys.matches),
            ("ignore", keys.ignore),
            ("pausePeriod", keys.pause_period),
            ("pauseTime", keys.paused_at),
        ]
    };
    let pairs = all(keys).into_iter().zip(all(&PolicyKeys::default()));
    let changed = pairs.filter(|(given, default)| given != default);
    changed
        .map(|((name, key), _)| (name.to_owned(), json!(key)))
        .collect()
}

/// As YAML, a line each.
pub(super) fn lines(values: &Value) -> Vec<String> {
    let mut text = String::new();
    write_below(&mut text, values, 0);
    text.lines().map(str::to_owned).collect()
}

fn write_below(text: &mut String, values: &Value, depth: usize) {
    for (name, value) in values.as_object().into_iter().flatten() {
        let (indent, is_empty) = ("  ".repeat(depth), value == &json!({}));
        // Writing to a String does not fail; JSON is YAML.
        let _ = match value {
            Value::Object(_) if !is_empty => writeln!(text, "{indent}{name}:"),
            _ => writeln!(text, "{indent}{name}: {value}"),
        };
        write_below(text, value, depth + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags that say something of everything.
    fn full() -> Flags {
        let mut flags = Flags {
            given: OF_WATCHER
                .map(|(flag, _)| (flag.to_owned(), flag.to_owned()))
                .into(),
            ..Flags::default()
        };
        for plural in ["jobs", "cronjobs"] {
            flags.kinds.ignore(plural);
        }
        flags.settings = PolicySettings {
            auto_reload_all: true,
            ignored: SourceKind::CORE.into(),
            reload_on_create: true,
            reload_on_delete: true,
            strategy: ReloadStrategy::Variables,
            source_labels: Some("team=a".parse().unwrap()),
            namespaces: Namespaces::Cluster {
                ignored: ["kube-system"].into(),
                selector: Some("env".parse().unwrap()),
            },
            keys: PolicyKeys {
                auto: "example.com/auto",
                ..PolicyKeys::default()
            },
        };
        flags
    }

    #[test]
    fn without_flags_there_is_nothing_to_say() {
        assert_eq!(of(&Flags::default()), json!({ "reloader": {} }));
        assert_eq!(lines(&of(&Flags::default())), ["reloader: {}"]);
    }

    #[test]
    fn every_flag_has_its_value() {
        let mut flags = full();
        let expected = json!({ "reloader": {
            "autoReloadAll": true, "reloadOnCreate": true, "reloadOnDelete": true,
            "ignoreConfigMaps": true, "ignoreSecrets": true, "ignoreJobs": true, "ignoreCronJobs": true,
            "logFormat": "log-format", "logLevel": "log-level", "webhookUrl": "webhook-url",
            "reloadStrategy": "env-vars", "resourceLabelSelector": "team=a",
            "ignoreNamespaces": ["kube-system"], "namespaceSelector": "env",
            "custom_annotations": { "auto": "example.com/auto" },
        }});
        assert_eq!(of(&flags), expected);
        flags.settings.namespaces = Namespaces::Only(["shop"].into());
        let values = &of(&flags)["reloader"];
        assert_eq!(values["watchGlobally"], json!(false));
        assert_eq!(values["namespaces"], json!(["shop"]));
        assert!(values.get("ignoreNamespaces").is_none());
    }

    #[test]
    fn what_is_printed_is_yaml() {
        let values = of(&full());
        let read: Value = serde_saphyr::from_str(&lines(&values).join("\n")).unwrap();
        assert_eq!(read, values);
    }

    #[test]
    fn the_chart_takes_each_of_them() {
        let schema = include_str!("../../charts/restamp/values.schema.json");
        let schema: Value = serde_json::from_str(schema).unwrap();
        let known = &schema["properties"]["reloader"]["properties"];
        let values = of(&full());
        for name in values["reloader"].as_object().unwrap().keys() {
            assert!(known.get(name).is_some(), "{name}");
        }
        let names = all_names();
        for name in names.keys() {
            let known = &known["custom_annotations"]["properties"];
            assert!(known.get(name).is_some(), "{name}");
        }
    }

    fn all_names() -> Map<String, Value> {
        let other = crate::stamp::annotations::KindKeys {
            auto: "a",
            reload: "b",
            exclude: "c",
        };
        names(&PolicyKeys {
            auto: "d",
            search: "e",
            matches: "f",
            ignore: "g",
            pause_period: "h",
            paused_at: "i",
            config_map: other,
            secret: other,
            secret_provider_class: other,
        })
    }
}
