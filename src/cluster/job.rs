//! Jobs: their pod template cannot be changed, so one that is to start anew is deleted and made again, as Reloader does
//! (`internal/pkg/callbacks`). So that none is lost when the process dies in between, or the API server refuses the new
//! one, what is to be made is written down first, in a Secret of our own namespace.

mod note;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Client,
    api::{DeleteParams, DynamicObject, PostParams, Preconditions},
};
use note::Note;
pub use note::finish;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Error, as_us,
    error::Request,
    workload::{WorkloadId, api, unchanged},
};
use crate::stamp::annotations::OBSERVED;

/// How long a Job that is deleted is waited for; after that it is made whenever it is gone.
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LAST_LOOK: Duration = Duration::from_secs(2);

/// What the API server adds to a Job that it makes, and takes from none.
const CONTROLLER_LABELS: [&str; 4] = [
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
];
/// Finalizers that the deletion adds.
const OF_DELETION: [&str; 2] = ["foregroundDeletion", "orphan"];

/// Deletes the Job as it is at `resource_version`, and makes it again with that `observed`.
///
/// # Errors
/// [`Error::Conflict`] when it has changed since, and whatever else the API server answers. Nothing is deleted that could
/// not be made again; what is deleted already is made by [`finish`] later.
pub async fn recreate(
    client: &Client,
    own_namespace: &str,
    job: &WorkloadId,
    resource_version: &str,
    observed: &str,
) -> Result<DynamicObject, Error> {
    let old = unchanged(client, job, resource_version).await?;
    let uid = old.metadata.uid.clone().unwrap_or_default();
    let new = replacement(old, observed);
    try_out(client, job, &new).await?;
    let note = Note::of(client, own_namespace, &uid);
    note.write(&new).await?;
    if let Err(error) = delete(client, job, &uid, resource_version).await {
        if had_no_effect(&error) {
            note.remove().await?;
        }
        return Err(error);
    }
    let made = make_once_gone(client, job, &uid, &new).await?;
    note.remove().await?;
    Ok(made)
}

/// Whether the API server said that it did nothing. Whoever says that something went wrong may have done it.
fn had_no_effect(error: &Error) -> bool {
    match error {
        Error::Conflict { .. } | Error::NotFound { .. } | Error::Forbidden { .. } => true,
        Error::Refused { code, .. } => (400..500).contains(code),
        _ => false,
    }
}

/// Asks the API server, without effect, whether it would take the new Job: under another name, since the old one is there.
async fn try_out(client: &Client, job: &WorkloadId, new: &DynamicObject) -> Result<(), Error> {
    let request = Request::object("create", job.kind.resource(), &job.namespace, &job.name);
    let mut new = new.clone();
    let prefix: String = job.name.chars().take(50).collect();
    new.metadata.name = None;
    new.metadata.generate_name = Some(format!("{prefix}-"));
    let params = PostParams {
        dry_run: true,
        ..as_us()
    };
    match request.send(api(client, job).create(&params, &new)).await {
        // That of the old one counts until it is deleted.
        Err(Error::Refused { message, .. }) if message.contains("exceeded quota") => Ok(()),
        tried => tried.map(drop),
    }
}

async fn delete(
    client: &Client,
    job: &WorkloadId,
    uid: &str,
    resource_version: &str,
) -> Result<(), Error> {
    let request = Request::object("delete", job.kind.resource(), &job.namespace, &job.name);
    let params = DeleteParams::background().preconditions(Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: Some(resource_version.to_owned()),
    });
    request
        .send(api(client, job).delete(&job.name, &params))
        .await?;
    Ok(())
}

/// Makes the new Job as soon as the old one is gone: a finalizer may keep it.
async fn make_once_gone(
    client: &Client,
    job: &WorkloadId,
    uid: &str,
    new: &DynamicObject,
) -> Result<DynamicObject, Error> {
    let (deadline, mut pause) = (Instant::now() + PATIENCE, FIRST_LOOK);
    loop {
        match make(client, job, uid, new).await {
            Err(Error::AlreadyExists { .. }) if Instant::now() < deadline => {}
            made => return made,
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_LOOK);
    }
}

