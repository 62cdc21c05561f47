//! `restamp migrate`: what a switch from stakater/Reloader would mean for this cluster. Changes nothing.

mod difference;
mod report;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use kube::{Client, api::DynamicObject};
use serde::Deserialize;

use crate::{
    cluster::{
        Error, discovery,
        kind::{Kinds, WorkloadKind},
        namespace,
        reloader::{self, Installation},
        source::{self, Content},
        workload::{self, Life, Workload},
    },
    stamp::{
        digest::Keyring,
        pod::PodTemplate,
        policy::Marks,
        references::{Listed, References, resolve},
        reloader::{ContentHash, Traces, variable},
        settings::{PolicySettings, ReloadStrategy},
        source::{SourceId, SourceName},
    },
};
use difference::Difference;
pub use report::Report;

/// What Restamp makes of Reloader's flags.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// For watcher, webhook and `explain` alike.
    pub shared: Vec<String>,
    /// For the watcher alone.
    pub watcher: Vec<String>,
    /// Those without effect, and why.
    pub dropped: Vec<(String, String)>,
    /// Those that Restamp does not take as they are, and why. Nothing else here is about them.
    pub refused: Vec<(String, String)>,
    /// The values of flags as they were given, by name.
    pub given: BTreeMap<String, String>,
    /// What they say of workloads.
    pub settings: PolicySettings,
    /// The kinds that are followed.
    pub kinds: Kinds,
    /// Whether Reloader follows Argo Rollouts.
    pub rollouts: bool,
    /// Whether Reloader follows SecretProviderClasses.
    pub classes: bool,
}

/// Looks at the cluster with the eyes of both.
pub async fn survey(client: &Client, reloader: &Installation, flags: Flags) -> Report {
    let mut survey = Survey {
        client,
        settings: PolicySettings {
            strategy: ReloadStrategy::Variables,
            ..flags.settings.clone()
        },
        rollouts: flags.rollouts,
        namespaces: BTreeMap::new(),
        classes: flags.classes,
        catalogs: BTreeMap::new(),
        hashes: BTreeMap::new(),
        followed: BTreeMap::new(),
        traces: 0,
        differences: BTreeMap::new(),
        missed: BTreeMap::new(),
        unknown: BTreeSet::new(),
    };
    for kind in flags.kinds.iter() {
        survey.kind(kind).await;
    }
    let rights = match reloader::rights(client, reloader).await {
        Ok(rights) => rights,
        Err(error) => {
            survey.unknown.insert(error.in_short());
            Vec::new()
        }
    };
    survey.report(reloader, flags, &rights)
}

struct Survey<'a> {
    client: &'a Client,
    settings: PolicySettings,
    rollouts: bool,
    classes: bool,
    /// Whether they are followed.
    namespaces: BTreeMap<String, bool>,
    catalogs: BTreeMap<String, BTreeMap<SourceName, Marks>>,
    hashes: BTreeMap<SourceId, Option<ContentHash>>,
    followed: BTreeMap<&'static str, usize>,
    /// How many workloads Reloader has restarted.
    traces: usize,
    differences: BTreeMap<Difference, Vec<String>>,
    missed: BTreeMap<String, Vec<String>>,
    unknown: BTreeSet<String>,
}

