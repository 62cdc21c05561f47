//! Admission reviews: from bytes, and back to bytes. Of the objects in them nothing is read here.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    cluster::kind::{Kinds, WorkloadKind},
    stamp::{admission::Verdict, json},
};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// What is wrong with a request that is no admission review.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There is nothing.
    #[error("the request has no body; an {KIND} of {API_VERSION} belongs there")]
    Empty,
    /// The JSON is broken, or another one.
    #[error("the request is no {KIND}: {0}")]
    Malformed(String),
    /// It is something else.
    #[error("this is a {kind:?} of {api_version:?}; only an {KIND} of {API_VERSION} is understood")]
    Other {
        /// What it says it is.
        kind: String,
        /// Of which version.
        api_version: String,
    },
    /// There is nothing to review.
    #[error("the {KIND} has no request")]
    NoRequest,
}

/// What the API server asks about.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review<'a> {
    /// Identifies the question in the answer.
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    #[serde(borrow)]
    kind: Gvk<'a>,
    /// Of the object; the object itself may not have it yet.
    #[serde(borrow, default)]
    pub namespace: Cow<'a, str>,
    /// Of the object; empty if the API server is yet to make one up.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// `CREATE`, `UPDATE`, ...
    #[serde(borrow)]
    pub operation: Cow<'a, str>,
    #[serde(borrow, default)]
    options: Option<Options<'a>>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old_object: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Gvk<'a> {
    #[serde(borrow, default)]
    group: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options<'a> {
    #[serde(borrow, default)]
    field_manager: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(borrow, default)]
    request: Option<&'a RawValue>,
}

impl<'a> Review<'a> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// When it is not an admission review of the one version that is understood.
    pub fn parse(body: &'a [u8]) -> Result<Self, ReviewError> {
        if body.is_empty() {
            return Err(ReviewError::Empty);
        }
        let malformed = |error: serde_json::Error| ReviewError::Malformed(json::describe(&error));
        let envelope: Envelope<'a> = serde_json::from_slice(body).map_err(malformed)?;
        let Envelope {
            api_version, kind, ..
        } = envelope;
        if (api_version.as_str(), kind.as_str()) != (API_VERSION, KIND) {
            return Err(ReviewError::Other { kind, api_version });
        }
        let request = envelope.request.ok_or(ReviewError::NoRequest)?;
        serde_json::from_str(request.get()).map_err(malformed)
    }

    /// What kind of workload it is about; nothing if of none of these.
    pub fn workload_kind(&self, kinds: &Kinds) -> Option<&'static WorkloadKind> {
        kinds.of(&self.kind.group, &self.kind.version, &self.kind.kind)
    }

    /// The name under which the writer manages fields; empty if it gave none.
    pub fn field_manager(&self) -> &str {
        self.options
            .as_ref()
            .map_or("", |options| &*options.field_manager)
    }

    /// The object as JSON.
    pub fn object(&self) -> Option<&'a str> {
        self.object.map(RawValue::get)
    }

    /// The object that is stored, as JSON.
    pub fn old_object(&self) -> Option<&'a str> {
        self.old_object.map(RawValue::get)
    }

    /// The answer, which allows whatever is asked. `subject` is what warnings are about.
    pub fn answer(&self, subject: &str, verdict: &Verdict) -> serde_json::Result<Vec<u8>> {
        let patch = match verdict.patch.as_slice() {
            [] => None,
            operations => Some(STANDARD.encode(serde_json::to_vec(operations)?)),
        };
        let warnings = verdict.warnings.iter();
        serde_json::to_vec(&Answered {
            api_version: API_VERSION,
            kind: KIND,
            response: Response {
                uid: &self.uid,
                allowed: true,
                patch_type: patch.is_some().then_some("JSONPatch"),
                patch,
                warnings: warnings
                    .map(|warning| format!("{subject}: {warning}"))
                    .collect(),
            },
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}
