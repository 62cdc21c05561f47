//! Flags about every workload, which the webhook, the watcher and `explain` take alike. Names, defaults and
//! values are those of stakater/Reloader (its `internal/pkg/options`).

use std::str::FromStr;

use clap::{ArgAction::Set, Args};

use super::{
    keys::KeyArgs,
    list::{self, List},
    scope::ScopeArgs,
};
use crate::{
    cluster::kind::{KINDS, Kinds, WorkloadKind},
    stamp::{
        policy::parse_bool,
        settings::{PolicySettings, ReloadStrategy},
        source::SourceKind,
    },
};

/// The workloads that can be ignored.
const WORKLOAD_TYPES: [&str; 2] = ["jobs", "cronjobs"];

#[derive(Args)]
#[command(next_help_heading = "Policy, the same for webhook, watcher and explain")]
pub(super) struct PolicyArgs {
    /// Follow every workload that does not say otherwise, as if it had the auto annotation.
    #[arg(
        long,
        value_name = "BOOL",
        action = Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        value_parser = boolean
    )]
    auto_reload_all: bool,
    /// How pod templates tell of a change: by Restamp's annotation, or by Reloader's variables.
    #[arg(long, value_name = "STRATEGY", default_value = "annotations", value_parser = strategy)]
    reload_strategy: ReloadStrategy,
    /// Restart workloads when a source that they use comes to be: true or false.
    #[arg(long, value_name = "BOOL", action = Set, default_value = "false", value_parser = true_or_false)]
    reload_on_create: bool,
    /// Restart workloads when a source that they use is deleted: true or false.
    #[arg(long, value_name = "BOOL", action = Set, default_value = "false", value_parser = true_or_false)]
    reload_on_delete: bool,
    /// Do not watch, read or follow these: configmaps or secrets.
    #[arg(long, value_name = "KIND", value_parser = source_kinds)]
    resources_to_ignore: Vec<List<SourceKind>>,
    /// Do not watch or restart these: jobs or cronjobs.
    #[arg(long, value_name = "KIND", value_parser = workload_types)]
    ignored_workload_types: Vec<List<&'static str>>,
    /// Whether a CronJob runs at once when a source changes, or takes it with its next run: true or false.
    #[arg(long, value_name = "BOOL", action = Set, default_value = "true", value_parser = true_or_false)]
    run_cronjobs_on_change: bool,
    /// One more kind of workload, and where in it the pod template is. May be given again.
    #[arg(
        long,
        value_name = "GROUP/VERSION/PLURAL/KIND=PATH",
        value_parser = <&'static WorkloadKind>::from_str
    )]
    workload_kind: Vec<&'static WorkloadKind>,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    pub(super) scope: ScopeArgs,
}

impl PolicyArgs {
    /// What they say, if that makes sense; `one` is the namespace that a variable names.
    pub(super) fn settings(&self, one: Option<&str>) -> Result<PolicySettings, String> {
        let settings = PolicySettings {
            keys: self.keys.keys(),
            auto_reload_all: self.auto_reload_all,
            ignored: list::all(&self.resources_to_ignore).copied().collect(),
            namespaces: self.scope.namespaces(one)?,
            source_labels: self.scope.source_labels()?,
            reload_on_create: self.reload_on_create,
            reload_on_delete: self.reload_on_delete,
            strategy: self.reload_strategy,
        };
        if SourceKind::CORE
            .iter()
            .all(|kind| settings.ignored.contains(kind))
        {
            return Err(
                "--resources-to-ignore leaves nothing to follow; name one kind only".to_owned(),
            );
        }
        if let Some(kind) = self.given_twice() {
            return Err(format!(
                "--workload-kind: {} is followed already, or given with another version or path; give each kind once",
                kind.resource()
            ));
        }
        match self.keys.ambiguous() {
            Some(key) => Err(format!(
                "two annotations are called {key:?}; name each differently"
            )),
            None => Ok(settings),
        }
    }

