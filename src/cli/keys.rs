//! Flags that give annotations other names.

use std::collections::BTreeSet;

use clap::Args;

use crate::stamp::{
    annotations::{
        AUTO, CONFIG_MAP_AUTO, CONFIG_MAP_RELOAD, IGNORE, KindKeys, MATCH, OBSERVED, PAUSE_PERIOD,
        PAUSED_AT, PolicyKeys, SEARCH, SECRET_AUTO, SECRET_RELOAD, SETTLE, STAMP,
    },
    selector::is_qualified_name,
    source::SourceKind,
};

#[derive(Args)]
pub(super) struct KeyArgs {
    /// What the annotation is called that follows everything that the pods use.
    #[arg(long, value_name = "KEY", default_value = AUTO, value_parser = key)]
    auto_annotation: &'static str,
    /// The same, for ConfigMaps.
    #[arg(long, value_name = "KEY", default_value = CONFIG_MAP_AUTO, value_parser = key)]
    configmap_auto_annotation: &'static str,
    /// The same, for Secrets.
    #[arg(long, value_name = "KEY", default_value = SECRET_AUTO, value_parser = key)]
    secret_auto_annotation: &'static str,
    /// What the annotation is called that names ConfigMaps.
    #[arg(long, value_name = "KEY", default_value = CONFIG_MAP_RELOAD, value_parser = key)]
    configmap_annotation: &'static str,
    /// What the annotation is called that names Secrets.
    #[arg(long, value_name = "KEY", default_value = SECRET_RELOAD, value_parser = key)]
    secret_annotation: &'static str,
    /// What the annotation is called that searches for marked sources.
    #[arg(long, value_name = "KEY", default_value = SEARCH, value_parser = key)]
    auto_search_annotation: &'static str,
    /// What the annotation is called that marks a source to be found.
    #[arg(long, value_name = "KEY", default_value = MATCH, value_parser = key)]
    search_match_annotation: &'static str,
    /// What the annotation is called that marks a source to be ignored.
    #[arg(long, value_name = "KEY", default_value = IGNORE, value_parser = key)]
    ignore_annotation: &'static str,
    /// What the annotation is called that holds restarts of a Deployment back.
    #[arg(long, value_name = "KEY", default_value = PAUSE_PERIOD, value_parser = key)]
    pause_deployment_annotation: &'static str,
    /// What the annotation is called that tells since when Reloader has paused a Deployment.
    #[arg(long, value_name = "KEY", default_value = PAUSED_AT, value_parser = key)]
    pause_deployment_time_annotation: &'static str,
}

impl KeyArgs {
    /// What the annotations are called.
    pub(super) fn keys(&self) -> PolicyKeys {
        let default = PolicyKeys::default();
        PolicyKeys {
            auto: self.auto_annotation,
            search: self.auto_search_annotation,
            matches: self.search_match_annotation,
            ignore: self.ignore_annotation,
            pause_period: self.pause_deployment_annotation,
            paused_at: self.pause_deployment_time_annotation,
            config_map: KindKeys {
                reload: self.configmap_annotation,
                auto: self.configmap_auto_annotation,
                ..default.config_map
            },
            secret: KindKeys {
                reload: self.secret_annotation,
                auto: self.secret_auto_annotation,
                ..default.secret
            },
            secret_provider_class: default.secret_provider_class,
        }
    }

    /// A key that means two things.
    pub(super) fn ambiguous(&self) -> Option<&'static str> {
        let PolicyKeys {
            auto,
            search,
            matches,
            ignore,
            pause_period,
            paused_at,
            ..
        } = self.keys();
        let of_kinds = SourceKind::ALL.map(|kind| *self.keys().of(kind));
        let of_kinds = of_kinds
            .iter()
            .flat_map(|keys| [keys.reload, keys.auto, keys.exclude]);
        let ours = [STAMP, OBSERVED, SETTLE];
        let general = [auto, search, matches, ignore, pause_period, paused_at];
        let mut seen = BTreeSet::new();
        ours.into_iter()
            .chain(general)
            .chain(of_kinds)
            .find(|key| !seen.insert(*key))
    }
}

/// The key of an annotation, for as long as the process lives.
fn key(text: &str) -> Result<&'static str, String> {
    if is_qualified_name(text) {
        Ok(Box::leak(text.to_owned().into_boxed_str()))
    } else {
        Err("write the key of an annotation, such as example.com/auto".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        keys: KeyArgs,
    }

    fn parse(args: &[&str]) -> Result<KeyArgs, String> {
        let args = ["restamp"].iter().chain(args);
        let program = Program::try_parse_from(args).map_err(|error| error.to_string())?;
        Ok(program.keys)
    }

    #[test]
    fn every_key_can_have_another_name() {
        let of_kinds = ["configmap", "secret", "configmap-auto", "secret-auto"];
        for flag in ["auto"].iter().chain(&of_kinds) {
            let given = parse(&[&format!("--{flag}-annotation=example.com/x")]).unwrap();
            assert_ne!(given.keys(), PolicyKeys::default(), "{flag}");
        }
        let flags = [
            "--pause-deployment-annotation=p",
            "--pause-deployment-time-annotation=t",
            "--search-match-annotation=m",
            "--ignore-annotation=i",
            "--auto-search-annotation=s",
        ];
        let keys = parse(&flags).unwrap().keys();
        assert_eq!((keys.pause_period, keys.paused_at), ("p", "t"));
        assert_eq!((keys.matches, keys.ignore, keys.search), ("m", "i", "s"));
    }

    #[test]
    fn what_cannot_be_a_key_or_is_one_already_is_refused() {
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a b",
            "-a",
            "a/b/c",
            "Ex ample.com/a",
            "a=b",
        ] {
            let error = parse(&[&format!("--auto-annotation={bad}")]).err();
            let error = error.expect("no key");
            assert!(error.contains("--auto-annotation"), "{bad}: {error}");
        }
        for taken in [SECRET_AUTO, STAMP] {
            let given = parse(&[&format!("--auto-annotation={taken}")]).unwrap();
            assert_eq!(given.ambiguous(), Some(taken));
        }
    }
}
