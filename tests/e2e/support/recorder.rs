//! A webhook that allows everything, and keeps what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    routing::post,
    serve::Listener,
};
use restamp_dev_certs::{Authority, Identity, Validity};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

type Requests = Arc<Mutex<Vec<Value>>>;

/// The webhook. It serves as long as the test runs.
pub struct Recorder {
    /// Where it is.
    pub url: String,
    /// The certificate of its CA, PEM.
    pub authority: String,
    requests: Requests,
}

impl Recorder {
    /// Starts it on a free port of this machine.
    pub async fn start() -> Recorder {
        let authority = Authority::generate().expect("a CA");
        let identity = authority
            .server(&["127.0.0.1"], Validity::for_days(1))
            .expect("a certificate");
        let listener = TlsListener {
            tcp: TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
            acceptor: acceptor(&identity),
        };
        let address = listener.local_addr().expect("an address");
        let requests = Requests::default();
        let router = Router::new()
            .route("/mutate", post(allow))
            .layer(DefaultBodyLimit::disable())
            .with_state(requests.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Recorder {
            url: format!("https://{address}/mutate"),
            authority: authority.certificate().to_owned(),
            requests,
        }
    }

    /// What it was asked since the last call: the `request` of each review.
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut *self.requests.lock().expect("no panic"))
    }
}

async fn allow(State(requests): State<Requests>, body: Bytes) -> String {
    let mut review: Value = serde_json::from_slice(&body).expect("a review");
    let request = review["request"].take();
    review["response"] = json!({ "uid": request["uid"], "allowed": true });
    requests.lock().expect("no panic").push(request);
    review.to_string()
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.expect("PEM")], key.expect("PEM"))
        .expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.tcp).await;
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
