//! Workloads: what is kept of them, and how they are read and written.

mod life;
mod pause;

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch},
};
pub use life::Life;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Error, FIELD_MANAGER, cron_job,
    error::Request,
    job,
    kind::{Restart, WorkloadKind},
    patch_as_us, version_number,
};
use crate::stamp::{
    annotations::STAMP,
    decide::Trigger,
    facts::Facts,
    patch::{NewStart, Write, merge_patch, variables_patch},
    pod::PodTemplate,
    settings::{PolicySettings, ReloadStrategy},
    warning::Warning,
};

/// Objects of one page of a list.
const PAGE: u32 = 500;

static NONE: BTreeMap<String, String> = BTreeMap::new();

/// Names a workload in the cluster.
#[derive(Clone, Debug)]
pub struct WorkloadId {
    /// What it is.
    pub kind: &'static WorkloadKind,
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
}

impl WorkloadId {
    fn parts(&self) -> (&str, &str, &str, &str) {
        (&self.namespace, self.kind.group, self.kind.kind, &self.name)
    }
}

impl PartialEq for WorkloadId {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for WorkloadId {}

impl PartialOrd for WorkloadId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for WorkloadId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.kind, self.namespace, self.name)
    }
}

/// What is kept of a workload: not the object, but what it says to us.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Which one.
    pub id: WorkloadId,
    /// Tells a re-created workload from the one before it.
    pub uid: Box<str>,
    /// The version that a write is bound to.
    pub resource_version: Box<str>,
    /// Tells one pod template from another, in this process.
    pub template: u64,
    /// What matters to a decision.
    pub facts: Facts,
    /// Since when Reloader has had it paused, whatever that says; nothing if it has not.
    pub left_paused: Option<Box<str>>,
    /// Whether there is anything to start anew.
    pub life: Life,
    /// The field manager that wrote the spec or our annotations last, other than us.
    pub last_writer: Option<Box<str>>,
}

impl Workload {
    /// Reads an object; nothing if it has no name or namespace, which cannot be.
    pub fn parse(
        kind: &'static WorkloadKind,
        object: &DynamicObject,
        settings: &PolicySettings,
    ) -> Option<Self> {
        let metadata = &object.metadata;
        let json = template(kind, &object.data);
        // One that is malformed uses nothing: the API server lets none pass for the built-in kinds.
        let template = json
            .and_then(|json| PodTemplate::deserialize(json).ok())
            .unwrap_or_default();
        let annotations = metadata.annotations.as_ref();
        let annotations = annotations.unwrap_or(&NONE);
        let mut facts = Facts::parse(
            annotations,
            &template,
            template.annotations().get(STAMP).map(String::as_str),
            settings,
        );
        if facts.policy.pause_period().is_some() && !kind.pauses() {
            let annotation = settings.keys.pause_period;
            facts.warnings.push(Warning::NotForKind { annotation });
        }
        let is_paused = kind.pauses() && object.data.pointer("/spec/paused") == Some(&json!(true));
        let paused_at = annotations.get(settings.keys.paused_at);
        let paused_at = paused_at.filter(|text| is_paused && !text.is_empty());
        Some(Self {
            id: id(kind, metadata)?,
            uid: metadata.uid.clone().unwrap_or_default().into(),
            resource_version: metadata.resource_version.clone().unwrap_or_default().into(),
            template: fingerprint(json),
            facts,
            life: Life::of(kind, object, json.is_some()),
            left_paused: paused_at.map(|text| text.as_str().into()),
            last_writer: last_writer(metadata.managed_fields.as_deref().unwrap_or_default()),
        })
    }

    /// Whether there is something to decide anew.
    pub fn differs_from(&self, other: &Workload) -> bool {
        (self.template, self.life) != (other.template, other.life)
            || (&self.facts, &self.left_paused) != (&other.facts, &other.left_paused)
    }

    /// Whether `other` is an older state of the same object.
    pub fn is_newer_than(&self, other: &Workload) -> bool {
        self.uid == other.uid
            && matches!((self.version(), other.version()), (Some(ours), Some(theirs)) if ours > theirs)
    }

    /// What has its pods start anew.
    pub fn trigger(&self, strategy: ReloadStrategy) -> Trigger<'_> {
        match (self.id.kind.restart, strategy) {
            _ if self.life == Life::Suspended => Trigger::Suspended,
            (Restart::Recreate, _) => Trigger::Recreate,
            (Restart::RolloutOrRestartAt, _) if self.facts.policy.restarts() => Trigger::InPlace,
            // The stamp names the Job that runs for a change.
            (Restart::Job, _) | (_, ReloadStrategy::Stamp) => Trigger::Stamp,
            (_, ReloadStrategy::Variables) => Trigger::Variables(&self.facts.containers),
        }
    }

    /// The resource version as a number, to compare it with others.
    pub fn version(&self) -> Option<u64> {
        version_number(&self.resource_version)
    }
}

/// The name of an object; nothing if it has none.
pub fn id(kind: &'static WorkloadKind, metadata: &ObjectMeta) -> Option<WorkloadId> {
    Some(WorkloadId {
        kind,
        namespace: metadata.namespace.as_deref()?.into(),
        name: metadata.name.as_deref()?.into(),
    })
}

/// The pod template of an object; nothing if it has none.
pub fn template<'a>(kind: &WorkloadKind, object: &'a Value) -> Option<&'a Value> {
    let mut path = kind.template.iter();
    path.try_fold(object, |value, field| value.get(field))
}

fn fingerprint(template: Option<&Value>) -> u64 {
    let mut hasher = DefaultHasher::new();
    template.hash(&mut hasher);
    hasher.finish()
}

