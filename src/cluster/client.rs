//! The way to the API server, found like kubectl finds it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header::CONNECTION};
use http_body_util::{BodyExt, Collected, Either, Full};
use hyper::body::Body;
use kube::{
    Client, Config, client::ClientBuilder, config::InferConfigError, core::Status as Refusal,
};
use tokio::time::Instant;
use tower::{Service, layer::layer_fn, util::MapRequestLayer};

use super::{error::lacks_right, right::Right};
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
    /// The right that was missing for it.
    pub missing: Option<&'a Right>,
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
    S::Error: Send,
    R: Body<Data = Bytes> + Send,
{
    type Response = Response<Seen<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (method, began) = (request.method().clone(), Instant::now());
        let right = Right::of(&method, request.uri());
        let (host, observer) = (self.host.clone(), self.observer.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let took = began.elapsed();
            let (answer, is_missing) = match answer {
                Ok(answer) => {
                    let (answer, is_missing) = look_into(answer).await;
                    (Ok(answer), is_missing)
                }
                Err(error) => (Err(error), false),
            };
            observer(&Ended {
                method: &method,
                host: &host,
                status: answer.as_ref().ok().map(|it| it.status().as_u16()),
                took,
                missing: right.as_ref().filter(|_| is_missing),
            });
            answer
        })
    }
}

/// The body of an answer, as it comes, or as it was read.
type Seen<R> = Either<R, Full<Bytes>>;

/// Whether an answer says that a right is missing, for which it has to be read.
async fn look_into<R: Body<Data = Bytes>>(answer: Response<R>) -> (Response<Seen<R>>, bool) {
    let (parts, body) = answer.into_parts();
    if parts.status != StatusCode::FORBIDDEN {
        return (Response::from_parts(parts, Either::Left(body)), false);
    }
    // What breaks off says as little as what is no status at all.
    let text = body.collect().await.map(Collected::to_bytes);
    let text = text.unwrap_or_default();
    let refusal = serde_json::from_slice::<Refusal>(&text);
    let is_missing = refusal.map_or(true, |refusal| lacks_right(&refusal));
    let answer = Response::from_parts(parts, Either::Right(Full::new(text)));
    (answer, is_missing)
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

    async fn missing(status: u16, text: &'static str) -> Option<Right> {
        let (seen, tells) = std::sync::mpsc::channel();
        let observer: Observer = Arc::new(move |ended: &Ended<'_>| {
            seen.send(ended.missing.cloned()).unwrap();
        });
        let inner = tower::service_fn(move |_| async move {
            let answer = Response::builder().status(status);
            answer.body(Full::new(Bytes::from_static(text.as_bytes())))
        });
        let mut observed = Observed {
            inner,
            host: "".into(),
            observer,
        };
        let request = Request::get("/api/v1/namespaces/shop/secrets/db").body(());
        let answer = observed.call(request.unwrap()).await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, text, "it can still be read");
        tells.recv().unwrap()
    }

    #[tokio::test]
    async fn a_right_is_missing_where_the_api_server_says_so() {
        let right = Right::of(&Method::GET, &Uri::from_static("/api/v1/secrets/db"));
        let rbac = r#"{"kind":"Status","reason":"Forbidden","code":403,"message":"secrets \"db\" is forbidden: User \"x\" cannot get"}"#;
        assert_eq!(missing(403, rbac).await, right);
        assert_eq!(missing(403, "<html>").await, right);
        assert_eq!(missing(404, rbac).await, None);
        let quota = r#"{"kind":"Status","reason":"Forbidden","code":403,"message":"jobs.batch \"j\" is forbidden: exceeded quota: few"}"#;
        assert_eq!(missing(403, quota).await, None);
        let policy = r#"{"kind":"Status","reason":"Forbidden","code":403,"message":"deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"}"#;
        assert_eq!(missing(403, policy).await, None);
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
