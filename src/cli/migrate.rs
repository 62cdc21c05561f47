//! `restamp migrate`: Reloader's flags, taken as Restamp would take them.

use std::{collections::BTreeSet, io::Write, sync::Arc};

use clap::{Args, Command, Parser};

use super::{
    Failure, LogArgs, WatcherArgs, legacy::LegacyArgs, policy::PolicyArgs, scope::ONE_NAMESPACE,
};
use crate::{
    cluster::{
        client,
        reloader::{self, Installation},
    },
    explain::Output,
    migrate::{self, Flags},
    stamp::settings::PolicySettings,
};

#[derive(Args)]
pub(super) struct MigrateArgs {
    /// The namespace of Reloader; all are searched if not given.
    #[arg(short, long)]
    namespace: Option<String>,
    /// The name of its Deployment; found by its image if not given.
    #[arg(long, value_name = "NAME")]
    deployment: Option<String>,
    /// For people or for programs.
    #[arg(short, long, default_value = "text")]
    output: Output,
}

/// The flags of Reloader.
#[derive(Parser)]
#[command(
    no_binary_name = true,
    disable_help_flag = true,
    args_override_self = true
)]
struct Given {
    #[command(flatten)]
    _logs: LogArgs,
    #[command(flatten)]
    watcher: WatcherArgs,
}

pub(super) async fn run(args: MigrateArgs) -> Result<(), Failure> {
    let client = client::connect(Arc::new(|_| ())).await?;
    let (namespace, name) = (args.namespace.as_deref(), args.deployment.as_deref());
    let reloader = only(reloader::find(&client, namespace, name).await?)?;
    let one = reloader.env.get(ONE_NAMESPACE).and_then(Option::as_deref);
    let flags = flags(&reloader.args, one)?;
    let report = migrate::survey(&client, &reloader, flags).await;
    std::io::stdout().write_all(args.output.render(&report)?.as_bytes())?;
    Ok(())
}

fn only(mut found: Vec<Installation>) -> Result<Installation, String> {
    match (found.pop(), found.as_slice()) {
        (Some(reloader), []) => Ok(reloader),
        (None, _) => Err(
            "there is no Deployment whose image is called reloader; name it with --namespace and --deployment"
                .to_owned(),
        ),
        (Some(last), others) => {
            let all = others.iter().chain([&last]);
            let all: Vec<_> = all.map(|it| format!("{}/{}", it.namespace, it.name)).collect();
            let all = all.join(", ");
            Err(format!("there are several Reloaders ({all}); name one with --namespace and --deployment"))
        }
    }
}

/// What Restamp makes of them; `one` is the namespace that a variable names.
fn flags(args: &[String], one: Option<&str>) -> Result<Flags, String> {
    let (taken, mut refused) = taken_alone(args);
    let given = Given::try_parse_from(taken.iter().flat_map(|flag| flag.words));
    let given = given.map_err(|error| in_short(&error))?;
    let WatcherArgs { policy, legacy, .. } = given.watcher;
    let settings = policy.settings(one).unwrap_or_else(|problem| {
        refused.push(("some of them together".to_owned(), problem));
        PolicySettings::default()
    });
    let mut flags = Flags {
        settings,
        refused,
        kinds: policy.kinds(),
        rollouts: legacy.follows_rollouts(),
        classes: legacy.follows_classes(),
        ..Flags::default()
    };
    let (shared, without_effect) = (names_of::<PolicyArgs>(), names_of::<LegacyArgs>());
    let reasons = legacy.warnings();
    for flag in taken {
        flags
            .given
            .insert(flag.name.to_owned(), flag.value().to_owned());
        let text = flag.text();
        if shared.contains(flag.name) {
            flags.shared.push(text);
        } else if without_effect.contains(flag.name) {
            let name = format!("--{}", flag.name);
            let why = reasons.iter().find(|why| why.contains(&name));
            let why = why.and_then(|why| why.split_once("effect: "));
            let why = why.map_or("", |(_, why)| why).to_owned();
            flags.dropped.push((text, why));
        } else {
            flags.watcher.push(text);
        }
    }
    Ok(flags)
}

/// Those that Restamp takes, each for itself, and the others with the reason.
fn taken_alone(args: &[String]) -> (Vec<Flag<'_>>, Vec<(String, String)>) {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for flag in grouped(args) {
        match Given::try_parse_from(flag.words) {
            Ok(_) => taken.push(flag),
            Err(error) => refused.push((flag.text(), in_short(&error))),
        }
    }
    (taken, refused)
}

/// What is wrong, and what was meant, in one line.
fn in_short(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let is_said = |line: &&str| {
        !line.is_empty() && !line.starts_with("Usage:") && !line.starts_with("For more information")
    };
    let lines: Vec<_> = lines
        .filter(is_said)
        .map(|line| line.trim_start_matches("error: "))
        .collect();
    lines.join("; ")
}

