//! The way to the API server, found like kubectl finds it.

use kube::{Client, Config, config::InferConfigError};

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
    Client::try_from(config).map_err(ConnectError::BadConfig)
}
