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
    let given = Given::try_parse_from(args).map_err(|error| {
        format!("Restamp does not take the flags of this Reloader as they are: {error}")
    })?;
    let WatcherArgs { policy, legacy, .. } = given.watcher;
    let (shared, without_effect) = (names_of::<PolicyArgs>(), names_of::<LegacyArgs>());
    let reasons = legacy.warnings();
    let mut flags = Flags {
        settings: policy.settings(one)?,
        kinds: policy.kinds(),
        rollouts: legacy.follows_rollouts(),
        classes: legacy.follows_classes(),
        ..Flags::default()
    };
    for (name, text) in grouped(args) {
        if shared.contains(name) {
            flags.shared.push(text);
        } else if without_effect.contains(name) {
            let why = reasons
                .iter()
                .find(|why| why.contains(&format!("--{name}")));
            let why = why.and_then(|why| why.split_once("effect: "));
            flags
                .dropped
                .push((text, why.map_or("", |(_, why)| why).to_owned()));
        } else {
            flags.watcher.push(text);
        }
    }
    Ok(flags)
}

fn names_of<A: Args>() -> BTreeSet<String> {
    let command = A::augment_args(Command::new("restamp"));
    let names = command.get_arguments().filter_map(clap::Arg::get_long);
    names.map(str::to_owned).collect()
}

/// Each flag with its value, as a shell takes it.
fn grouped(args: &[String]) -> Vec<(&str, String)> {
    let mut grouped: Vec<(&str, String)> = Vec::new();
    for arg in args {
        match (arg.strip_prefix("--"), grouped.last_mut()) {
            (Some(flag), _) => {
                let name = flag.split('=').next().unwrap_or_default();
                grouped.push((name, quoted(arg)));
            }
            (None, Some((_, text))) => {
                text.push(' ');
                text.push_str(&quoted(arg));
            }
            (None, None) => {}
        }
    }
    grouped
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
            "example.com/auto it",
            "--is-Argo-Rollouts=true",
            "--auto-reload-all=true",
        ]);
        assert!(read.unwrap_err().contains("write the key of an annotation"));
        let read = self::read(&[
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
