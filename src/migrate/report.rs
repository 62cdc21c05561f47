//! The answer of `restamp migrate`, for people and for programs.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use super::values;
use crate::cluster::reloader::Installation;

/// What holds whatever the workloads.
const ALWAYS: [&str; 6] = [
    "nothing restarts by the switch: what is live is taken for what the pods run on, and what Reloader wrote stays",
    "changes while Restamp is down are found when it is back; a change back and forth, or of metadata, restarts nothing",
    "only the keys that pods use count, if they name them",
    "templates carry a stamp (restamp.dev/config-hash) in the place of Reloader's variables, unless the flags ask for these \
     (--reload-strategy=env-vars)",
    "the component of Events is restamp",
    "the webhook, in namespaces with the label restamp.dev/inject=enabled, makes a deploy of configuration and workload \
     one rollout",
];

/// The whole answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub(super) reloader: String,
    pub(super) image: String,
    pub(super) values: Value,
    pub(super) flags: Vec<String>,
    pub(super) watcher_flags: Vec<String>,
    pub(super) variables: Vec<String>,
    pub(super) dropped: Vec<(String, String)>,
    pub(super) refused: Vec<(String, String)>,
    pub(super) followed: BTreeMap<&'static str, usize>,
    pub(super) restarted_by_reloader: usize,
    pub(super) differences: BTreeMap<&'static str, Vec<String>>,
    pub(super) missed: BTreeMap<String, Vec<String>>,
    pub(super) delete: Vec<String>,
    pub(super) unknown: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.reloader, self.image)?;
        writeln!(f, "\nIts flags as values of the chart:")?;
        let values = values::lines(&self.values);
        lines(f, values.iter().map(String::as_str))?;
        writeln!(
            f,
            "Without the chart, flags for restamp watcher, webhook and explain:"
        )?;
        lines(f, self.flags.iter().map(String::as_str))?;
        writeln!(f, "Flags for restamp watcher alone:")?;
        lines(f, self.watcher_flags.iter().map(String::as_str))?;
        writeln!(
            f,
            "Variables of its environment, to be given with the values that they have:"
        )?;
        lines(f, self.variables.iter().map(String::as_str))?;
        for (what, flags) in [
            ("Without effect, so left out:", &self.dropped),
            (
                "Not taken as they are, so left out here; write them as it says, and ask again:",
                &self.refused,
            ),
        ] {
            if !flags.is_empty() {
                writeln!(f, "{what}")?;
                let flags = flags.iter().map(|(flag, why)| format!("{flag}: {why}"));
                let flags: Vec<_> = flags.collect();
                lines(f, flags.iter().map(String::as_str))?;
            }
        }
        let followed = self.followed.iter();
        let followed: Vec<_> = followed
            .map(|(kind, count)| format!("{kind}: {count}"))
            .collect();
        writeln!(f, "\nWorkloads that are followed:")?;
        lines(f, followed.iter().map(String::as_str))?;
        writeln!(
            f,
            "Reloader has restarted {} of them.",
            self.restarted_by_reloader
        )?;
        writeln!(f, "\nWhat will be different for all:")?;
        lines(f, ALWAYS.into_iter())?;
        for (difference, workloads) in &self.differences {
            writeln!(f, "For some, {difference}:")?;
            lines(f, workloads.iter().map(String::as_str))?;
        }
        self.write_missed(f)?;
        writeln!(f, "\nWhen Restamp runs, delete Reloader:")?;
        lines(f, self.delete.iter().map(String::as_str))?;
        if !self.unknown.is_empty() {
            writeln!(f, "\nUnknown, so the answer may lack something:")?;
            lines(f, self.unknown.iter().map(String::as_str))?;
        }
        Ok(())
    }
}

impl Report {
    fn write_missed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.missed.is_empty() {
            let as_far = match self.unknown.is_empty() {
                true => "",
                false => ", as far as it could be read",
            };
            return writeln!(
                f,
                "\nNo workload shows a change that Reloader missed{as_far}."
            );
        }
        writeln!(
            f,
            "\nReloader missed a change of these, so their pods may run on an old configuration. Restamp takes what is \
             live for what they run on; restart them yourself (kubectl rollout restart) if nobody has since:"
        )?;
        let missed = self.missed.iter();
        let missed: Vec<_> = missed
            .map(|(workload, sources)| format!("{workload}: {}", sources.join(", ")))
            .collect();
        lines(f, missed.iter().map(String::as_str))
    }
}

fn lines<'a>(f: &mut fmt::Formatter<'_>, lines: impl Iterator<Item = &'a str>) -> fmt::Result {
    let mut any = false;
    for line in lines {
        any = true;
        writeln!(f, "  {line}")?;
    }
    if any { Ok(()) } else { writeln!(f, "  none") }
}

/// Variables that mean something here, beside those of alerts.
const VARIABLES: [&str; 4] = [
    "KUBERNETES_NAMESPACE",
    "METRICS_COUNT_BY_NAMESPACE",
    "RELOADER_DEPLOYMENT_NAME",
    "RELOADER_NAMESPACE",
];

/// The variables of Reloader's environment that mean something here.
pub(super) fn variables(reloader: &Installation) -> Vec<String> {
    let means_something =
        |name: &&String| name.starts_with("ALERT_") || VARIABLES.contains(&name.as_str());
    reloader
        .env
        .keys()
        .filter(means_something)
        .cloned()
        .collect()
}

/// How to delete Reloader, and what it leaves behind.
pub(super) fn delete(reloader: &Installation, rights: &[String]) -> Vec<String> {
    let namespace = &reloader.namespace;
    let mut commands = match &reloader.release {
        // The chart writes the name of the release itself, whoever applies it.
        Some((release, namespace)) => vec![format!(
            "helm uninstall {release} -n {namespace} (or where it is deployed from, if that is not Helm)"
        )],
        None => {
            let account = Some(&reloader.service_account).filter(|name| *name != "default");
            let account = account.map(|name| format!("serviceaccount/{name} -n {namespace}"));
            let deployment = format!("deployment/{} -n {namespace}", reloader.name);
            let all = [deployment].into_iter().chain(account);
            let all = all.chain(rights.iter().cloned());
            all.map(|object| format!("kubectl delete {object}"))
                .collect()
        }
    };
    for left in [
        "configmap/reloader-meta-info",
        "lease/stakater-reloader-lock",
    ] {
        commands.push(format!(
            "kubectl delete --ignore-not-found {left} -n {namespace}"
        ));
    }
    commands
}
