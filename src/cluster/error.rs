//! What can go wrong between us and the API server, told apart by what one does about it.

use std::{fmt, future::Future, time::Duration};

use kube::core::Status;

/// No request waits longer for its answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A request, in the words of RBAC, so that an error can name the right that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `get`, `patch`, ...
    pub verb: &'static str,
    /// Plural, with the API group unless it is the core group.
    pub resource: String,
    /// The namespace; nothing for the whole cluster, and for an object that is in none.
    pub namespace: Option<String>,
    /// The object, where there is one.
    pub name: Option<String>,
}

impl Request {
    /// A request for one object.
    pub fn object(
        verb: &'static str,
        resource: impl Into<String>,
        namespace: &str,
        name: &str,
    ) -> Self {
        Self {
            verb,
            resource: resource.into(),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
        }
    }

    /// Sends it, and gives up after [`REQUEST_TIMEOUT`].
    ///
    /// # Errors
    /// What the API server, or the way to it, answered.
    pub async fn send<T>(&self, sent: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        match tokio::time::timeout(REQUEST_TIMEOUT, sent).await {
            Ok(answer) => answer.map_err(|error| self.failed(error)),
            Err(_) => Err(Error::NoAnswer {
                request: self.clone(),
            }),
        }
    }

    /// Sorts the client's error.
    pub fn failed(&self, error: kube::Error) -> Error {
        let request = self.clone();
        match error {
            kube::Error::Api(status)
                if is_terminating(&status) || names_what_is_missing(&status) =>
            {
                Error::NotFound { request }
            }
            kube::Error::Api(status) if status.is_already_exists() => {
                Error::AlreadyExists { request }
            }
            kube::Error::Api(status) if status.is_conflict() => Error::Conflict { request },
            kube::Error::Api(status) if lacks_right(&status) => Error::Forbidden {
                request,
                message: status.message,
            },
            kube::Error::SerdeError(error) => Error::Unreadable {
                request,
                what: crate::stamp::json::describe(&error),
            },
            kube::Error::Api(status) => Error::Refused {
                request,
                code: status.code,
                message: status.message,
            },
            error => Error::Failed {
                request,
                source: Box::new(error),
            },
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace:?}"),
            None if self.name.is_some() => Ok(()),
            None => write!(f, " in all namespaces"),
        }
    }
}

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A right is missing.
    #[error("may not {request}: grant this right in a Role or ClusterRole ({message})")]
    Forbidden {
        /// What was asked.
        request: Request,
        /// What the API server said.
        message: String,
    },
    /// The object, or its namespace, is gone.
    #[error("cannot {request}: it does not exist")]
    NotFound {
        /// What was asked.
        request: Request,
    },
    /// Somebody made the object first.
    #[error("cannot {request}: it exists already")]
    AlreadyExists {
        /// What was asked.
        request: Request,
    },
    /// Somebody changed the object first.
    #[error("cannot {request}: it was changed meanwhile")]
    Conflict {
        /// What was asked.
        request: Request,
    },
    /// Whether the request took effect is unknown.
    #[error("cannot {request}: no answer within {REQUEST_TIMEOUT:?}")]
    NoAnswer {
        /// What was asked.
        request: Request,
    },
    /// The answer is not what the API promises. The text says where, without quoting it.
    #[error("cannot {request}: the answer cannot be read: {what}")]
    Unreadable {
        /// What was asked.
        request: Request,
        /// What is wrong with the answer.
        what: String,
    },
    /// The API server said no, for another reason than those above.
    #[error("cannot {request}: {message} ({code})")]
    Refused {
        /// What was asked.
        request: Request,
        /// The HTTP status.
        code: u16,
        /// What the API server said.
        message: String,
    },
    /// The API server could not be asked.
    #[error("cannot {request}")]
    Failed {
        /// What was asked.
        request: Request,
        /// The cause.
        source: Box<kube::Error>,
    },
}

impl Error {
    /// For answers in which something is missing: what a right is wanted for, or the whole error.
    pub fn in_short(&self) -> String {
        match self {
            Error::Forbidden { request, .. } => format!("forbidden (may not {request})"),
            error => chain(error),
        }
    }

    /// The label of metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Forbidden { .. } => "forbidden",
            Error::NotFound { .. } => "not_found",
            Error::AlreadyExists { .. } => "already_exists",
            Error::Conflict { .. } => "conflict",
            Error::NoAnswer { .. } => "no_answer",
            Error::Unreadable { .. } => "unreadable",
            Error::Refused { .. } => "refused",
            Error::Failed { .. } => "failed",
        }
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // The client repeats causes in its own messages.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// An API server that has just started answers 404 for kinds that it does not serve yet, too.
fn names_what_is_missing(status: &Status) -> bool {
    let named = status
        .details
        .as_ref()
        .is_some_and(|details| !details.name.is_empty());
    status.is_not_found() && named
}

/// Whether the API server says no for want of a right. Admission forbids things to those who have every right, too.
pub(super) fn lacks_right(status: &Status) -> bool {
    // Of quotas, webhooks, and ValidatingAdmissionPolicies.
    const OF_ADMISSION: [&str; 3] = ["exceeded quota", "denied the request", "denied request"];
    let is_of_admission = OF_ADMISSION
        .iter()
        .any(|words| status.message.contains(words));
    status.is_forbidden() && !is_terminating(status) && !is_of_admission
}

fn is_terminating(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.is_forbidden()
        && causes
            .into_iter()
            .any(|cause| cause.reason == "NamespaceTerminating")
}
