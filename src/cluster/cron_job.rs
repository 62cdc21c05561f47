//! CronJobs: what runs on a new content now is a Job made from the template, as Reloader makes it
//! (`internal/pkg/callbacks`), and as `kubectl create job --from` does.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, TypeMeta},
    core::GroupVersionKind,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Error, as_us,
    error::Request,
    workload::{WorkloadId, unchanged},
};
use crate::stamp::{annotations::STAMP, json::describe, stamp::Stamp};

/// What the CronJob controller and its tools know a Job by that nobody scheduled.
const MANUAL: (&str, &str) = ("cronjob.kubernetes.io/instantiate", "manual");

/// What of a CronJob matters here.
#[derive(Deserialize)]
struct CronJob {
    spec: CronJobSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CronJobSpec {
    #[serde(default)]
    suspend: Option<bool>,
    job_template: JobTemplate,
}

#[derive(Deserialize)]
struct JobTemplate {
    #[serde(default)]
    metadata: Option<JobMetadata>,
    /// Whole, since every version of Kubernetes has fields that we do not know.
    spec: Map<String, Value>,
}

#[derive(Default, Deserialize)]
struct JobMetadata {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Makes a Job with that stamp, unless there is one already: a stamp is made once for each change, so that a
/// process which dies in between does not run the Job again. A CronJob that is suspended runs nothing.
///
/// # Errors
/// [`Error::Conflict`] if the CronJob is no longer at `resource_version`, and whatever the API server answers.
pub async fn run_now(
    client: &Client,
    id: &WorkloadId,
    resource_version: &str,
    stamp: &Stamp,
) -> Result<(), Error> {
    let cron_job = unchanged(client, id, resource_version).await?;
    let DynamicObject { metadata, data, .. } = cron_job;
    let unreadable = |error: serde_json::Error| Error::Unreadable {
        request: Request::object("get", id.kind.resource(), &id.namespace, &id.name),
        what: describe(&error),
    };
    let CronJob { spec } = serde_json::from_value(data).map_err(unreadable)?;
    if spec.suspend == Some(true) {
        return Ok(());
    }
    create(client, id, job(&metadata, spec.job_template, stamp)).await
}

async fn create(client: &Client, id: &WorkloadId, job: DynamicObject) -> Result<(), Error> {
    let name = job.metadata.name.clone().unwrap_or_default();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("batch", "v1", "Job"));
    let jobs: Api<DynamicObject> = Api::namespaced_with(client.clone(), &id.namespace, &resource);
    let request = Request::object("create", "jobs.batch", &id.namespace, &name);
    match request.send(jobs.create(&as_us(), &job)).await {
        Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The Job of a CronJob, with that stamp.
fn job(cron_job: &ObjectMeta, template: JobTemplate, stamp: &Stamp) -> DynamicObject {
    let name = cron_job.name.clone().unwrap_or_default();
    let JobTemplate { metadata, mut spec } = template;
    let JobMetadata {
        annotations,
        labels,
    } = metadata.unwrap_or_default();
    let (key, value) = MANUAL;
    let mut manual = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    manual.extend(annotations.unwrap_or_default());
    let pod = member(&mut spec, "template").and_then(|template| member(template, "metadata"));
    if let Some(annotations) = pod.and_then(|metadata| member(metadata, "annotations")) {
        annotations.insert(STAMP.to_owned(), json!(stamp.to_string()));
    }
    DynamicObject {
        types: Some(TypeMeta {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
        }),
        metadata: ObjectMeta {
            name: Some(format!("{name}-{}", suffix(stamp))),
            annotations: Some(manual),
            labels,
            owner_references: Some(vec![OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "CronJob".to_owned(),
                name,
                uid: cron_job.uid.clone().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        data: json!({ "spec": spec }),
    }
}

/// A stamp in few characters: a Job's name has 63 at most, a CronJob's 52.
fn suffix(stamp: &Stamp) -> String {
    let digest: String = stamp.digest.to_string().chars().take(5).collect();
    format!("{digest}{:x}", stamp.n % 0x000f_ffff)
}

/// A member that is an object; made if it is absent or null.
fn member<'a>(
    object: &'a mut Map<String, Value>,
    field: &str,
) -> Option<&'a mut Map<String, Value>> {
    let value = object.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(n: u64) -> Stamp {
        format!("v1.abcdef01.00112233445566778899aabbccddeeff.{n}")
            .parse()
            .unwrap()
    }

    #[test]
    fn a_job_is_the_template_of_its_cron_job_and_says_so() {
        let template = json!({
            "metadata": { "labels": { "a": "b" }, "annotations": { "c": "d", MANUAL.0: "mine" } },
            "spec": { "backoffLimit": 2, "template": {
                "metadata": { "annotations": null }, "spec": { "containers": [], "new": 1 },
            }},
        });
        let metadata = json!({ "name": "report", "namespace": "shop", "uid": "u" });
        let metadata = serde_json::from_value(metadata).unwrap();
        let job = job(
            &metadata,
            serde_json::from_value(template).unwrap(),
            &stamp(3),
        );
        let job = serde_json::to_value(job).unwrap();
        assert_eq!(
            job["metadata"]["annotations"],
            json!({ "c": "d", MANUAL.0: "mine" })
        );
        assert_eq!(job["metadata"]["labels"], json!({ "a": "b" }));
        let owner = &job["metadata"]["ownerReferences"][0];
        assert_eq!(
            (&owner["name"], &owner["uid"], &owner["controller"]),
            (&json!("report"), &json!("u"), &json!(true))
        );
        assert_eq!(job["spec"]["backoffLimit"], 2);
        assert_eq!(
            job["spec"]["template"]["spec"],
            json!({ "containers": [], "new": 1 })
        );
        let annotations = &job["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(*annotations, json!({ STAMP: stamp(3).to_string() }));
    }

    #[test]
    fn a_name_tells_stamps_apart_and_is_short() {
        assert_ne!(suffix(&stamp(1)), suffix(&stamp(2)));
        assert!(52 + "-".len() + suffix(&stamp(u64::MAX)).len() <= 63);
    }
}
