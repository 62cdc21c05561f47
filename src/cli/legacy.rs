//! Flags of stakater/Reloader that have no meaning any more: they are taken, so that its manifests go on working,
//! and each says once why it does nothing.

use clap::Args;

use super::policy::{boolean, true_or_false};

#[derive(Args)]
#[command(next_help_heading = "Reloader's, without effect")]
pub(super) struct LegacyArgs {
    /// Several replicas always elect one.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    enable_ha: Option<bool>,
    /// What changed meanwhile is always found at the start.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    sync_after_restart: Option<bool>,
    /// Argo Rollouts are always followed where there are any.
    #[arg(long = "is-Argo-Rollouts", value_name = "BOOL", value_parser = true_or_false)]
    is_argo_rollouts: Option<bool>,
    /// SecretProviderClasses are always followed where there are any.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    enable_csi_integration: Option<bool>,
    /// There is no profiler.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    enable_pprof: Option<bool>,
    /// There is no profiler.
    #[arg(long, value_name = "ADDR")]
    pprof_addr: Option<String>,
}

impl LegacyArgs {
    /// Whether Reloader was told to follow Argo Rollouts.
    pub(super) fn follows_rollouts(&self) -> bool {
        self.is_argo_rollouts == Some(true)
    }

    /// Whether Reloader was told to follow SecretProviderClasses.
    pub(super) fn follows_classes(&self) -> bool {
        self.enable_csi_integration == Some(true)
    }

    /// Why those that were given do nothing.
    pub(super) fn warnings(&self) -> Vec<&'static str> {
        let given = [
            (
                self.enable_ha.is_some(),
                "--enable-ha has no effect: several replicas always elect one",
            ),
            (
                self.sync_after_restart.is_some(),
                "--sync-after-restart has no effect: what changed meanwhile is always found at the start",
            ),
            (
                self.is_argo_rollouts.is_some(),
                "--is-Argo-Rollouts has no effect: Rollouts are followed where there are any",
            ),
            (
                self.enable_csi_integration.is_some(),
                "--enable-csi-integration has no effect: SecretProviderClasses are followed where there are any",
            ),
            (
                self.enable_pprof.is_some() || self.pprof_addr.is_some(),
                "--enable-pprof and --pprof-addr have no effect: there is no profiler",
            ),
        ];
        let given = given.into_iter().filter(|(is_given, _)| *is_given);
        given.map(|(_, why)| why).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        legacy: LegacyArgs,
    }

    fn warnings(args: &[&str]) -> Result<Vec<&'static str>, String> {
        let args = ["restamp"].iter().chain(args);
        let program = Program::try_parse_from(args).map_err(|error| error.to_string())?;
        Ok(program.legacy.warnings())
    }

    #[test]
    fn what_is_given_is_warned_about_once() {
        assert_eq!(warnings(&[]), Ok(vec![]));
        let all = [
            "--enable-ha",
            "--sync-after-restart=true",
            "--is-Argo-Rollouts",
            "false",
            "--enable-csi-integration=true",
            "--enable-pprof=0",
            "--pprof-addr=:6060",
        ];
        assert_eq!(warnings(&all).unwrap().len(), 5);
        for one in [
            &["--enable-ha"][..],
            &["--sync-after-restart"],
            &["--is-Argo-Rollouts=true"],
            &["--enable-csi-integration"],
            &["--enable-pprof"],
            &["--pprof-addr=:6060"],
        ] {
            assert_eq!(warnings(one).unwrap().len(), 1, "{one:?}");
        }
        for warning in warnings(&all).unwrap() {
            assert!(
                warning.starts_with("--") && warning.contains("has no effect: ")
                    || warning.contains("have no effect: ")
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            "--enable-ha=maybe",
            "--enable-csi-integration=maybe",
            "--is-Argo-Rollouts=True",
            "--is-argo-rollouts=true",
        ] {
            warnings(&[bad]).unwrap_err();
        }
    }
}
