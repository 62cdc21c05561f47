//! Kinds of workload: each is an entry in one table, or given by a flag.

use std::str::FromStr;

use kube::{api::ApiResource, core::GroupVersionKind};

use super::discovery;

/// A kind of workload: where its API is, and where in it the pod template is.
#[derive(Debug, PartialEq, Eq)]
pub struct WorkloadKind {
    /// API group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Kubernetes kind.
    pub kind: &'static str,
    /// The kind's name in API paths and RBAC rules.
    pub plural: &'static str,
    /// The kind's short name in kubectl; empty if it has none.
    pub short: &'static str,
    /// The fields that lead to the pod template.
    pub template: &'static [&'static str],
    /// How its pods start anew.
    pub restart: Restart,
    /// Whether every API server serves it. Others are looked for, and may come and go.
    pub is_built_in: bool,
}

/// How the pods of a workload start anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// With another template.
    Rollout,
    /// So, or as they are when they are older than `spec.restartAt`.
    RolloutOrRestartAt,
    /// With the next run, and with a Job that is made for it.
    Job,
    /// By being made again: the template of one that exists cannot be changed.
    Recreate,
}

/// Every kind that is known without being told of.
pub static KINDS: [WorkloadKind; 7] = [
    apps("Deployment", "deployments", "deploy"),
    apps("StatefulSet", "statefulsets", "sts"),
    apps("DaemonSet", "daemonsets", "ds"),
    cron_job(Restart::Job),
    WorkloadKind {
        group: "batch",
        version: "v1",
        kind: "Job",
        plural: "jobs",
        short: "",
        template: &["spec", "template"],
        restart: Restart::Recreate,
        is_built_in: true,
    },
    WorkloadKind {
        group: "argoproj.io",
        version: "v1alpha1",
        kind: "Rollout",
        plural: "rollouts",
        short: "ro",
        template: &["spec", "template"],
        restart: Restart::RolloutOrRestartAt,
        is_built_in: false,
    },
    WorkloadKind {
        group: "apps.openshift.io",
        version: "v1",
        kind: "DeploymentConfig",
        plural: "deploymentconfigs",
        short: "dc",
        template: &["spec", "template"],
        restart: Restart::Rollout,
        is_built_in: false,
    },
];

const fn apps(kind: &'static str, plural: &'static str, short: &'static str) -> WorkloadKind {
    WorkloadKind {
        group: "apps",
        version: "v1",
        kind,
        plural,
        short,
        template: &["spec", "template"],
        restart: Restart::Rollout,
        is_built_in: true,
    }
}

/// CronJobs that take a change with their next run.
static DEFERRED: WorkloadKind = cron_job(Restart::Rollout);

const fn cron_job(restart: Restart) -> WorkloadKind {
    WorkloadKind {
        group: "batch",
        version: "v1",
        kind: "CronJob",
        plural: "cronjobs",
        short: "cj",
        template: &["spec", "jobTemplate", "spec", "template"],
        restart,
        is_built_in: true,
    }
}

impl WorkloadKind {
    fn is_called(&self, name: &str) -> bool {
        let is_short = !self.short.is_empty() && self.short == name;
        is_short || self.plural == name || self.kind.eq_ignore_ascii_case(name)
    }

    fn is_in(&self, group: &str) -> bool {
        group == self.group || group.split_once('.') == Some((self.version, self.group))
    }

    /// Whether restarts of the kind can be held back by a pause period.
    pub fn pauses(&self) -> bool {
        (self.group, self.kind) == ("apps", "Deployment")
    }

    /// Whether the kind's workloads are deleted and made again.
    pub fn is_made_again(&self) -> bool {
        self.restart == Restart::Recreate
    }

    /// How the kind is addressed.
    pub fn api_resource(&self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&gvk, self.plural)
    }

    /// The kind in RBAC's words.
    pub fn resource(&self) -> String {
        discovery::name_of(&self.api_resource())
    }
}

/// How Deployments are addressed where they are read as plain JSON: their types would be half a megabyte of the program.
pub(super) fn deployments() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"))
}

/// Not the form of `--workload-kind`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write it as GROUP/VERSION/PLURAL/KIND=PATH, such as apps.kruise.io/v1alpha1/clonesets/CloneSet=spec.template"
)]
pub struct NotAKind;

/// Reads `apps.kruise.io/v1alpha1/clonesets/CloneSet=spec.template`. What is read lives as long as the process.
impl FromStr for &'static WorkloadKind {
    type Err = NotAKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let leak = |text: &str| -> &'static str { Box::leak(Box::from(text)) };
        let is_word = |text: &&str| {
            let is_fit = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
            !text.is_empty() && text.chars().all(is_fit)
        };
        let (names, path) = text.split_once('=').ok_or(NotAKind)?;
        let words: Vec<_> = names.split('/').filter(is_word).collect();
        let [group, version, plural, kind] = words[..] else {
            return Err(NotAKind);
        };
        let fields: Vec<_> = path.split('.').collect();
        if names.split('/').count() != words.len() || fields.contains(&"") {
            return Err(NotAKind);
        }
        Ok(Box::leak(Box::new(WorkloadKind {
            group: leak(group),
            version: leak(version),
            kind: leak(kind),
            plural: leak(plural),
            short: "",
            template: Box::leak(fields.into_iter().map(leak).collect()),
            restart: Restart::Rollout,
            is_built_in: false,
        })))
    }
}

