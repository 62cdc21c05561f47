//! Reads the annotations that make up a policy.

use std::{collections::BTreeSet, time::Duration};

use super::{Annotations, KindPolicy, Policy};
use crate::stamp::{
    annotations::{ROLLOUT_STRATEGY, SETTLE},
    duration::parse_duration,
    pattern::Pattern,
    settings::PolicySettings,
    source::{SourceKind, SourceName},
    warning::Warning,
};

/// How many regular expressions of one named list are compiled: each takes kilobytes. Names, also with
/// `.` or `.*` in them, do not count.
const MAX_COMPILED: usize = 32;

/// A set, since all kinds can read the same annotation.
type Warnings = BTreeSet<Warning>;

/// See [`Policy::parse`].
pub(super) fn parse(
    metadata: &Annotations,
    template: &Annotations,
    settings: &PolicySettings,
) -> (Policy, Vec<Warning>) {
    let mut warnings = Warnings::new();
    warn_misplaced(metadata, template, settings, &mut warnings);
    let mut of_kind = |kind| parse_kind(kind, metadata, template, settings, &mut warnings);
    let policy = Policy {
        config_maps: of_kind(SourceKind::ConfigMap),
        secrets: of_kind(SourceKind::Secret),
        secret_provider_classes: of_kind(SourceKind::SecretProviderClass),
        settle: parse_period(metadata, SETTLE, &mut warnings),
        pause_period: parse_period(metadata, settings.keys.pause_period, &mut warnings)
            .filter(|period| !period.is_zero()),
        restart: parse_strategy(metadata, &mut warnings),
    };
    (policy, warnings.into_iter().collect())
}

fn parse_kind(
    kind: SourceKind,
    metadata: &Annotations,
    template: &Annotations,
    settings: &PolicySettings,
    warnings: &mut Warnings,
) -> KindPolicy {
    if settings.ignored.contains(&kind) {
        return KindPolicy::default();
    }
    let (all, own) = (&settings.keys, settings.keys.of(kind));
    let keys = [own.reload, all.auto, own.auto, all.search];
    let decides = keys.iter().any(|key| metadata.contains_key(*key));
    let annotations = if decides { metadata } else { template };
    let is_silent = |key| annotations.get(key).is_none_or(String::is_empty);
    let policy = KindPolicy {
        patterns: parse_patterns(annotations, own.reload, warnings),
        excluded: parse_excluded(metadata, own.exclude),
        search: parse_search(annotations, all.search, warnings),
        auto: parse_auto(annotations, all.auto, warnings),
        typed_auto: parse_auto(annotations, own.auto, warnings),
        auto_by_default: settings.auto_reload_all && is_silent(all.auto) && is_silent(own.auto),
    };
    let both = policy.patterns.iter().filter_map(Pattern::literal);
    for name in both.filter(|name| policy.excludes(name)) {
        warnings.insert(Warning::NamedAndExcluded {
            source: SourceName::new(kind, name),
        });
    }
    policy
}

fn parse_patterns(
    annotations: &Annotations,
    annotation: &'static str,
    warnings: &mut Warnings,
) -> Box<[Pattern]> {
    let Some(list) = annotations.get(annotation) else {
        return Box::default();
    };
    let mut seen = BTreeSet::new();
    let mut left = MAX_COMPILED;
    let pieces = list.split(',').map(str::trim);
    pieces
        .filter(|piece| seen.insert(*piece))
        .filter_map(|piece| {
            parse_pattern(piece, annotation, &mut left)
                .map_err(|warning| warnings.insert(warning))
                .ok()
        })
        .collect()
}

/// Parses one element; `left` is how many may still be compiled.
fn parse_pattern(
    piece: &str,
    annotation: &'static str,
    left: &mut usize,
) -> Result<Pattern, Warning> {
    if piece.is_empty() {
        return Err(Warning::EmptyPattern { annotation });
    }
    if Pattern::needs_compiling(piece) {
        let limit = MAX_COMPILED;
        *left = left
            .checked_sub(1)
            .ok_or(Warning::TooManyPatterns { annotation, limit })?;
    }
    Pattern::parse(piece).map_err(|error| {
        let piece = piece.to_owned();
        Warning::InvalidPattern {
            annotation,
            piece,
            error,
        }
    })
}

fn parse_excluded(metadata: &Annotations, annotation: &'static str) -> Box<[Box<str>]> {
    let names: BTreeSet<&str> = metadata
        .get(annotation)
        .into_iter()
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    names.into_iter().map(Box::from).collect()
}

fn parse_search(
    annotations: &Annotations,
    annotation: &'static str,
    warnings: &mut Warnings,
) -> bool {
    let value = annotations.get(annotation).map_or("", String::as_str);
    if value != "true" && parse_bool(value) != Some(false) {
        warnings.insert(Warning::NotTrue {
            annotation,
            value: value.to_owned(),
        });
    }
    value == "true"
}

fn parse_auto(
    annotations: &Annotations,
    annotation: &'static str,
    warnings: &mut Warnings,
) -> bool {
    let value = annotations.get(annotation).map_or("", String::as_str);
    let parsed = parse_bool(value);
    if parsed.is_none() {
        warnings.insert(Warning::NotABoolean {
            annotation,
            value: value.to_owned(),
        });
    }
    parsed.unwrap_or(false)
}

/// Go's `strconv.ParseBool`, and nothing at all, which templating leaves behind, as false.
pub fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn parse_period(
    metadata: &Annotations,
    annotation: &'static str,
    warnings: &mut Warnings,
) -> Option<Duration> {
    let value = metadata.get(annotation)?;
    parse_duration(value)
        .map_err(|error| {
            let value = value.clone();
            warnings.insert(Warning::InvalidDuration {
                annotation,
                value,
                error,
            })
        })
        .ok()
}

fn parse_strategy(metadata: &Annotations, warnings: &mut Warnings) -> bool {
    let value = metadata.get(ROLLOUT_STRATEGY).map_or("", String::as_str);
    if !["", "rollout", "restart"].contains(&value) {
        warnings.insert(Warning::UnknownStrategy {
            value: value.to_owned(),
        });
    }
    value == "restart"
}

fn warn_misplaced(
    metadata: &Annotations,
    template: &Annotations,
    settings: &PolicySettings,
    warnings: &mut Warnings,
) {
    for annotation in [settings.keys.ignore, settings.keys.matches] {
        if metadata.contains_key(annotation) || template.contains_key(annotation) {
            warnings.insert(Warning::IgnoredOnWorkload { annotation });
        }
    }
    let excludes = settings.followed();
    let excludes = excludes.map(|kind| settings.keys.of(kind).exclude);
    for annotation in excludes.chain([SETTLE, settings.keys.pause_period]) {
        if template.contains_key(annotation) {
            warnings.insert(Warning::NotOnTemplate { annotation });
        }
    }
}
