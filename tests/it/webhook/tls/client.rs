//! Certificates, and a client that trusts them as the API server trusts its `caBundle`.

use std::{io, sync::Arc};

use axum::body::Body;
use http::{HeaderMap, Request, Response, Version, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use restamp::webhook::PATH;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What the API server calls the webhook.
const NAME: &str = "restamp-webhook.restamp-system.svc";

/// A certificate authority.
pub struct Pki(CertifiedIssuer<'static, KeyPair>);

/// A certificate for the webhook, and its key.
#[derive(Clone)]
pub struct Pair {
    /// The certificate, PEM.
    pub certificate: String,
    /// The private key, PEM.
    pub key: String,
    /// The certificate.
    pub der: CertificateDer<'static>,
}

impl Pki {
    /// Another one each time.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// A certificate that is valid from the start of one year to the start of another.
    pub fn issue(&self, from: i32, until: i32) -> Pair {
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
        }
    }

    /// A certificate that is valid now.
    pub fn good(&self) -> Pair {
        self.issue(2020, 2090)
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> (String, CertificateDer<'static>) {
        (self.0.pem(), self.0.der().clone())
    }

    /// A client that trusts this authority.
    pub fn client(&self, protocols: &[&str]) -> TlsConnector {
        self.client_of(protocols, &[&TLS13, &TLS12])
    }

    /// A client that speaks these versions of TLS only.
    pub fn client_of(
        &self,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate().1).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let mut config = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        // Each handshake is to show the certificate anew.
        config.resumption = rustls::client::Resumption::disabled();
        TlsConnector::from(Arc::new(config))
    }
}

/// Shakes hands with the webhook.
pub async fn secured<S>(connector: &TlsConnector, stream: S) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(NAME).unwrap();
    connector.connect(name, stream).await
}

/// The certificate that the server showed.
pub fn leaf<S>(stream: &TlsStream<S>) -> CertificateDer<'static> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().expect("a chain")[0].clone()
}

/// A connection over which requests are sent one after another.
pub enum Connection {
    /// HTTP/1.1.
    One(http1::SendRequest<Body>),
    /// HTTP/2.
    Two(http2::SendRequest<Body>),
}

/// An answer over a connection.
#[derive(Debug)]
pub struct Answer {
    /// The version of HTTP.
    pub version: Version,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Connection {
    /// Connects, shakes hands, and speaks what was agreed on.
    pub async fn open(connector: &TlsConnector, port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let stream = secured(connector, stream).await?;
        let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let stream = TokioIo::new(stream);
        let error = io::Error::other::<hyper::Error>;
        Ok(match agreed.as_deref() {
            Some(b"h2") => {
                let handshake = http2::handshake(TokioExecutor::new(), stream).await;
                let (requests, connection) = handshake.map_err(error)?;
                tokio::spawn(connection);
                Self::Two(requests)
            }
            _ => {
                let (requests, connection) = http1::handshake(stream).await.map_err(error)?;
                tokio::spawn(connection);
                Self::One(requests)
            }
        })
    }

    /// Sends a review, or whatever else.
    pub async fn ask(&mut self, body: impl Into<Body>) -> hyper::Result<Answer> {
        let host = format!("https://{NAME}{PATH}");
        let (path, version) = match self {
            Self::One(_) => (PATH, Version::HTTP_11),
            Self::Two(_) => (&*host, Version::HTTP_2),
        };
        let request = Request::post(path)
            .version(version)
            .header(CONTENT_TYPE, "application/json");
        let request = match self {
            Self::One(_) => request.header("host", NAME),
            Self::Two(_) => request,
        };
        let request = request.body(body.into()).unwrap();
        let response = match self {
            Self::One(requests) => {
                requests.ready().await?;
                requests.send_request(request).await?
            }
            Self::Two(requests) => {
                requests.ready().await?;
                requests.send_request(request).await?
            }
        };
        Answer::receive(response).await
    }
}

impl Answer {
    async fn receive(response: Response<Incoming>) -> hyper::Result<Self> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self {
            version: parts.version,
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).expect("text"),
        })
    }
}

/// Asks the plain-HTTP endpoints: the status and text of the answer.
pub async fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut requests, connection) = handshake.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let request = Request::get(path).header("host", "pod");
    let request = request.body(Body::empty()).unwrap();
    let response = requests
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let answer = Answer::receive(response).await.map_err(io::Error::other)?;
    Ok((answer.status, answer.body))
}
