//! The way to the API server, found like kubectl finds it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, Uri, header::CONNECTION};
use kube::{Client, Config, client::ClientBuilder, config::InferConfigError};
use tokio::time::Instant;
use tower::{Service, layer::layer_fn, util::MapRequestLayer};

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

/// How a request went.
#[derive(Clone, Debug)]
pub struct Ended<'a> {
    /// HTTP.
    pub method: &'a Method,
    /// Host and port of the API server.
    pub host: &'a str,
    /// HTTP; nothing if there was no answer.
    pub status: Option<u16>,
    /// How long until the answer began.
    pub took: Duration,
}

/// Who is told about each request.
pub type Observer = Arc<dyn Fn(&Ended<'_>) + Send + Sync>;

/// Reads the configuration; talks to nobody yet. `observer` is told about each request.
///
/// # Errors
/// When there is none, or it cannot be used.
pub async fn connect(observer: Observer) -> Result<Client, ConnectError> {
    let mut config = Config::infer().await.map_err(ConnectError::NoConfig)?;
    // Whether to try again is decided where the reason for the request is known.
    config.default_retry = false;
    let host: Arc<str> = host(&config.cluster_url).into();
    let builder = ClientBuilder::try_from(config).map_err(ConnectError::BadConfig)?;
    let observed = layer_fn(|inner| Observed {
        inner,
        host: host.clone(),
        observer: observer.clone(),
    });
    Ok(builder
        .with_layer(&MapRequestLayer::new(end_connection_after))
        .with_layer(&observed)
        .build())
}

fn host(url: &Uri) -> String {
    let port = url.port_u16().unwrap_or(match url.scheme_str() {
        Some("http") => 80,
        _ => 443,
    });
    format!("{}:{port}", url.host().unwrap_or_default())
}

/// Tells about each request.
#[derive(Clone)]
struct Observed<S> {
    inner: S,
    host: Arc<str>,
    observer: Observer,
}

impl<S, B, R> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (method, began) = (request.method().clone(), Instant::now());
        let (host, observer) = (self.host.clone(), self.observer.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            observer(&Ended {
                method: &method,
                host: &host,
                status: answer.as_ref().ok().map(|it| it.status().as_u16()),
                took: began.elapsed(),
            });
            answer
        })
    }
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
    fn an_api_server_is_called_by_host_and_port() {
        let called = |url: &'static str| host(&Uri::from_static(url));
        assert_eq!(called("https://10.0.0.1"), "10.0.0.1:443");
        assert_eq!(called("https://[::1]:6443/k8s"), "[::1]:6443");
        assert_eq!(called("http://localhost"), "localhost:80");
    }

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
