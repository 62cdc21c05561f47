//! An HTTPS server for few clients that matter: HTTP/1.1 and HTTP/2, with limits on everything that a
//! client could drag out, and an end that drops no request.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, Version, header::CONNECTION},
    middleware::{self, Next},
    response::Response,
};
use hyper::service::{Service, service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use rustls::{ServerConfig, server::ResolvesServerCert};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Connections at once. The API servers of a cluster need a few each.
const MAX_CONNECTIONS: usize = 512;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a new connection may take to send the head of its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// How long an idle connection is kept, and how long the head of a later request may take. Go's HTTP client
/// keeps idle connections for 90 s; a server that closes them earlier loses requests.
const IDLE: Duration = Duration::from_secs(120);
/// How often an HTTP/2 connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);
/// How long new connections are still served after the order to stop: endpoints take a while to vanish.
pub const LAME_DUCK: Duration = Duration::from_secs(5);
/// How long requests that are under way then may take.
const DRAIN: Duration = Duration::from_secs(5);
/// The pause after a connection could not be accepted, which is when there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What a TLS server offers: TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2.
///
/// # Errors
/// When the cryptography does not support that, which a test rules out.
pub fn tls(certificate: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Serves `router` until `shutdown`, and then until all requests have been answered.
pub async fn serve(
    listener: TcpListener,
    tls: ServerConfig,
    router: Router,
    shutdown: CancellationToken,
) {
    let server = Server {
        acceptor: TlsAcceptor::from(Arc::new(tls)),
        router: router.layer(middleware::from_fn_with_state(
            shutdown.clone(),
            say_goodbye,
        )),
        permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        graceful: GracefulShutdown::new(),
    };
    let stop = async {
        shutdown.cancelled().await;
        sleep(LAME_DUCK).await;
    };
    tokio::select! {
        biased;
        () = stop => {}
        () = server.accept(&listener) => {}
    }
    drop(listener);
    if timeout(DRAIN, server.graceful.shutdown()).await.is_err() {
        warn!("some requests were not answered in time");
    }
}

struct Server {
    acceptor: TlsAcceptor,
    router: Router,
    permits: Arc<Semaphore>,
    graceful: GracefulShutdown,
}

impl Server {
    async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                // Closed at once, rather than left to wait: whoever calls can go on without us.
                Ok((stream, _)) => match self.permits.clone().try_acquire_owned() {
                    Ok(permit) => {
                        at_once(&stream);
                        self.connect(stream, permit);
                    }
                    Err(_) => debug!("refused a connection: there are too many"),
                },
                Err(error) => {
                    warn!(error = %error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn connect(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        permit: OwnedSemaphorePermit,
    ) {
        let (acceptor, router) = (self.acceptor.clone(), self.router.clone());
        let watcher = self.graceful.watcher();
        tokio::spawn(async move {
            let _permit = permit;
            let started = Arc::new(AtomicBool::new(false));
            let connection = async {
                let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
                let service = TowerToHyperService::new(router);
                let noting = started.clone();
                let service = service_fn(move |request| {
                    noting.store(true, Ordering::Relaxed);
                    service.call(request)
                });
                let builder = builder();
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                watcher
                    .watch(connection.into_owned())
                    .await
                    .map_err(io::Error::other)
            };
            if let Err(error) = unless_silent(connection, &started).await {
                debug!(error = %error, "a connection broke");
            }
        });
    }
}

/// Otherwise an answer may wait 40 ms for the client to acknowledge the frame before it.
fn at_once(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(error = %error, "a connection cannot be told not to wait");
    }
}

/// Gives up on a connection that does not come to its first request.
async fn unless_silent(
    connection: impl Future<Output = io::Result<()>>,
    started: &AtomicBool,
) -> io::Result<()> {
    tokio::pin!(connection);
    tokio::select! {
        biased;
        ended = &mut connection => return ended,
        () = sleep(FIRST_REQUEST) => {}
    }
    if started.load(Ordering::Relaxed) {
        connection.await
    } else {
        Err(io::ErrorKind::TimedOut.into())
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .max_concurrent_streams(MAX_STREAMS);
    builder
}

/// Has HTTP/1.1 clients open their next connection elsewhere once the end has come.
async fn say_goodbye(
    axum::extract::State(shutdown): axum::extract::State<CancellationToken>,
    request: Request,
    next: Next,
) -> Response {
    let version = request.version();
    let mut response = next.run(request).await;
    if shutdown.is_cancelled() && version <= Version::HTTP_11 {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests;