impl Survey<'_> {
    async fn kind(&mut self, kind: &'static WorkloadKind) {
        if !kind.is_built_in {
            match discovery::is_served(self.client, &kind.api_resource()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.unknown.insert(error.in_short());
                    return;
                }
            }
        }
        let scopes: Vec<_> = self.settings.namespaces.scopes().collect();
        for scope in scopes {
            match workload::list(self.client, kind, scope.namespace()).await {
                Ok(objects) => {
                    for object in objects {
                        self.object(kind, &object).await;
                    }
                }
                Err(error) => {
                    self.unknown.insert(error.in_short());
                }
            }
        }
    }

    async fn object(&mut self, kind: &'static WorkloadKind, object: &DynamicObject) {
        let Some(workload) = Workload::parse(kind, object, &self.settings) else {
            return;
        };
        if !workload.facts.policy.opted_in() || !self.follows(&workload.id.namespace).await {
            return;
        }
        *self.followed.entry(kind.kind).or_default() += 1;
        let template = workload::template(kind, &object.data);
        let template = template.and_then(|json| PodTemplate::deserialize(json).ok());
        let template = template.unwrap_or_default();
        let references = self.references(&workload).await;
        let of_reloader = (self.rollouts, self.classes);
        for difference in Difference::of(&workload, object, &references, of_reloader) {
            let of_all = self.differences.entry(difference).or_default();
            of_all.push(workload.id.to_string());
        }
        let traces = Traces::of(&template);
        if !traces.is_empty() && workload.life != Life::Over {
            self.traces += 1;
            self.compare(&workload, &traces, &references).await;
        }
    }

    async fn follows(&mut self, namespace: &str) -> bool {
        if let Some(known) = self.namespaces.get(namespace) {
            return *known;
        }
        let namespaces = &self.settings.namespaces;
        let is_followed = match namespace::is_followed(self.client, namespace, namespaces).await {
            Ok(is_followed) => is_followed,
            Err(error) => {
                self.unknown.insert(error.in_short());
                true
            }
        };
        self.namespaces.insert(namespace.to_owned(), is_followed);
        is_followed
    }

    /// Finds the sources whose content is not the one that Reloader restarted the workload for last.
    async fn compare(&mut self, workload: &Workload, traces: &Traces, references: &References) {
        let mut missed = Vec::new();
        for source in references.keys().filter(|source| traces.tell_of(source)) {
            if !source.kind.is_core() {
                let unknown = format!(
                    "whether Reloader missed a rotation of {source} for {}",
                    workload.id
                );
                self.unknown.insert(unknown);
                continue;
            }
            // Two sources can have one variable, which then tells of the other one only.
            let name = variable(source);
            let is_alone = references.keys().filter(|it| variable(it) == name).count() == 1;
            let live = self.hash(&source.within(&workload.id.namespace)).await;
            if is_alone && live.is_some_and(|live| traces.show_other(source, live)) {
                missed.push(source);
            }
        }
        if !missed.is_empty() {
            let sources = missed.into_iter().map(ToString::to_string).collect();
            self.missed.insert(workload.id.to_string(), sources);
        }
    }

    async fn references(&mut self, workload: &Workload) -> References {
        let (facts, namespace) = (&workload.facts, workload.id.namespace.to_string());
        if !self.catalogs.contains_key(&namespace) {
            let listed = self.list(&namespace).await;
            self.catalogs.insert(namespace.clone(), listed);
        }
        let nothing = BTreeMap::new();
        let catalog = Listed {
            rows: self.catalogs.get(&namespace).unwrap_or(&nothing),
            settings: &self.settings,
        };
        resolve(&facts.policy, &facts.usages, &catalog, None)
    }

    async fn list(&mut self, namespace: &str) -> BTreeMap<SourceName, Marks> {
        let kinds = self.settings.followed();
        let (listed, errors) = source::marks(self.client, kinds, namespace, &self.settings).await;
        self.unknown.extend(errors.iter().map(Error::in_short));
        listed
    }

    /// The hash of what a source holds now; nothing if it is not there, or may not be read.
    async fn hash(&mut self, id: &SourceId) -> Option<ContentHash> {
        if let Some(known) = self.hashes.get(id) {
            return *known;
        }
        let keyring = Keyring::blank();
        let hash = match source::read_unseen(self.client, id, &keyring, &self.settings).await {
            Ok(Content::Present { digests, .. }) => digests.hash(),
            // What pods get now need not be what they started on.
            Ok(
                Content::Absent | Content::NotFollowed | Content::Mounted(_) | Content::Unmounted,
            ) => None,
            Err(error) => {
                self.unknown.insert(error.in_short());
                None
            }
        };
        self.hashes.insert(id.clone(), hash);
        hash
    }

    fn report(self, reloader: &Installation, flags: Flags, rights: &[String]) -> Report {
        Report {
            values: values::of(&flags),
            reloader: format!("Deployment {}/{}", reloader.namespace, reloader.name),
            image: reloader.image.clone(),
            flags: flags.shared,
            watcher_flags: flags.watcher,
            variables: report::variables(reloader),
            dropped: flags.dropped,
            refused: flags.refused,
            followed: self.followed,
            restarted_by_reloader: self.traces,
            differences: self
                .differences
                .into_iter()
                .map(|(difference, workloads)| (difference.sentence(), workloads))
                .collect(),
            missed: self.missed,
            delete: report::delete(reloader, rights),
            unknown: self.unknown.into_iter().collect(),
        }
    }
}
