//! The way to the API server, found like kubectl finds it.

use http::{HeaderValue, Request, header::CONNECTION};
use kube::{Client, Config, client::ClientBuilder, config::InferConfigError};
use tower::util::MapRequestLayer;

use crate::stamp::source::SourceKind;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a pod's service account.
    #[error("found no cluster to talk to: set KUBECONFIG, or run in a pod with a service account")]
    NoConfig(#[source] InferConfigError),
    /// A kubeconfig that cannot be used.
    #[error("cannot use the cluster configuration (KUBECONFIG or the pod's service account)")]
    BadConfig(#[source] kube::Error),
}

/// Reads the configuration; talks to nobody yet.
///
/// # Errors
/// When there is none, or it cannot be used.
pub async fn connect() -> Result<Client, ConnectError> {
    let mut config = Config::infer().await.map_err(ConnectError::NoConfig)?;
    // Whether to try again is decided where the reason for the request is known.
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).map_err(ConnectError::BadConfig)?;
    Ok(builder
        .with_layer(&MapRequestLayer::new(end_connection_after))
        .build())
}

/// Ends the connection with the answer, where that is about all sources: metadata of those that nobody uses comes
/// along, whose annotations may hold payloads, and what stays behind in buffers is wiped only with them.
fn end_connection_after<B>(mut request: Request<B>) -> Request<B> {
    let path = request.uri().path();
    let of_all = |kind: SourceKind| path.rsplit('/').next() == Some(kind.plural());
    if SourceKind::ALL.into_iter().any(of_all) {
        let close = HeaderValue::from_static("close");
        request.headers_mut().insert(CONNECTION, close);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_about_all_sources_end_their_connection() {
        let ends = |uri: &str| {
            let request = Request::get(uri).body(()).unwrap();
            end_connection_after(request)
                .headers()
                .contains_key(CONNECTION)
        };
        assert!(ends("/api/v1/secrets?watch=true"));
        assert!(ends("/api/v1/namespaces/shop/configmaps?limit=100"));
        assert!(!ends("/api/v1/namespaces/shop/secrets/secrets-of-web"));
        assert!(!ends("/apis/apps/v1/deployments?watch=true"));
    }
}