fn last_writer(fields: &[ManagedFieldsEntry]) -> Option<Box<str>> {
    fields
        .iter()
        .filter(|entry| entry.subresource.as_deref().is_none_or(str::is_empty))
        .filter(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER))
        // Controllers own annotations of their own, such as the revision; who moves templates owns a spec.
        .filter(|entry| {
            let fields = entry.fields_v1.as_ref();
            fields.is_some_and(|fields| fields.0.get("f:spec").is_some())
        })
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))
        .and_then(|entry| entry.manager.as_deref().map(Box::from))
}

/// Reads one workload.
///
/// # Errors
/// When it is not there or cannot be read.
pub async fn get(
    client: &Client,
    id: &WorkloadId,
    settings: &PolicySettings,
) -> Result<Workload, Error> {
    let request = Request::object("get", id.kind.resource(), &id.namespace, &id.name);
    let object = request.send(api(client, id).get(&id.name)).await?;
    parsed(id, &object, request, settings)
}

/// Lists the objects of a kind, in a namespace or in all, page by page.
///
/// # Errors
/// When the API server does not answer with the list.
pub async fn list(
    client: &Client,
    kind: &WorkloadKind,
    namespace: Option<&str>,
) -> Result<Vec<DynamicObject>, Error> {
    let request = Request {
        verb: "list",
        resource: kind.resource(),
        namespace: namespace.map(str::to_owned),
        name: None,
    };
    let resource = kind.api_resource();
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let (mut found, mut params) = (Vec::new(), ListParams::default().limit(PAGE));
    loop {
        let page = request.send(api.list(&params)).await?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// Writes our annotations to the workload as it is at `resource_version`, and has it run, or makes it again, if that is
/// asked for.
///
/// # Errors
/// [`Error::Conflict`] when the workload has changed since, and whatever else the API server answers.
pub async fn write(
    client: &Client,
    own_namespace: &str,
    id: &WorkloadId,
    resource_version: &str,
    write: &Write,
    settings: &PolicySettings,
) -> Result<Workload, Error> {
    if let (true, Some(NewStart::Stamp(stamp))) = (write.run_now, &write.start) {
        cron_job::run_now(client, id, resource_version, stamp).await?;
    }
    let request = Request::object("patch", id.kind.resource(), &id.namespace, &id.name);
    if let Some(NewStart::Recreate) = write.start {
        let observed = &write.observed;
        let made = job::recreate(client, own_namespace, id, resource_version, observed).await?;
        return parsed(id, &made, request, settings);
    }
    let api = api(client, id);
    let sent = async {
        let patch = patch(id, resource_version, write)?;
        api.patch(&id.name, &patch_as_us(), &patch).await
    };
    let sent = request.send(sent).await;
    if let (Err(Error::Refused { code: 422, .. }), Some(NewStart::Variables(_))) =
        (&sent, &write.start)
    {
        // Places in lists may be others by now.
        unchanged(client, id, resource_version).await?;
    }
    let object = sent?;
    parsed(id, &object, request, settings)
}

/// Reads the workload whole, as it is at `resource_version`.
///
/// # Errors
/// [`Error::Conflict`] when it has changed since, and whatever else the API server answers.
pub(super) async fn unchanged(
    client: &Client,
    id: &WorkloadId,
    resource_version: &str,
) -> Result<DynamicObject, Error> {
    let request = Request::object("get", id.kind.resource(), &id.namespace, &id.name);
    let object = request.send(api(client, id).get(&id.name)).await?;
    if object.metadata.resource_version.as_deref() != Some(resource_version) {
        return Err(Error::Conflict { request });
    }
    Ok(object)
}

/// Resumes a Deployment that Reloader has paused, as Reloader does.
///
/// # Errors
/// [`Error::Conflict`] when it has changed since it was at `resource_version`, and whatever else the API server answers.
pub async fn resume(
    client: &Client,
    id: &WorkloadId,
    resource_version: &str,
    settings: &PolicySettings,
) -> Result<Workload, Error> {
    let request = Request::object("patch", id.kind.resource(), &id.namespace, &id.name);
    let patch = json!({
        "metadata": {
            "resourceVersion": resource_version,
            "annotations": { settings.keys.paused_at: null },
        },
        "spec": { "paused": false },
    });
    let sent = async {
        api(client, id)
            .patch(&id.name, &patch_as_us(), &Patch::Merge(patch))
            .await
    };
    let object = request.send(sent).await?;
    parsed(id, &object, request, settings)
}

fn patch(id: &WorkloadId, resource_version: &str, write: &Write) -> kube::Result<Patch<Value>> {
    let template = id.kind.template;
    let Some(NewStart::Variables(variables)) = &write.start else {
        return Ok(Patch::Merge(merge_patch(template, resource_version, write)));
    };
    let operations = variables_patch(template, resource_version, &write.observed, variables);
    let operations = json!(operations);
    let patch = serde_json::from_value(operations).map_err(kube::Error::SerdeError)?;
    Ok(Patch::Json(patch))
}

/// The API of the kind, in the workload's namespace.
pub(super) fn api(client: &Client, id: &WorkloadId) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), &id.namespace, &id.kind.api_resource())
}

fn parsed(
    id: &WorkloadId,
    object: &DynamicObject,
    request: Request,
    settings: &PolicySettings,
) -> Result<Workload, Error> {
    let what = "it has no name".to_owned();
    Workload::parse(id.kind, object, settings).ok_or(Error::Unreadable { request, what })
}

#[cfg(test)]
mod tests;
