//! What Reloader says of its set-up in a ConfigMap, for tools that read that.

use std::collections::BTreeMap;

use kube::Client;
use serde::Serialize;
use serde_json::json;

use super::{logs::LogArgs, policy::PolicyArgs};
use crate::{
    cluster::{error::chain, meta_info},
    runtime::telemetry::LogFormat,
    stamp::{
        annotations::ROLLOUT_STRATEGY,
        scope::Namespaces,
        settings::{PolicySettings, ReloadStrategy},
        source::SourceKind,
    },
};

/// Reloader's variables: where the ConfigMap is, and what its Deployment is called.
pub(super) const NAMESPACE: &str = "RELOADER_NAMESPACE";
pub(super) const DEPLOYMENT: &str = "RELOADER_DEPLOYMENT_NAME";

/// Reloader's options, by its names and in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Options<'a> {
    auto_reload_all: bool,
    configmap_update_on_change_annotation: &'a str,
    secret_update_on_change_annotation: &'a str,
    secret_provider_class_update_on_change_annotation: &'a str,
    reloader_auto_annotation: &'a str,
    ignore_resource_annotation: &'a str,
    configmap_reloader_auto_annotation: &'a str,
    secret_reloader_auto_annotation: &'a str,
    secret_provider_class_reloader_auto_annotation: &'a str,
    configmap_exclude_reloader_annotation: &'a str,
    secret_exclude_reloader_annotation: &'a str,
    secret_provider_class_exclude_reloader_annotation: &'a str,
    auto_search_annotation: &'a str,
    search_match_annotation: &'a str,
    rollout_strategy_annotation: &'a str,
    pause_deployment_annotation: &'a str,
    pause_deployment_time_annotation: &'a str,
    log_format: &'a str,
    log_level: &'a str,
    is_argo_rollouts: bool,
    reload_strategy: &'a str,
    reload_on_create: bool,
    reload_on_delete: bool,
    sync_after_restart: bool,
    #[serde(rename = "enableHA")]
    enable_ha: bool,
    #[serde(rename = "enableCSIIntegration")]
    enable_csi_integration: bool,
    webhook_url: &'a str,
    resources_to_ignore: Vec<&'a str>,
    workload_types_to_ignore: Vec<&'a str>,
    namespace_selectors: Vec<String>,
    resource_selectors: Vec<String>,
    namespaces_to_ignore: Vec<&'a str>,
    #[serde(rename = "enablePProf")]
    enable_pprof: bool,
    pprof_addr: &'a str,
}

/// Publishes it, if there is a variable that says where; beside the work, since nothing depends on it.
pub(super) fn publish(
    client: &Client,
    args: &PolicyArgs,
    settings: &PolicySettings,
    logs: &LogArgs,
    webhook: &str,
) {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let namespace = variable(NAMESPACE);
    if namespace.is_empty() {
        return;
    }
    let deployment = variable(DEPLOYMENT);
    let data = data(args, settings, logs, webhook, (&deployment, &namespace));
    let client = client.clone();
    tokio::spawn(async move {
        if let Err(error) = meta_info::publish(&client, &namespace, data).await {
            tracing::warn!(error = %chain(&error), "cannot publish the set-up");
        }
    });
}

