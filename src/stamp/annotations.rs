//! Every annotation key that is read or written, once.
//!
//! The keys under `reloader.stakater.com` are those of stakater/Reloader (its README and
//! `internal/pkg/options`); a workload annotated for Reloader needs no change.

use super::source::SourceKind;

/// On the pod template, written: the digest of everything the pods were started with.
pub const STAMP: &str = "restamp.dev/config-hash";
/// On the workload, written: which source had which digest when the template was last written.
pub const OBSERVED: &str = "restamp.dev/observed";
/// On the workload: how long sources have to be quiet before it is restarted, a Go duration.
pub const SETTLE: &str = "restamp.dev/settle";
/// On an Argo Rollout, `restart` or `rollout`: restart its pods as they are, or roll it out.
pub const ROLLOUT_STRATEGY: &str = "reloader.stakater.com/rollout-strategy";

/// On a Deployment, a Go duration: how long further restarts are held back after one.
pub const PAUSE_PERIOD: &str = "deployment.reloader.stakater.com/pause-period";
/// On a Deployment that Reloader has paused for that long: since when. Never written.
pub const PAUSED_AT: &str = "deployment.reloader.stakater.com/paused-at";

/// On a pod template, written by Reloader with its strategy `annotations`: the source that it restarted for last.
pub const LAST_RELOADED_FROM: &str = "reloader.stakater.com/last-reloaded-from";

/// On the workload or its template, Go boolean: restart for every source that the pod spec uses.
pub const AUTO: &str = "reloader.stakater.com/auto";
/// On the workload or its template, Go boolean: as [`AUTO`], for ConfigMaps.
pub const CONFIG_MAP_AUTO: &str = "configmap.reloader.stakater.com/auto";
/// On the workload or its template, Go boolean: as [`AUTO`], for Secrets.
pub const SECRET_AUTO: &str = "secret.reloader.stakater.com/auto";
/// On the workload or its template, Go boolean: as [`AUTO`], for SecretProviderClasses.
pub const SECRET_PROVIDER_CLASS_AUTO: &str = "secretproviderclass.reloader.stakater.com/auto";
/// On the workload or its template, comma list of Go regexes: restart for the ConfigMaps so named.
pub const CONFIG_MAP_RELOAD: &str = "configmap.reloader.stakater.com/reload";
/// On the workload or its template, comma list of Go regexes: restart for the Secrets so named.
pub const SECRET_RELOAD: &str = "secret.reloader.stakater.com/reload";
/// On the workload or its template, comma list of Go regexes: restart for the SecretProviderClasses so named.
pub const SECRET_PROVIDER_CLASS_RELOAD: &str = "secretproviderclass.reloader.stakater.com/reload";
/// On the workload or its template, exactly `true`: restart for used sources that carry [`MATCH`].
pub const SEARCH: &str = "reloader.stakater.com/search";
/// On the workload alone, comma list of names: never restart for these ConfigMaps.
pub const CONFIG_MAP_EXCLUDE: &str = "configmaps.exclude.reloader.stakater.com/reload";
/// On the workload alone, comma list of names: never restart for these Secrets.
pub const SECRET_EXCLUDE: &str = "secrets.exclude.reloader.stakater.com/reload";
/// On the workload alone, comma list of names: never restart for these SecretProviderClasses.
pub const SECRET_PROVIDER_CLASS_EXCLUDE: &str =
    "secretproviderclasses.exclude.reloader.stakater.com/reload";
/// On a source, exactly `true`: found by workloads that [`SEARCH`].
pub const MATCH: &str = "reloader.stakater.com/match";
/// On a source, exactly `true`: no workload is restarted for it.
pub const IGNORE: &str = "reloader.stakater.com/ignore";

/// What people set on a workload or its template, those included that have no effect there.
pub const POLICY_KEYS: [&str; 14] = [
    SETTLE,
    AUTO,
    CONFIG_MAP_AUTO,
    SECRET_AUTO,
    SECRET_PROVIDER_CLASS_AUTO,
    CONFIG_MAP_RELOAD,
    SECRET_RELOAD,
    SECRET_PROVIDER_CLASS_RELOAD,
    SEARCH,
    CONFIG_MAP_EXCLUDE,
    SECRET_EXCLUDE,
    SECRET_PROVIDER_CLASS_EXCLUDE,
    MATCH,
    IGNORE,
];

/// The keys for one kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindKeys {
    /// Names its sources.
    pub reload: &'static str,
    /// Follows every used source of the kind.
    pub auto: &'static str,
    /// Excludes sources of it.
    pub exclude: &'static str,
}

/// The keys that people set, as this installation calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyKeys {
    /// As [`AUTO`].
    pub auto: &'static str,
    /// As [`SEARCH`].
    pub search: &'static str,
    /// As [`MATCH`].
    pub matches: &'static str,
    /// As [`IGNORE`].
    pub ignore: &'static str,
    /// As [`PAUSE_PERIOD`].
    pub pause_period: &'static str,
    /// As [`PAUSED_AT`].
    pub paused_at: &'static str,
    /// For ConfigMaps.
    pub config_map: KindKeys,
    /// For Secrets.
    pub secret: KindKeys,
    /// For SecretProviderClasses.
    pub secret_provider_class: KindKeys,
}

impl PolicyKeys {
    /// Those of one kind of source.
    pub fn of(&self, kind: SourceKind) -> &KindKeys {
        match kind {
            SourceKind::ConfigMap => &self.config_map,
            SourceKind::Secret => &self.secret,
            SourceKind::SecretProviderClass => &self.secret_provider_class,
        }
    }
}

impl Default for PolicyKeys {
    fn default() -> Self {
        Self {
            auto: AUTO,
            search: SEARCH,
            matches: MATCH,
            ignore: IGNORE,
            pause_period: PAUSE_PERIOD,
            paused_at: PAUSED_AT,
            config_map: KindKeys {
                reload: CONFIG_MAP_RELOAD,
                auto: CONFIG_MAP_AUTO,
                exclude: CONFIG_MAP_EXCLUDE,
            },
            secret: KindKeys {
                reload: SECRET_RELOAD,
                auto: SECRET_AUTO,
                exclude: SECRET_EXCLUDE,
            },
            secret_provider_class: KindKeys {
                reload: SECRET_PROVIDER_CLASS_RELOAD,
                auto: SECRET_PROVIDER_CLASS_AUTO,
                exclude: SECRET_PROVIDER_CLASS_EXCLUDE,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_by_kind_are_policy_keys() {
        for kind in SourceKind::ALL {
            let prefix = kind.as_str().to_lowercase();
            let keys = PolicyKeys::default();
            let KindKeys {
                reload,
                auto,
                exclude,
            } = keys.of(kind);
            for key in [reload, auto, exclude] {
                assert!(key.starts_with(&prefix), "{key}");
                assert!(POLICY_KEYS.contains(key), "{key}");
            }
        }
    }
}