/// Makes the new Job. One that somebody else has made meanwhile is as good.
///
/// # Errors
/// [`Error::AlreadyExists`] while the old one is there.
async fn make(
    client: &Client,
    job: &WorkloadId,
    uid: &str,
    new: &DynamicObject,
) -> Result<DynamicObject, Error> {
    let request = Request::object("create", job.kind.resource(), &job.namespace, &job.name);
    let exists = match request.send(api(client, job).create(&as_us(), new)).await {
        Err(error @ Error::AlreadyExists { .. }) => error,
        made => return made,
    };
    let request = Request::object("get", job.kind.resource(), &job.namespace, &job.name);
    match request.send(api(client, job).get(&job.name)).await {
        Ok(found) if found.metadata.uid.as_deref() != Some(uid) => Ok(found),
        _ => Err(exists),
    }
}

/// The Job, to be made again with that `observed`.
fn replacement(old: DynamicObject, observed: &str) -> DynamicObject {
    let DynamicObject {
        types,
        mut metadata,
        mut data,
    } = old;
    let is_manual = data.pointer("/spec/manualSelector") == Some(&json!(true));
    if let Some(fields) = data.as_object_mut() {
        fields.remove("status");
    }
    let mut annotations = metadata.annotations.take().unwrap_or_default();
    annotations.insert(OBSERVED.to_owned(), observed.to_owned());
    let mut labels = metadata.labels.take().unwrap_or_default();
    if !is_manual {
        if let Some(Value::Object(spec)) = data.get_mut("spec") {
            spec.remove("selector");
        }
        if let Some(Value::Object(labels)) = data.pointer_mut("/spec/template/metadata/labels") {
            labels.retain(|key, _| !CONTROLLER_LABELS.contains(&key.as_str()));
        }
        labels.retain(|key, _| !CONTROLLER_LABELS.contains(&key.as_str()));
    }
    let mut finalizers = metadata.finalizers.take().unwrap_or_default();
    finalizers.retain(|finalizer| !OF_DELETION.contains(&finalizer.as_str()));
    DynamicObject {
        types,
        metadata: ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: metadata.owner_references,
            finalizers: Some(finalizers),
            ..ObjectMeta::default()
        },
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn job(manual: bool) -> Value {
        let labels =
            json!({ "app": "a", "controller-uid": "u", "batch.kubernetes.io/job-name": "j" });
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": "j", "namespace": "shop", "generateName": "j-", "uid": "u", "resourceVersion": "7", "generation": 2,
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels, "annotations": { "a": "b" },
                "finalizers": ["example.com/wait", "foregroundDeletion"],
                "managedFields": [{ "manager": "kubectl" }],
            },
            "spec": {
                "manualSelector": manual, "backoffLimit": 2, "suspend": false,
                "selector": { "matchLabels": { "controller-uid": "u" } },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [], "new": 1 } },
            },
            "status": { "active": 1 },
        })
    }

    #[test]
    fn a_job_is_made_again_as_its_author_wrote_it() {
        let new = serde_json::to_value(replacement(object(job(false)), "o")).unwrap();
        assert_eq!(
            new,
            json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": {
                    "name": "j", "namespace": "shop", "labels": { "app": "a" },
                    "annotations": { "a": "b", OBSERVED: "o" }, "finalizers": ["example.com/wait"],
                },
                "spec": {
                    "manualSelector": false, "backoffLimit": 2, "suspend": false,
                    "template": { "metadata": { "labels": { "app": "a" } }, "spec": { "containers": [], "new": 1 } },
                },
            })
        );
    }

    #[test]
    fn a_deletion_that_may_have_happened_is_not_taken_for_none() {
        let request = Request::object("delete", "jobs.batch", "shop", "j");
        let refused = |code| Error::Refused {
            request: request.clone(),
            code,
            message: String::new(),
        };
        let conflict = Error::Conflict {
            request: request.clone(),
        };
        assert!(had_no_effect(&conflict) && had_no_effect(&refused(422)));
        let no_answer = Error::NoAnswer {
            request: request.clone(),
        };
        for unsure in [refused(500), refused(504), no_answer] {
            assert!(!had_no_effect(&unsure), "{unsure}");
        }
    }

    #[test]
    fn a_selector_that_its_author_wrote_stays() {
        let new = replacement(object(job(true)), "o");
        let old = object(job(true));
        assert_eq!(new.data["spec"], old.data["spec"]);
        assert_eq!(new.metadata.labels, old.metadata.labels);
    }
}
