//! What people are told about a restart, or that there was none, in Reloader's words where there is a changed source to name, so
//! that whoever parses them still can.

use crate::{
    cluster::{Error, error::chain, workload::WorkloadId},
    stamp::{reason::Reason, source::SourceName},
};

/// The message of the Event on the workload.
pub fn event(id: &WorkloadId, reason: Reason, changed: &[SourceName]) -> String {
    let (name, kind, namespace) = (&id.name, id.kind.kind, &id.namespace);
    let Some((source, source_type, more)) = sources(changed) else {
        let why = reason.sentence();
        return format!("Updated '{name}' of type '{kind}' in namespace '{namespace}': {why}");
    };
    format!(
        "Changes detected in '{source}' of type '{source_type}' in namespace '{namespace}', Updated '{name}' of \
         type '{kind}' in namespace '{namespace}'{more}"
    )
}

/// The message of the Event on a workload that could not be written.
pub fn failed(id: &WorkloadId, error: &Error) -> String {
    let (name, kind, namespace) = (&id.name, id.kind.kind, &id.namespace);
    let error = chain(error);
    format!(
        "Update for '{name}' of type '{kind}' in namespace '{namespace}' failed with error {error}"
    )
}

/// The alert; none if it is not a changed source that led to the restart.
pub fn alert(id: &WorkloadId, changed: &[SourceName]) -> Option<String> {
    let (name, kind, namespace) = (&id.name, id.kind.kind, &id.namespace);
    let (source, source_type, more) = sources(changed)?;
    Some(format!(
        "Reloader detected changes in *{source}* of type *{source_type}* in namespace *{namespace}*. Hence \
         reloaded *{name}* of type *{kind}* in namespace *{namespace}*{more}"
    ))
}

/// Name and type of the first source, and how many more there are: Reloader restarts for each one alone.
fn sources(changed: &[SourceName]) -> Option<(&str, &'static str, String)> {
    let (first, rest) = changed.split_first()?;
    let more = match rest.len() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some((&first.name, first.kind.type_string(), more))
}