/// The data of the ConfigMap; `webhook` is the host of a URL, whose rest may be a secret.
pub(super) fn data(
    args: &PolicyArgs,
    settings: &PolicySettings,
    logs: &LogArgs,
    webhook: &str,
    (deployment, namespace): (&str, &str),
) -> BTreeMap<String, String> {
    let build = json!({
        "goVersion": "",
        "releaseVersion": env!("CARGO_PKG_VERSION"),
        "commitHash": "unknown",
        "commitTime": "0001-01-01T00:00:00Z",
        "edition": "restamp",
    });
    let deployment = json!({ "name": deployment, "namespace": namespace });
    let options = json_of(&options(args, settings, logs, webhook));
    [
        ("buildInfo", build.to_string()),
        ("deploymentInfo", deployment.to_string()),
        ("reloaderOptions", options),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// Texts, lists and booleans: nothing that could fail to serialize.
fn json_of(options: &Options<'_>) -> String {
    serde_json::to_string(options).unwrap_or_default()
}

fn options<'a>(
    args: &'a PolicyArgs,
    settings: &'a PolicySettings,
    logs: &'a LogArgs,
    webhook: &'a str,
) -> Options<'a> {
    let keys = &settings.keys;
    let of = |kind| keys.of(kind);
    let (config_map, secret) = (of(SourceKind::ConfigMap), of(SourceKind::Secret));
    let class = of(SourceKind::SecretProviderClass);
    let (selector, ignored) = match &settings.namespaces {
        Namespaces::Only(_) => (None, Vec::new()),
        Namespaces::Cluster { ignored, selector } => {
            (selector.as_ref(), ignored.iter().copied().collect())
        }
    };
    Options {
        auto_reload_all: settings.auto_reload_all,
        configmap_update_on_change_annotation: config_map.reload,
        secret_update_on_change_annotation: secret.reload,
        secret_provider_class_update_on_change_annotation: class.reload,
        reloader_auto_annotation: keys.auto,
        ignore_resource_annotation: keys.ignore,
        configmap_reloader_auto_annotation: config_map.auto,
        secret_reloader_auto_annotation: secret.auto,
        secret_provider_class_reloader_auto_annotation: class.auto,
        configmap_exclude_reloader_annotation: config_map.exclude,
        secret_exclude_reloader_annotation: secret.exclude,
        secret_provider_class_exclude_reloader_annotation: class.exclude,
        auto_search_annotation: keys.search,
        search_match_annotation: keys.matches,
        rollout_strategy_annotation: ROLLOUT_STRATEGY,
        pause_deployment_annotation: keys.pause_period,
        pause_deployment_time_annotation: keys.paused_at,
        log_format: match logs.log_format {
            LogFormat::Json => "json",
            LogFormat::Text => "",
        },
        log_level: &logs.log_level,
        // What needs no flag here is on.
        is_argo_rollouts: true,
        reload_strategy: match settings.strategy {
            ReloadStrategy::Stamp => "annotations",
            ReloadStrategy::Variables => "env-vars",
        },
        reload_on_create: settings.reload_on_create,
        reload_on_delete: settings.reload_on_delete,
        sync_after_restart: true,
        enable_ha: true,
        enable_csi_integration: true,
        webhook_url: webhook,
        resources_to_ignore: settings.ignored.iter().map(|kind| kind.plural()).collect(),
        workload_types_to_ignore: args.ignored_workload_types(),
        namespace_selectors: selector.iter().map(ToString::to_string).collect(),
        resource_selectors: settings
            .source_labels
            .iter()
            .map(ToString::to_string)
            .collect(),
        namespaces_to_ignore: ignored,
        enable_pprof: false,
        pprof_addr: "",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        logs: LogArgs,
        #[command(flatten)]
        policy: PolicyArgs,
    }

    #[test]
    fn the_set_up_is_told_by_reloaders_names() {
        let args = [
            "restamp",
            "--auto-reload-all",
            "--log-format=json",
            "--ignored-workload-types=jobs",
            "--namespace-selector=env:prod",
            "--namespaces-to-ignore=a,b",
            "--resources-to-ignore=secrets",
        ];
        let Program { logs, policy } = Program::parse_from(args);
        let settings = policy.settings(None).unwrap();
        let data = data(
            &policy,
            &settings,
            &logs,
            "hooks.example",
            ("restamp", "tools"),
        );
        let keys: Vec<_> = data.keys().map(String::as_str).collect();
        assert_eq!(keys, ["buildInfo", "deploymentInfo", "reloaderOptions"]);
        assert_eq!(
            data["deploymentInfo"],
            r#"{"name":"restamp","namespace":"tools"}"#
        );
        let options = &data["reloaderOptions"];
        assert!(
            options.starts_with(r#"{"autoReloadAll":true,"configmapUpdateOnChangeAnnotation":"#)
        );
        assert!(
            options
                .ends_with(r#""namespacesToIgnore":["a","b"],"enablePProf":false,"pprofAddr":""}"#)
        );
        let options: Value = serde_json::from_str(options).unwrap();
        assert_eq!(options.as_object().unwrap().len(), 34);
        assert_eq!(options["workloadTypesToIgnore"], json!(["jobs"]));
        assert_eq!(options["namespaceSelectors"], json!(["env=prod"]));
        assert_eq!(options["resourcesToIgnore"], json!(["secrets"]));
        assert_eq!(options["resourceSelectors"], json!([]));
        assert_eq!(
            (&options["logFormat"], &options["enableHA"]),
            (&json!("json"), &json!(true))
        );
    }
}
