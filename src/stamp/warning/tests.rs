use super::*;
use crate::stamp::{annotations, source::SourceKind};

fn every_warning() -> Vec<Warning> {
    let source = SourceName::new(SourceKind::ConfigMap, "app");
    let annotation = annotations::AUTO;
    let value = "the value".to_owned();
    let error = "the error".to_owned();
    vec![
        Warning::InvalidPattern {
            annotation,
            piece: value.clone(),
            error: PatternError::Bracket,
        },
        Warning::EmptyPattern { annotation },
        Warning::TooManyPatterns {
            annotation,
            limit: 7,
        },
        Warning::NotABoolean {
            annotation,
            value: value.clone(),
        },
        Warning::NotTrue {
            annotation,
            value: value.clone(),
        },
        Warning::InvalidDuration {
            annotation,
            value: value.clone(),
            error: DurationError::UnknownUnit,
        },
        Warning::NamedAndExcluded {
            source: source.clone(),
        },
        Warning::IgnoredOnWorkload { annotation },
        Warning::NotOnTemplate { annotation },
        Warning::NotForKind { annotation },
        Warning::SourceMissing {
            source: source.clone(),
        },
        Warning::KeyMissing {
            source,
            key: value.clone(),
        },
        Warning::ObservedUnreadable { error },
        Warning::StampUnreadable { value },
        Warning::ManySources { at_least: 300 },
        Warning::StampPutBack,
        Warning::StampSent,
        Warning::NoRoom { limit: 300 },
    ]
}

#[test]
fn every_warning_names_its_subject_and_has_its_own_reason() {
    let mut reasons = Vec::new();
    for warning in every_warning() {
        let text = warning.to_string();
        let subjects = [annotations::AUTO, "restamp.dev/", "ConfigMap/app", "300"];
        assert!(
            subjects.iter().any(|subject| text.contains(subject)),
            "{text}"
        );
        let debug = format!("{warning:?}");
        assert!(
            !debug.contains("the value") || text.contains("\"the value\""),
            "{text}"
        );
        assert!(
            !debug.contains("the error") || text.contains("the error"),
            "{text}"
        );
        assert!(debug.starts_with(warning.reason()), "{debug}");
        reasons.push(warning.reason());
    }
    let count = reasons.len();
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons.len(), count);
}

#[test]
fn a_long_value_is_cut_between_characters_and_kept_on_one_line() {
    let value = |value: String| {
        Warning::NotTrue {
            annotation: annotations::SEARCH,
            value,
        }
        .to_string()
    };
    let long = value("\u{e9}".repeat(500));
    assert!(
        long.contains(&format!("\"{}...\"", "\u{e9}".repeat(SHOWN_CHARS))),
        "{long}"
    );
    let exact = value("x".repeat(SHOWN_CHARS));
    assert!(!exact.contains("..."), "{exact}");
    assert!(value("a\nb\"".to_owned()).contains(r#""a\nb\"""#));
}
