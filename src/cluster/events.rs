//! Kubernetes Events on workloads: the core/v1 API, as Reloader uses it, so that its dashboards and
//! rights keep working.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Api, Client};

use super::{Error, FIELD_MANAGER, as_us, error::Request, workload::Workload};

/// The longest message that the API server takes is 1024 bytes.
const MAX_MESSAGE: usize = 1000;

/// Why an Event is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventReason {
    /// The workload was restamped. Reloader's name for it.
    Reloaded,
    /// The workload could not be restamped. Reloader's name for it.
    ReloadFail,
    /// The workload was resumed, which Reloader had left paused.
    Resumed,
    /// A writer keeps undoing what Restamp writes.
    Fighting,
    /// Something in the workload's annotations cannot be followed.
    InvalidAnnotation,
}

impl EventReason {
    /// The reason and the type, as the API has them.
    fn as_strs(self) -> (&'static str, &'static str) {
        match self {
            EventReason::Reloaded => ("Reloaded", "Normal"),
            EventReason::ReloadFail => ("ReloadFail", "Warning"),
            EventReason::Resumed => ("Resumed", "Normal"),
            EventReason::Fighting => ("Fighting", "Warning"),
            EventReason::InvalidAnnotation => ("InvalidAnnotation", "Warning"),
        }
    }
}

/// Publishes an Event on a workload, in its namespace.
///
/// # Errors
/// When the API server does not take it.
pub async fn publish(
    client: &Client,
    workload: &Workload,
    reason: EventReason,
    message: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let namespace = &*workload.id.namespace;
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let request = Request {
        verb: "create",
        resource: "events".to_owned(),
        namespace: Some(namespace.to_owned()),
        name: None,
    };
    let event = event(workload, reason, message, now);
    request.send(api.create(&as_us(), &event)).await.map(drop)
}

fn event(workload: &Workload, reason: EventReason, message: &str, now: Timestamp) -> Event {
    let id = &workload.id;
    let (reason, type_) = reason.as_strs();
    // Leaves room for what the API server adds to make the name unique.
    let prefix: String = id.name.chars().take(200).collect();
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{prefix}.")),
            namespace: Some(id.namespace.to_string()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(format!("{}/{}", id.kind.group, id.kind.version)),
            kind: Some(id.kind.kind.to_owned()),
            name: Some(id.name.to_string()),
            namespace: Some(id.namespace.to_string()),
            uid: Some(workload.uid.to_string()),
            resource_version: Some(workload.resource_version.to_string()),
            ..ObjectReference::default()
        },
        reason: Some(reason.to_owned()),
        type_: Some(type_.to_owned()),
        message: Some(message.chars().take(MAX_MESSAGE).collect()),
        source: Some(EventSource {
            component: Some(FIELD_MANAGER.to_owned()),
            host: None,
        }),
        reporting_component: Some(FIELD_MANAGER.to_owned()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    }
}
