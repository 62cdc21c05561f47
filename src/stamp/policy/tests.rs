use super::*;
use crate::stamp::{annotations::*, duration::DurationError, pattern::PatternError};
use proptest::prelude::*;

fn annotations(pairs: &[(&str, &str)]) -> Annotations {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn parse(metadata: &[(&str, &str)], template: &[(&str, &str)]) -> (Policy, Vec<Warning>) {
    parse_all(&annotations(metadata), &annotations(template))
}

/// With the default settings.
fn parse_all(metadata: &Annotations, template: &Annotations) -> (Policy, Vec<Warning>) {
    Policy::parse(metadata, template, &PolicySettings::default())
}

/// A table about ConfigMaps, as one about another kind. What it says of Secrets is what it says of any other.
fn about(table: &str, kind: SourceKind) -> String {
    let name = kind.as_str().to_lowercase();
    let others = if kind == SourceKind::Secret {
        "configmap"
    } else {
        "secret"
    };
    table
        .replace("secret", "#")
        .replace("configmaps", kind.plural())
        .replace("configmap", &name)
        .replace('#', others)
}

fn config_map(name: &str) -> SourceName {
    SourceName::new(SourceKind::ConfigMap, name)
}

/// The rows of section 2.5 of the contract with `--auto-reload-all`, and some more.
const AUTO_RELOAD_ALL_TABLE: &str = "
                                               |         | Auto       | NotReferenced
auto=true                                      |         | Auto       | NotReferenced
auto=false                                     |         | NotOptedIn | NotOptedIn
auto=yes                                       |         | NotOptedIn | NotOptedIn
auto=                                          |         | Auto       | NotReferenced
auto=false; configmap/reload=cfg               |         | Named(0)   | Named(0)
configmap/auto=false                           |         | NotOptedIn | NotOptedIn
secret/auto=false                              |         | Auto       | NotReferenced
secret/auto=true                               |         | Auto       | NotReferenced
configmap/reload=other                         |         | Auto       | NotReferenced
configmap/reload=cfg                           |         | Named(0)   | Named(0)
configmap/reload=cfg; configmaps.exclude/reload=cfg | |   Excluded   | Excluded
configmaps.exclude/reload=cfg                  |         | Excluded   | Excluded
search=true                                    | match   | Search     | NotReferenced
                                               | ignore  | Ignored    | Ignored
";

/// Section 2.5 of the contract without `--auto-reload-all`, and some more: annotations on
/// the workload, marks on ConfigMap `cfg`, and what follows if the pod spec uses it and if not.
const TRUTH_TABLE: &str = "
                                               |         | NotOptedIn | NotOptedIn
auto=true                                      |         | Auto       | NotReferenced
auto=T                                         |         | Auto       | NotReferenced
auto=false                                     |         | NotOptedIn | NotOptedIn
auto=yes                                       |         | NotOptedIn | NotOptedIn
auto=                                          |         | NotOptedIn | NotOptedIn
auto=false; configmap/reload=cfg               |         | Named(0)   | Named(0)
auto=false; configmap/auto=true                |         | Auto       | NotReferenced
auto=true; configmap/auto=false                |         | Auto       | NotReferenced
secret/auto=true                               |         | NotOptedIn | NotOptedIn
secret/reload=cfg                              |         | NotOptedIn | NotOptedIn
configmap/reload=other                         | match   | NotOptedIn | NotOptedIn
configmap/reload=a[, , other , cfg             |         | Named(1)   | Named(1)
configmap/reload=cfg; auto=true                |         | Named(0)   | Named(0)
configmap/reload=*                             |         | Named(0)   | Named(0)
configmap/reload=cfg; configmaps.exclude/reload=other, cfg | | Excluded | Excluded
auto=true; configmaps.exclude/reload=cfg       |         | Excluded   | Excluded
auto=true; configmaps.exclude/reload=c.g       |         | Auto       | NotReferenced
auto=true; secrets.exclude/reload=cfg          |         | Auto       | NotReferenced
search=true                                    | match   | Search     | NotReferenced
search=true                                    |         | NotOptedIn | NotOptedIn
search=True                                    | match   | NotOptedIn | NotOptedIn
search=true; auto=true                         |         | Auto       | NotReferenced
search=true; auto=true                         | match   | Search     | NotReferenced
configmap/reload=cfg; auto=true                | ignore  | Ignored    | Ignored
configmaps.exclude/reload=cfg                  | ignore  | Ignored    | Ignored
ignore=true; auto=true                         |         | Auto       | NotReferenced
";

/// Section 2.2 of the contract: annotations on the workload, on the template, and whether the ConfigMap
/// and the Secret `cfg` are followed if the pod spec uses them.
const FALLBACK_TABLE: &str = "
                                | auto=true                                   | true  | true
                                | configmap/reload=cfg                        | true  | false
search=true                     | auto=true                                   | false | false
auto=                           | auto=true                                   | false | false
configmap/reload=other          | auto=true                                   | false | true
secret/auto=true                | configmap/auto=true                         | true  | true
ignore=true                     | auto=true                                   | true  | true
                                | auto=true; configmaps.exclude/reload=cfg    | true  | true
configmaps.exclude/reload=cfg   | auto=true                                   | false | true
";

fn rows(table: &str) -> impl Iterator<Item = [&str; 4]> {
    let rows = table.lines().filter(|line| !line.is_empty());
    rows.map(|row| {
        row.split('|')
            .map(str::trim)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap()
    })
}

/// Reads `auto=true; configmap/reload=a,b`, without the domain.
fn shorthand(text: &str) -> Annotations {
    let pairs = text
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='));
    let key = |short: &str| match short.split_once('/') {
        Some((prefix, name)) => format!("{prefix}.reloader.stakater.com/{name}"),
        None => format!("reloader.stakater.com/{short}"),
    };
    pairs
        .map(|(short, value)| (key(short), value.to_owned()))
        .collect()
}

#[test]
fn selects_by_the_truth_table() {
    let all = PolicySettings {
        auto_reload_all: true,
        ..PolicySettings::default()
    };
    for kind in SourceKind::ALL {
        let (without, with) = (about(TRUTH_TABLE, kind), about(AUTO_RELOAD_ALL_TABLE, kind));
        let source = SourceName::new(kind, "cfg");
        let without = rows(&without).map(|row| (row, PolicySettings::default()));
        let with = rows(&with).map(|row| (row, all.clone()));
        select_by(without.chain(with), &source);
    }
}

fn select_by<'a>(table: impl Iterator<Item = ([&'a str; 4], PolicySettings)>, source: &SourceName) {
    for (row @ [metadata, marks, used, unused], settings) in table {
        let (policy, _) = Policy::parse(&shorthand(metadata), &Annotations::new(), &settings);
        let marks = Marks {
            ignored: marks == "ignore",
            matched: marks == "match",
        };
        for (referenced, expected) in [(true, used), (false, unused)] {
            let found = match policy.select(source, marks, referenced) {
                Selection::NotSelected(reason) => format!("{reason:?}"),
                selected => format!("{selected:?}"),
            };
            assert_eq!(found, expected, "{row:?}");
        }
    }
}