fn names_of<A: Args>() -> BTreeSet<String> {
    let command = A::augment_args(Command::new("restamp"));
    let names = command.get_arguments().filter_map(clap::Arg::get_long);
    names.map(str::to_owned).collect()
}

/// A flag with its value.
struct Flag<'a> {
    name: &'a str,
    words: &'a [String],
}

impl Flag<'_> {
    /// The value as it was given; nothing if there is none.
    fn value(&self) -> &str {
        let joined = self.words.first().and_then(|word| word.split_once('='));
        let joined = joined.map(|(_, value)| value);
        joined.unwrap_or_else(|| self.words.get(1).map_or("", String::as_str))
    }

    /// As a shell takes it.
    fn text(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    }
}

/// Each flag with the words that follow it; what stands before all of them is one without a name.
fn grouped(args: &[String]) -> Vec<Flag<'_>> {
    let groups = args.chunk_by(|_, next| !next.starts_with("--"));
    let named = groups.map(|words| {
        let first = words.first().and_then(|word| word.strip_prefix("--"));
        let name = first.and_then(|flag| flag.split('=').next());
        Flag {
            name: name.unwrap_or_default(),
            words,
        }
    });
    named.collect()
}

fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Flags, String> {
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        flags(&args, None)
    }

    #[test]
    fn flags_are_told_apart_by_who_takes_them() {
        let read = read(&[
            "--log-level=info",
            "--enable-ha=true",
            "--auto-annotation",
            "example.com/auto",
            "--is-Argo-Rollouts=true",
            "--enable-csi-integration",
            "--auto-reload-all=true",
        ]);
        let read = read.unwrap();
        assert_eq!(read.watcher, ["--log-level=info"]);
        let shared = [
            "--auto-annotation example.com/auto",
            "--auto-reload-all=true",
        ];
        assert_eq!(read.shared, shared);
        let dropped: Vec<_> = read.dropped.iter().map(|(flag, _)| flag.as_str()).collect();
        let expected = [
            "--enable-ha=true",
            "--is-Argo-Rollouts=true",
            "--enable-csi-integration",
        ];
        assert_eq!(dropped, expected);
        assert!(read.dropped.iter().all(|(_, why)| why.len() > 10));
        assert!(read.rollouts && read.classes && read.settings.auto_reload_all);
    }

    #[test]
    fn a_flag_that_reloader_takes_and_restamp_does_not_is_told_and_hides_no_other() {
        let read = read(&[
            "reloader",
            "--reload-on-create=True",
            "--enable-ha",
            "false",
            "--auto-annotation",
            "example.com/auto it",
            "--relod-strategy=env-vars",
            "--log-level=info",
        ]);
        let read = read.unwrap();
        assert_eq!(read.watcher, ["--log-level=info"]);
        assert_eq!(read.given["log-level"], "info");
        let refused: Vec<_> = read.refused.iter().map(|(flag, _)| flag.as_str()).collect();
        let expected = [
            "reloader",
            "--reload-on-create=True",
            "--enable-ha false",
            "--auto-annotation 'example.com/auto it'",
            "--relod-strategy=env-vars",
        ];
        assert_eq!(refused, expected);
        for ((flag, why), said) in read.refused.iter().zip([
            "unexpected argument 'reloader'",
            "write exactly true or false",
            "unexpected argument 'false'",
            "write the key of an annotation",
            "'--reload-strategy'",
        ]) {
            assert!(why.contains(said) && !why.contains('\n'), "{flag}: {why}");
        }
        let clash = self::read(&["--auto-annotation=a", "--ignore-annotation=a"]).unwrap();
        assert_eq!(clash.refused.len(), 1);
        assert!(clash.refused[0].1.contains("two annotations are called"));
    }

    #[test]
    fn what_reloader_follows_is_followed() {
        let selector = "--namespace-selector=\"env=prod\"";
        let read = read(&[selector, "--namespaces-to-ignore=a"]).unwrap();
        let shared = [
            "'--namespace-selector=\"env=prod\"'",
            "--namespaces-to-ignore=a",
        ];
        assert_eq!(read.shared, shared);
        let namespaces = read.settings.namespaces.to_string();
        assert_eq!(namespaces, "those with env=prod but a");
        let one = flags(&[], Some("a")).unwrap();
        assert_eq!(one.settings.namespaces.to_string(), "a");
    }

    #[test]
    fn what_a_shell_would_take_apart_is_quoted() {
        assert_eq!(quoted("--a=b"), "--a=b");
        assert_eq!(quoted("--a=\"b c\""), "'--a=\"b c\"'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn one_reloader_is_wanted() {
        let reloader = |name: &str| Installation {
            namespace: "tools".to_owned(),
            name: name.to_owned(),
            ..Installation::default()
        };
        assert_eq!(only(vec![reloader("a")]), Ok(reloader("a")));
        assert!(only(vec![]).unwrap_err().contains("--deployment"));
        let error = only(vec![reloader("a"), reloader("b")]).unwrap_err();
        assert!(error.contains("tools/a, tools/b"), "{error}");
    }
}