/// The kinds of an installation.
#[derive(Clone, Debug)]
pub struct Kinds(Vec<&'static WorkloadKind>);

impl Default for Kinds {
    fn default() -> Self {
        Self(KINDS.iter().collect())
    }
}

impl Kinds {
    /// Adds one, unless it is known.
    pub fn add(&mut self, kind: &'static WorkloadKind) {
        if self.of(kind.group, kind.version, kind.kind).is_none() {
            self.0.push(kind);
        }
    }

    /// Has CronJobs take a change with their next run, and not at once.
    pub fn defer_cron_jobs(&mut self) {
        for kind in &mut self.0 {
            if kind.restart == Restart::Job {
                *kind = &DEFERRED;
            }
        }
    }

    /// Leaves out the built-in one of that name.
    pub fn ignore(&mut self, plural: &str) {
        self.0
            .retain(|kind| !kind.is_built_in || kind.plural != plural);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &'static WorkloadKind> {
        self.0.iter().copied()
    }

    /// Finds a kind as kubectl does: kind, plural or short name, in any case, alone or followed by the
    /// group, or by version and group.
    pub fn find(&self, text: &str) -> Option<&'static WorkloadKind> {
        let lower = text.to_ascii_lowercase();
        let (name, group) = match lower.split_once('.') {
            Some((name, group)) => (name, Some(group)),
            None => (&*lower, None),
        };
        self.iter()
            .find(|kind| kind.is_called(name) && group.is_none_or(|group| kind.is_in(group)))
    }

    /// The kind of that name and version.
    pub fn of(&self, group: &str, version: &str, kind: &str) -> Option<&'static WorkloadKind> {
        self.iter()
            .find(|known| (known.group, known.version, known.kind) == (group, version, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_as_kubectl_finds_it_and_in_its_own_group_only() {
        let found = |text| Kinds::default().find(text).map(|kind| kind.kind);
        for text in [
            "statefulset",
            "StatefulSets",
            "sts",
            "statefulset.apps",
            "statefulsets.apps",
            "sts.apps",
            "statefulset.v1.apps",
            "STATEFULSETS.V1.APPS",
        ] {
            assert_eq!(found(text), Some("StatefulSet"), "{text}");
        }
        for text in [
            "",
            "pod",
            "statefulset.",
            "statefulset.foo.io",
            "statefulset.v1",
            "statefulset.v1beta1.apps",
            "statefulset.v1.apps.foo.io",
            "statefulset.foo.io.apps",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
        assert_eq!(found("rollouts.argoproj.io"), Some("Rollout"));
    }

    #[test]
    fn a_kind_can_be_given() {
        let text = "apps.kruise.io/v1alpha1/clonesets/CloneSet=spec.template";
        let kind: &WorkloadKind = text.parse().unwrap();
        assert_eq!(kind.resource(), "clonesets.apps.kruise.io");
        assert_eq!((kind.version, kind.kind), ("v1alpha1", "CloneSet"));
        assert_eq!(kind.template, ["spec", "template"]);
        let mut kinds = Kinds::default();
        kinds.add(kind);
        kinds.add(kind);
        assert_eq!(kinds.iter().count(), KINDS.len() + 1);
        assert_eq!(kinds.find("cloneset"), Some(kind));
        assert_eq!(kinds.of("apps.kruise.io", "v1", "CloneSet"), None);
    }

    #[test]
    fn kinds_can_be_left_out_and_cron_jobs_deferred() {
        let mut kinds = Kinds::default();
        let of_cron_jobs = |kinds: &Kinds| kinds.find("cj").map(|kind| kind.restart);
        assert_eq!(of_cron_jobs(&kinds), Some(Restart::Job));
        kinds.defer_cron_jobs();
        assert_eq!(of_cron_jobs(&kinds), Some(Restart::Rollout));
        assert_eq!(kinds.iter().count(), KINDS.len());
        kinds.ignore("cronjobs");
        assert_eq!(of_cron_jobs(&kinds), None);
    }

    #[test]
    fn a_kind_of_the_same_name_is_not_ignored_with_the_built_in_one() {
        let jobs = "batch.volcano.sh/v1alpha1/jobs/Job=spec.template";
        let mut kinds = Kinds::default();
        kinds.add(jobs.parse().unwrap());
        kinds.ignore("jobs");
        assert!(kinds.find("jobs.batch.volcano.sh").is_some());
        assert!(kinds.find("jobs.batch").is_none());
    }

    #[test]
    fn what_is_no_kind_is_refused() {
        for text in [
            "",
            "CloneSet",
            "a/v1/bs/B",
            "a/v1/bs/B=",
            "a/v1/bs/B=spec..template",
            "a/v1/B=spec.template",
            "/v1/bs/B=spec.template",
            "a/v1/bs/B/c=spec.template",
            "a b/v1/bs/B=spec.template",
        ] {
            assert_eq!(text.parse::<&WorkloadKind>(), Err(NotAKind), "{text:?}");
        }
    }
}
