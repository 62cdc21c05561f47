//! Certificates that change under load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::post};
use jiff::Timestamp;
use restamp::{
    runtime::{
        admin::Readiness,
        certificate::{Certificate, CertificateError, Pair as Served},
        https,
    },
    webhook::PATH,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{Connection, Files, Pair, Pki, client::secured, leaf};

const CLIENTS: usize = 8;
const SWAPS: usize = 25;

/// Clients that connect and ask as fast as they can. Whatever fails, fails the test.
struct Load {
    clients: JoinSet<()>,
    over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
}

impl Load {
    fn start(pki: &Pki, port: u16) -> Self {
        let (over, answers) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let protocol = if number % 2 == 0 { "h2" } else { "http/1.1" };
            let (client, over, answers) = (pki.client(&[protocol]), over.clone(), answers.clone());
            clients.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let mut connection =
                        Connection::open(&client, port).await.expect("a handshake");
                    let answer = connection.ask("").await.expect("an answer");
                    assert_eq!(answer.body, "here");
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self {
            clients,
            over,
            answers,
        }
    }

    /// Waits until every client may have connected once more.
    async fn goes_on(&mut self) {
        let wanted = self.answers.load(Ordering::Relaxed) + 2 * CLIENTS as u64;
        let wait = async {
            while self.answers.load(Ordering::Relaxed) < wanted {
                if let Some(ended) = self.clients.try_join_next() {
                    ended.expect("no client fails");
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), wait)
            .await
            .expect("answers");
    }

    async fn end(mut self) {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("no client fails");
        }
    }
}

struct Server {
    certificate: Arc<Certificate>,
    files: Files,
    pki: Pki,
    port: u16,
    shutdown: CancellationToken,
}

impl Server {
    async fn start() -> Self {
        let (mut files, pki) = (Files::new(), Pki::new());
        files.mount(&pki.good());
        let certificate = Arc::new(Certificate::new(
            files.path().display().to_string(),
            Timestamp::now,
            Readiness::default(),
        ));
        certificate.offer(&read(&files).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().route(PATH, post(|| async { "here" }));
        let tls = https::tls(certificate.clone()).unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(https::serve(listener, tls, router, shutdown.clone()));
        Self {
            certificate,
            files,
            pki,
            port,
            shutdown,
        }
    }

    fn look(&self) -> Result<(), CertificateError> {
        self.certificate.offer(&read(&self.files)?)
    }

    async fn expect_served(&self, pair: &Pair) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let stream = secured(&self.pki.client(&[]), stream).await.unwrap();
        assert!(leaf(&stream) == pair.der, "another certificate is served");
    }
}

fn read(files: &Files) -> Result<Served, CertificateError> {
    Served::of_folder(files.path())
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handshake_fails_while_a_mounted_certificate_is_swapped() {
    let mut server = Server::start().await;
    let mut load = Load::start(&server.pki, server.port);
    for _ in 0..SWAPS {
        let next = server.pki.good();
        server.files.mount(&next);
        server.look().unwrap();
        server.expect_served(&next).await;
        load.goes_on().await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handshake_fails_while_the_files_are_written_one_after_the_other() {
    let server = Server::start().await;
    for name in ["tls.crt", "tls.key"] {
        std::fs::remove_file(server.files.file(name)).unwrap();
    }
    let mut load = Load::start(&server.pki, server.port);
    let mut before = server.pki.good();
    server.files.write(&before);
    server.look().unwrap();
    for _ in 0..SWAPS {
        let next = server.pki.good();
        let half = &next.certificate.as_bytes()[..next.certificate.len() / 2];
        for torn in [half, next.certificate.as_bytes()] {
            server.files.write_certificate(torn);
            server.look().unwrap_err();
            server.expect_served(&before).await;
        }
        load.goes_on().await;
        server.files.write_key(&next.key);
        server.look().unwrap();
        server.expect_served(&next).await;
        before = next;
    }
    load.end().await;
}
