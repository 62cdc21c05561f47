//! Receivers behind HTTPS.

use std::{io, net::SocketAddr, sync::Arc};

use axum::serve::Listener;
use restamp::alerts::Receiver;
use restamp_dev_certs::{Authority, Validity};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Answer, FAILED, FakeReceiver, SENT, config, deliver, impatient, proxy::Tunnels};
use crate::logs::Logs;

/// A listener that speaks TLS.
struct Secured {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// A receiver whose certificate is of that authority.
async fn secured(authority: &Authority) -> FakeReceiver {
    let identity = authority
        .server(&["127.0.0.1"], Validity::for_days(1))
        .unwrap();
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = Secured {
        tcp: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        tls: TlsAcceptor::from(Arc::new(config)),
    };
    FakeReceiver::on(listener, &[Answer::Status(200)])
}

fn trusting(authority: &Authority, variables: &[(&str, &str)]) -> Receiver {
    let mut roots = RootCertStore::empty();
    let pem = authority.certificate().as_bytes();
    roots
        .add(CertificateDer::from_pem_slice(pem).unwrap())
        .unwrap();
    let tls = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    impatient(Receiver::with_tls(config(variables), tls).unwrap())
}

fn https(chat: &FakeReceiver) -> String {
    format!("https://{}/hook?token=x", chat.address)
}

#[tokio::test]
async fn an_https_receiver_is_reached() {
    let authority = Authority::generate().unwrap();
    let chat = secured(&authority).await;
    let receiver = trusting(&authority, &[("ALERT_WEBHOOK_URL", &https(&chat))]);
    assert_eq!(deliver(receiver).await, SENT);
    assert_eq!(chat.only_one().line, "POST /hook?token=x");
}

#[tokio::test]
async fn an_https_receiver_is_reached_through_a_tunnel_that_sees_no_message() {
    let authority = Authority::generate().unwrap();
    let chat = secured(&authority).await;
    let proxy = Tunnels::start().await;
    let receiver = trusting(
        &authority,
        &[
            ("ALERT_WEBHOOK_URL", &https(&chat)),
            (
                "ALERT_WEBHOOK_PROXY",
                &format!("http://me:secret@{}", proxy.address),
            ),
        ],
    );
    assert_eq!(deliver(receiver).await, SENT);
    assert_eq!(chat.only_one().line, "POST /hook?token=x");
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let first = format!("CONNECT {} HTTP/1.1\r\n", chat.address);
    assert!(asked[0].starts_with(&first), "{asked:?}");
    let lower = asked[0].to_lowercase();
    assert!(
        lower.contains("proxy-authorization: basic bwu6c2vjcmv0\r\n"),
        "{asked:?}"
    );
    assert!(!asked[0].contains("token"), "{asked:?}");
}

#[tokio::test]
async fn a_receiver_that_nobody_vouches_for_gets_nothing() {
    let logs = Logs::capture();
    let chat = secured(&Authority::generate().unwrap()).await;
    let stranger = Authority::generate().unwrap();
    let receiver = trusting(&stranger, &[("ALERT_WEBHOOK_URL", &https(&chat))]);
    assert_eq!(deliver(receiver).await, FAILED);
    assert!(chat.received().is_empty());
    let lines = logs.with(&["giving up", "certificate"]);
    assert_eq!(lines.len(), 1, "{:?}", logs.with(&[]));
    let system = Receiver::new(config(&[("ALERT_WEBHOOK_URL", &https(&chat))])).unwrap();
    assert_eq!(deliver(impatient(system)).await, FAILED);
    assert!(chat.received().is_empty());
}