#[test]
fn with_the_flag_a_workload_is_opted_in_that_says_nothing() {
    let settings = PolicySettings {
        auto_reload_all: true,
        ..PolicySettings::default()
    };
    let parse = |text| Policy::parse(&shorthand(text), &Annotations::new(), &settings).0;
    assert_eq!(parse("").opted_in_by(&settings.keys), [AUTO_RELOAD_ALL]);
    assert!(!parse("auto=false").opted_in());
}

#[test]
fn nothing_is_followed_of_a_kind_that_is_ignored() {
    let settings = PolicySettings {
        auto_reload_all: true,
        ignored: [SourceKind::ConfigMap].into(),
        ..PolicySettings::default()
    };
    let template = Annotations::new();
    let metadata = shorthand("auto=true; configmap/reload=cfg,a[; search=true");
    let (policy, warnings) = Policy::parse(&metadata, &template, &settings);
    let marks = Marks {
        ignored: false,
        matched: true,
    };
    assert!(!policy.select(&config_map("cfg"), marks, true).is_selected());
    assert_eq!(policy.patterns(SourceKind::ConfigMap), []);
    assert!(policy.autos(SourceKind::Secret));
    assert_eq!(warnings, []);
}

#[test]
fn annotations_can_have_other_names() {
    let keys = PolicyKeys {
        auto: "example.com/auto",
        ..PolicyKeys::default()
    };
    let settings = PolicySettings {
        keys,
        ..PolicySettings::default()
    };
    let parse = |key, value| {
        let metadata = annotations(&[(key, value)]);
        Policy::parse(&metadata, &Annotations::new(), &settings)
    };
    assert!(parse("example.com/auto", "true").0.opted_in());
    assert!(!parse(AUTO, "true").0.opted_in());
    let (_, warnings) = parse("example.com/auto", "yes");
    assert!(warnings[0].to_string().starts_with("example.com/auto: "));
}

