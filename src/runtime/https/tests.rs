//! Limits, on a clock that jumps: most connections here are pipes in memory.

use axum::routing::get;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    server::ResolvesServerCertUsingSni,
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpStream,
    task::yield_now,
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

const NAME: &str = "webhook";
/// No wait in real time is longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with a certificate, and a client that trusts it.
struct Pair {
    server: Arc<Server>,
    client: ClientConfig,
}

impl Pair {
    fn new(connections: usize) -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let der = made.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(vec![der.clone()], key, &provider).unwrap();
        let mut certificates = ResolvesServerCertUsingSni::new();
        certificates.add(NAME, key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(der).unwrap();
        let client = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = Server {
            acceptor: TlsAcceptor::from(Arc::new(tls(Arc::new(certificates)).unwrap())),
            router: Router::new().route("/", get(|| async { "here" })),
            permits: Arc::new(Semaphore::new(connections)),
            graceful: GracefulShutdown::new(),
        };
        Self {
            server: Arc::new(server),
            client,
        }
    }

    async fn pipe(&self) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        let permit = self.server.permits.clone().acquire_owned().await.unwrap();
        self.server.connect(theirs, permit);
        ours
    }

    async fn secured<S>(&self, stream: S, protocol: &str) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut client = self.client.clone();
        client.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::try_from(NAME).unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        connector.connect(name, stream).await
    }

    async fn connection(&self) -> TlsStream<DuplexStream> {
        self.secured(self.pipe().await, "http/1.1").await.unwrap()
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: webhook\r\n\r\n";

/// Asks, and expects an answer.
async fn expect_answer(connection: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    connection.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"here") {
        let mut some = [0; 1024];
        let n = connection.read(&mut some).await.unwrap();
        assert_ne!(n, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&some[..n]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// How long it takes from now until the server hangs up.
async fn hangs_up(mut connection: impl AsyncRead + Unpin) -> Duration {
    let (began, mut some) = (Instant::now(), [0; 1024]);
    let wait = async { while !matches!(connection.read(&mut some).await, Ok(0) | Err(_)) {} };
    let ended = timeout(Duration::from_secs(3600), wait).await;
    assert!(ended.is_ok(), "it hangs on");
    began.elapsed()
}

/// Sends a byte a second for as long as anybody listens; how long that is.
async fn trickle(connection: impl AsyncRead + AsyncWrite, bytes: &[u8]) -> Duration {
    let (reading, mut writing) = tokio::io::split(connection);
    let write = async {
        for byte in bytes {
            if writing.write_all(&[*byte]).await.is_err() || writing.flush().await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        () = write => unreachable!("it is pending"),
        time = hangs_up(reading) => time,
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_come_to_a_request_is_hung_up_on() {
    let pair = Pair::new(16);
    let mut half_a_head = pair.connection().await;
    half_a_head.write_all(&REQUEST[..20]).await.unwrap();
    let mut only_a_preface = pair.secured(pair.pipe().await, "h2").await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    only_a_preface.write_all(preface).await.unwrap();
    let slow_hello = [
        0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03, 0x03,
    ];
    let (no_tls, no_request) = (pair.pipe().await, pair.connection().await);
    let (slow_tls, slow_head) = (pair.pipe().await, pair.connection().await);
    let mut good = pair.connection().await;
    let times = tokio::join!(
        hangs_up(no_tls),
        trickle(slow_tls, &slow_hello),
        hangs_up(no_request),
        hangs_up(half_a_head),
        trickle(slow_head, REQUEST),
        hangs_up(only_a_preface),
        expect_answer(&mut good),
    );
    let (five, ten) = (Duration::from_secs(5), Duration::from_secs(10));
    assert_eq!(times, (five, five, ten, ten, ten, ten, ()));
    expect_answer(&mut good).await;
    drop(good);
    let all = pair.server.permits.acquire_many(16);
    let all = timeout(Duration::from_secs(1), all).await;
    assert!(all.is_ok(), "every connection gave its permit back");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_two_minutes() {
    let pair = Pair::new(1);
    let mut idle = pair.connection().await;
    expect_answer(&mut idle).await;
    sleep(Duration::from_secs(100)).await;
    expect_answer(&mut idle).await;
    assert_eq!(hangs_up(idle).await, Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn an_http2_peer_that_answers_no_ping_is_hung_up_on() {
    let pair = Pair::new(1);
    let mut gone = pair.secured(pair.pipe().await, "h2").await.unwrap();
    gone.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    // HEADERS: GET https://x/
    gone.write_all(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x84\x87\x41\x01x")
        .await
        .unwrap();
    let time = hangs_up(gone).await;
    assert!(
        time > FIRST_REQUEST && time < Duration::from_secs(60),
        "{time:?}"
    );
}

/// Waits in real time.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

#[tokio::test]
async fn no_more_connections_are_taken_than_there_are_permits() {
    let pair = Pair::new(2);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = pair.server.clone();
    let accepting = tokio::spawn(async move { server.accept(&listener).await });
    let first = TcpStream::connect(address).await.unwrap();
    let _second = TcpStream::connect(address).await.unwrap();
    let permits = &pair.server.permits;
    until("both are taken", || permits.available_permits() == 0).await;
    let third = TcpStream::connect(address).await.unwrap();
    let third = timeout(PATIENCE, pair.secured(third, "http/1.1")).await;
    assert!(third.expect("an end at once").is_err(), "a third was taken");
    drop(first);
    until("there is room again", || permits.available_permits() == 1).await;
    let third = TcpStream::connect(address).await.unwrap();
    let mut third = pair.secured(third, "http/1.1").await.unwrap();
    expect_answer(&mut third).await;
    accepting.abort();
}