    /// A kind that another one contradicts, which is built in or was given before.
    fn given_twice(&self) -> Option<&'static WorkloadKind> {
        let given = self.workload_kind.iter().copied();
        let mut numbered = given.clone().enumerate();
        let contradicted = numbered.find(|(at, kind)| {
            let before = KINDS.iter().chain(given.clone().take(*at));
            let is_same = |other: &WorkloadKind| {
                other.group == kind.group
                    && (other.plural == kind.plural || other.kind == kind.kind)
                    && other != *kind
            };
            before.into_iter().any(is_same)
        });
        contradicted.map(|(_, kind)| kind)
    }

    /// The types of workload that are ignored, by Reloader's names.
    pub(super) fn ignored_workload_types(&self) -> Vec<&'static str> {
        list::all(&self.ignored_workload_types).copied().collect()
    }

    /// The kinds of workload.
    pub(super) fn kinds(&self) -> Kinds {
        let mut kinds = Kinds::default();
        self.workload_kind.iter().for_each(|kind| kinds.add(kind));
        for ignored in list::all(&self.ignored_workload_types) {
            kinds.ignore(ignored);
        }
        if !self.run_cronjobs_on_change {
            kinds.defer_cron_jobs();
        }
        kinds
    }
}

/// As Go's `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Result<bool, &'static str> {
    parse_bool(text)
        .filter(|_| !text.is_empty())
        .ok_or("write true or false")
}

/// Reloader takes anything but `true` for false, without a word.
pub(super) fn true_or_false(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        _ => Err("write exactly true or false"),
    }
}

/// Reloader's names of strategies.
fn strategy(text: &str) -> Result<ReloadStrategy, &'static str> {
    match text {
        "annotations" => Ok(ReloadStrategy::Stamp),
        "env-vars" => Ok(ReloadStrategy::Variables),
        _ => Err("write annotations or env-vars"),
    }
}

fn source_kinds(text: &str) -> Result<List<SourceKind>, String> {
    list::names(text, source_kind)
}

fn source_kind(text: &str) -> Result<SourceKind, String> {
    let is_called = |kind: &SourceKind| kind.plural().eq_ignore_ascii_case(text);
    let kind = SourceKind::CORE.into_iter().find(is_called);
    kind.ok_or_else(|| {
        format!(
            "there are {}",
            SourceKind::CORE.map(SourceKind::plural).join(" and ")
        )
    })
}