#[test]
fn the_template_counts_only_without_keys_on_the_workload() {
    for row @ [metadata, template, config_map, secret] in rows(FALLBACK_TABLE) {
        let (policy, _) = parse_all(&shorthand(metadata), &shorthand(template));
        let found = SourceKind::CORE.map(|kind| {
            let source = SourceName::new(kind, "cfg");
            policy
                .select(&source, Marks::default(), true)
                .is_selected()
                .to_string()
        });
        assert_eq!(found, [config_map, secret], "{row:?}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn says_what_is_wrong() {
    let annotation = CONFIG_MAP_RELOAD;
    let piece = "a[".to_owned();
    let yes = || "yes".to_owned();
    let cases = [
        (
            AUTO,
            "yes",
            vec![Warning::NotABoolean {
                annotation: AUTO,
                value: yes(),
            }],
        ),
        (AUTO, "", vec![]),
        (AUTO, "False", vec![]),
        (
            SEARCH,
            "yes",
            vec![Warning::NotTrue {
                annotation: SEARCH,
                value: yes(),
            }],
        ),
        (
            SEARCH,
            "True",
            vec![Warning::NotTrue {
                annotation: SEARCH,
                value: "True".to_owned(),
            }],
        ),
        (SEARCH, "false", vec![]),
        (
            annotation,
            "a[,ok,,a[,",
            vec![
                Warning::InvalidPattern {
                    annotation,
                    piece,
                    error: PatternError::Bracket,
                },
                Warning::EmptyPattern { annotation },
            ],
        ),
        (annotation, "", vec![Warning::EmptyPattern { annotation }]),
        (
            SETTLE,
            "1d",
            vec![Warning::InvalidDuration {
                annotation: SETTLE,
                value: "1d".to_owned(),
                error: DurationError::UnknownUnit,
            }],
        ),
        (
            IGNORE,
            "true",
            vec![Warning::IgnoredOnWorkload { annotation: IGNORE }],
        ),
        (
            MATCH,
            "true",
            vec![Warning::IgnoredOnWorkload { annotation: MATCH }],
        ),
    ];
    for (key, value, warnings) in cases {
        assert_eq!(parse(&[(key, value)], &[]).1, warnings, "{key}: {value}");
    }
    for annotation in [SECRET_EXCLUDE, SETTLE, PAUSE_PERIOD] {
        let misplaced = parse(&[], &[(annotation, "1s")]).1;
        assert_eq!(misplaced, [Warning::NotOnTemplate { annotation }]);
    }
}

#[test]
fn only_a_name_in_both_lists_is_a_contradiction() {
    let named = [
        (CONFIG_MAP_RELOAD, "app.yaml,web-.*"),
        (CONFIG_MAP_EXCLUDE, "web-1 , app.yaml"),
    ];
    let source = config_map("app.yaml");
    assert_eq!(
        parse(&named, &[]).1,
        vec![Warning::NamedAndExcluded { source }]
    );
}

#[test]
fn expressions_are_bounded_and_names_are_not() {
    let list: Vec<String> = (0..200)
        .map(|n| format!("app-{n}+,app-{n},app.{n}.*"))
        .collect();
    let (policy, warnings) = parse(&[(SECRET_RELOAD, &list.join(","))], &[]);
    assert_eq!(policy.patterns(SourceKind::Secret).len(), 432);
    assert_eq!(
        warnings,
        vec![Warning::TooManyPatterns {
            annotation: SECRET_RELOAD,
            limit: 32
        }]
    );
}

#[test]
fn knows_what_opted_in() {
    let (policy, _) = parse(
        &[(SECRET_RELOAD, "b,a,b"), (SEARCH, "true"), (SETTLE, "3s")],
        &[],
    );
    assert!(policy.opted_in());
    assert_eq!(
        policy.opted_in_by(&PolicyKeys::default()),
        [SEARCH, SECRET_RELOAD]
    );
    let names: Vec<_> = policy
        .patterns(SourceKind::Secret)
        .iter()
        .map(Pattern::as_str)
        .collect();
    assert_eq!(names, ["b", "a"]);
    assert!(policy.patterns(SourceKind::ConfigMap).is_empty());
    assert!(policy.searches(SourceKind::ConfigMap));
    assert!(!policy.autos(SourceKind::Secret));
    assert_eq!(policy.settle(), Some(Duration::from_secs(3)));

    for nothing in [
        (CONFIG_MAP_RELOAD, ""),
        (CONFIG_MAP_RELOAD, "a["),
        (CONFIG_MAP_EXCLUDE, "a"),
    ] {
        let (policy, _) = parse(&[nothing], &[]);
        assert!(!policy.opted_in(), "{nothing:?}");
        assert!(
            policy.opted_in_by(&PolicyKeys::default()).is_empty(),
            "{nothing:?}"
        );
    }
    assert_eq!(parse(&[], &[]), (Policy::default(), vec![]));
}

fn any_annotations() -> impl Strategy<Value = Annotations> {
    let value = r"true|false|cfg|(cfg|a|[.*+(){}\[\]|,\\ ]){0,10}|\PC{0,20}";
    let key = prop::sample::select(&POLICY_KEYS[..]).prop_map(str::to_owned);
    prop::collection::btree_map(key, value, 0..6)
}

proptest! {
    #[test]
    fn never_panics_and_never_contradicts_itself(
        metadata in any_annotations(),
        template in any_annotations(),
        referenced: bool,
    ) {
        let (policy, _) = parse_all(&metadata, &template);
        let marks = Marks { ignored: false, matched: true };
        let selected = policy.select(&config_map("cfg"), marks, referenced).is_selected();
        prop_assert!(policy.opted_in() || !selected);
        prop_assert_eq!(policy.opted_in(), !policy.opted_in_by(&PolicyKeys::default()).is_empty());
    }

    #[test]
    fn exclude_always_wins(
        mut metadata in any_annotations(),
        template in any_annotations(),
        name in "[a-z]{1,5}",
        referenced: bool,
    ) {
        metadata.insert(CONFIG_MAP_RELOAD.to_owned(), format!("{name},.*"));
        metadata.insert(CONFIG_MAP_EXCLUDE.to_owned(), format!("x-x , {name} "));
        let (policy, warnings) = parse_all(&metadata, &template);
        let selection = policy.select(&config_map(&name), Marks::default(), referenced);
        prop_assert_eq!(selection, Selection::NotSelected(NotSelected::Excluded));
        let warning = Warning::NamedAndExcluded { source: config_map(&name) };
        prop_assert!(warnings.contains(&warning));
    }

    #[test]
    fn only_policy_keys_matter(metadata in any_annotations(), other in "[a-z./-]{1,20}") {
        let expected = parse_all(&metadata, &Annotations::new());
        let mut more = metadata;
        more.insert(other, "true".to_owned());
        more.insert(STAMP.to_owned(), "true".to_owned());
        prop_assert_eq!(parse_all(&more, &Annotations::new()), expected.clone());
        more.retain(|key, _| POLICY_KEYS.contains(&key.as_str()));
        prop_assert_eq!(parse_all(&more, &Annotations::new()), expected);
    }
}
