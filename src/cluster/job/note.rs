//! What is written down of Jobs that are to be made again, and what is done about it later.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams},
};
use tracing::{info, warn};

use super::make;
use crate::{
    cluster::{
        Error, as_us,
        error::{Request, chain},
        kind::Kinds,
        workload::{WorkloadId, api, id},
    },
    stamp::json::describe,
};

/// Marks the Secrets that hold Jobs which are to be made.
const LABEL: &str = "restamp.dev/recreates";
/// What their names begin with; the uid of the Job follows.
const PREFIX: &str = "restamp-job-";
/// Where in them the Job is.
const JOB: &str = "job.json";
/// A note about a Job that is still there may be about a deletion that is under way.
const GRACE: Duration = Duration::from_secs(120);

/// Makes what was written down and not made, but for the Jobs that `busy` names. Says how many are left.
///
/// # Errors
/// When what was written down cannot be listed.
pub async fn finish(
    client: &Client,
    own_namespace: &str,
    now: Timestamp,
    busy: impl Fn(&WorkloadId) -> bool,
) -> Result<usize, Error> {
    let request = Request {
        verb: "list",
        resource: "secrets".to_owned(),
        namespace: Some(own_namespace.to_owned()),
        name: None,
    };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), own_namespace);
    let params = ListParams::default().labels(LABEL);
    let mut left = 0;
    for secret in request.send(secrets.list(&params)).await?.items {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        let uid = name.strip_prefix(PREFIX).unwrap_or_default();
        let note = Note::of(client, own_namespace, uid);
        match note.finish(&secret, now, &busy).await {
            Ok(true) => {}
            Ok(false) => left += 1,
            Err(error) => {
                left += 1;
                warn!(note = name, error = %chain(&error), "a Job is not made again yet; trying again");
            }
        }
    }
    Ok(left)
}

/// A Secret that holds a Job which is to be made.
pub(super) struct Note<'a> {
    client: &'a Client,
    namespace: &'a str,
    /// Of the Job that it is about.
    uid: &'a str,
    name: String,
}

impl<'a> Note<'a> {
    /// The note about the Job of that uid.
    pub(super) fn of(client: &'a Client, namespace: &'a str, uid: &'a str) -> Self {
        Self {
            client,
            namespace,
            uid,
            name: format!("{PREFIX}{uid}"),
        }
    }

    fn api(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    /// Writes down what is to be made.
    pub(super) async fn write(&self, job: &DynamicObject) -> Result<(), Error> {
        let request = Request::object("create", "secrets", self.namespace, &self.name);
        let job = serde_json::to_vec(job).map_err(|error| Error::Unreadable {
            request: request.clone(),
            what: describe(&error),
        })?;
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(BTreeMap::from([(LABEL.to_owned(), "true".to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(JOB.to_owned(), ByteString(job))])),
            ..Secret::default()
        };
        match request.send(self.api().create(&as_us(), &secret)).await {
            Err(Error::AlreadyExists { .. }) => {
                self.remove().await?;
                request.send(self.api().create(&as_us(), &secret)).await?;
            }
            written => drop(written?),
        }
        Ok(())
    }

    /// Nothing is left to be made.
    pub(super) async fn remove(&self) -> Result<(), Error> {
        let request = Request::object("delete", "secrets", self.namespace, &self.name);
        let (secrets, params) = (self.api(), DeleteParams::default());
        match request.send(secrets.delete(&self.name, &params)).await {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes the Job if it is gone. True if nothing is left to do.
    async fn finish(
        &self,
        secret: &Secret,
        now: Timestamp,
        busy: impl Fn(&WorkloadId) -> bool,
    ) -> Result<bool, Error> {
        let request = Request::object("get", "secrets", self.namespace, &self.name);
        let unreadable = |what: String| Error::Unreadable {
            request: request.clone(),
            what,
        };
        let text = secret.data.as_ref().and_then(|data| data.get(JOB));
        let new: DynamicObject = serde_json::from_slice(text.map_or(&[][..], |text| &text.0))
            .map_err(|error| unreadable(describe(&error)))?;
        let kinds = Kinds::default();
        let kind = kinds.of("batch", "v1", "Job");
        let Some(job) = kind.and_then(|kind| id(kind, &new.metadata)) else {
            return Err(unreadable("it holds no Job".to_owned()));
        };
        if busy(&job) {
            return Ok(false);
        }
        let get = Request::object("get", job.kind.resource(), &job.namespace, &job.name);
        match get.send(api(self.client, &job).get(&job.name)).await {
            Ok(found) if found.metadata.uid.as_deref() == Some(self.uid) => {
                let is_going = found.metadata.deletion_timestamp.is_some();
                if is_going || is_younger_than_grace(secret, now) {
                    return Ok(false);
                }
            }
            Ok(_) => {}
            Err(Error::NotFound { .. }) => match make(self.client, &job, self.uid, &new).await {
                // With its namespace.
                Err(Error::NotFound { .. }) => {}
                made => {
                    made?;
                    info!(workload = %job, "made again: it had been deleted for that");
                }
            },
            Err(error) => return Err(error),
        }
        self.remove().await?;
        Ok(true)
    }
}

fn is_younger_than_grace(secret: &Secret, now: Timestamp) -> bool {
    let created = secret.metadata.creation_timestamp.as_ref();
    created.is_some_and(|created| now.duration_since(created.0).unsigned_abs() < GRACE)
}