fn workload_types(text: &str) -> Result<List<&'static str>, String> {
    list::names(text, |text| {
        let found = WORKLOAD_TYPES.into_iter().find(|known| *known == text);
        found.ok_or_else(|| format!("there are {}", WORKLOAD_TYPES.join(" and ")))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        policy: PolicyArgs,
    }

    fn parse(args: &[&str]) -> Result<PolicySettings, String> {
        let args = ["restamp"].iter().chain(args);
        let program = Program::try_parse_from(args).map_err(|error| error.to_string())?;
        program.policy.settings(None)
    }

    #[test]
    fn without_flags_it_is_reloader_s_defaults() {
        assert_eq!(parse(&[]), Ok(PolicySettings::default()));
    }

    #[test]
    fn booleans_are_those_of_go_and_need_no_value() {
        let all = |args: &[&str]| parse(args).map(|settings| settings.auto_reload_all);
        assert_eq!(all(&["--auto-reload-all"]), Ok(true));
        for (value, meant) in [("1", true), ("True", true), ("f", false), ("FALSE", false)] {
            assert_eq!(
                all(&[&format!("--auto-reload-all={value}")]),
                Ok(meant),
                "{value}"
            );
        }
        for bad in ["--auto-reload-all=maybe", "--auto-reload-all="] {
            assert!(
                all(&[bad]).unwrap_err().contains("--auto-reload-all"),
                "{bad}"
            );
        }
    }

    #[test]
    fn reloader_s_textual_booleans_take_both_forms_and_nothing_else() {
        for args in [
            &["--reload-on-create=true"][..],
            &["--reload-on-create", "true"],
        ] {
            assert!(parse(args).unwrap().reload_on_create);
        }
        assert!(!parse(&["--reload-on-delete="]).unwrap().reload_on_delete);
        let error = parse(&["--reload-on-delete=True"]).unwrap_err();
        assert!(error.contains("write exactly true or false"), "{error}");
        parse(&["--reload-on-delete"]).unwrap_err();
    }

    #[test]
    fn there_are_two_strategies() {
        let strategy = |value| {
            let flag = format!("--reload-strategy={value}");
            parse(&[&flag]).map(|settings| settings.strategy)
        };
        assert_eq!(strategy("annotations"), Ok(ReloadStrategy::Stamp));
        assert_eq!(strategy("env-vars"), Ok(ReloadStrategy::Variables));
        for bad in ["", "default", "ENV-VARS", "rolling"] {
            let error = strategy(bad).unwrap_err();
            assert!(error.contains("write annotations or env-vars"), "{error}");
        }
    }

    #[test]
    fn one_kind_of_source_can_be_ignored() {
        let ignored = |args: &[&str]| parse(args).map(|settings| settings.ignored);
        let secrets = Ok(BTreeSet::from([SourceKind::Secret]));
        assert_eq!(ignored(&["--resources-to-ignore", "secrets"]), secrets);
        assert_eq!(ignored(&["--resources-to-ignore=Secrets,secrets"]), secrets);
        assert_eq!(ignored(&["--resources-to-ignore=\"secrets\", "]), secrets);
        assert_eq!(ignored(&["--resources-to-ignore="]), Ok(BTreeSet::new()));
        let error = ignored(&["--resources-to-ignore=secret"]).unwrap_err();
        assert!(
            error.contains("there are configmaps and secrets"),
            "{error}"
        );
        let both = [
            "--resources-to-ignore=secrets",
            "--resources-to-ignore=configmaps",
        ];
        assert!(ignored(&both).unwrap_err().contains("leaves nothing"));
    }

    #[test]
    fn a_kind_cannot_be_given_in_two_ways() {
        let widget = "--workload-kind=a.example/v1/widgets/Widget=spec.template";
        parse(&[widget, widget]).unwrap();
        parse(&[
            widget,
            "--workload-kind=b.example/v1/widgets/Widget=spec.template",
        ])
        .unwrap();
        for args in [
            &["--workload-kind=apps/v1/deployments/Deployment=spec.other"][..],
            &[
                widget,
                "--workload-kind=a.example/v1/widgets/Widget=spec.other",
            ],
            &[
                widget,
                "--workload-kind=a.example/v2/widgets/Widget=spec.template",
            ],
        ] {
            let error = parse(args).unwrap_err();
            assert!(error.contains("give each kind once"), "{error}");
        }
    }

    #[test]
    fn two_annotations_cannot_have_one_name() {
        let error = parse(&["--auto-annotation=a", "--ignore-annotation=a"]).unwrap_err();
        assert!(
            error.contains("two annotations are called \"a\""),
            "{error}"
        );
    }

    #[test]
    fn types_of_workloads_can_be_ignored_and_kinds_added() {
        let kinds = |args: &[&str]| {
            let args = ["restamp"].iter().chain(args);
            let program = Program::try_parse_from(args).map_err(|error| error.to_string())?;
            Ok::<_, String>(program.policy.kinds())
        };
        let found = |args: &[&str], kind| kinds(args).map(|kinds| kinds.find(kind).is_some());
        assert_eq!(found(&[], "cronjob"), Ok(true));
        for ignored in [
            &["--ignored-workload-types=jobs,cronjobs"][..],
            &[
                "--ignored-workload-types=jobs",
                "--ignored-workload-types=\"cronjobs\"",
            ],
        ] {
            assert_eq!(found(ignored, "cronjob"), Ok(false), "{ignored:?}");
        }
        let error = kinds(&["--ignored-workload-types=cronjob"]).unwrap_err();
        assert!(error.contains("there are jobs and cronjobs"), "{error}");
        let given = ["--workload-kind=example.com/v1/widgets/Widget=spec.template"];
        assert_eq!(found(&given, "widgets.example.com"), Ok(true));
    }
}
