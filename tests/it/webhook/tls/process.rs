//! The whole process on real sockets and a real clock.

use std::{
    io,
    time::{Duration, Instant},
};

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Version, header::CONNECTION};
use jiff::Timestamp;
use restamp::{
    runtime::{https::LAME_DUCK, metrics::WebhookMetrics},
    webhook::{self, CertificateSource, Listeners, Settings, WebhookError},
};
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Connection, Files, Pair, Pki,
    client::{Answer, get, secured},
    leaf,
};
use crate::{
    fake_api::{Effect, FakeApi, key},
    watcher::{HOME, name, secret},
    webhook::{
        api_server::{put_key, review},
        reviews::web,
    },
};

/// How long a body may take to arrive.
const BODY: Duration = Duration::from_secs(5);
/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits in real time.
async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

struct Process {
    api: FakeApi,
    files: Files,
    pki: Pki,
    port: u16,
    admin: u16,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), WebhookError>>,
}

impl Process {
    async fn start(files: Files, pki: Pki) -> Self {
        let source = CertificateSource::Folder(files.path().to_owned());
        Self::start_with(source, files, pki).await
    }

    async fn start_with(certificate: CertificateSource, files: Files, pki: Pki) -> Self {
        let api = FakeApi::default();
        api.put("kubectl", &secret("login", "one"));
        put_key(&api);
        let listeners = Listeners {
            webhook: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            admin: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        };
        let [port, admin] = [&listeners.webhook, &listeners.admin]
            .map(|listener| listener.local_addr().unwrap().port());
        let shutdown = CancellationToken::new();
        let settings = Settings {
            namespace: HOME.to_owned(),
            kinds: restamp::cluster::kind::Kinds::default(),
            policy: std::sync::Arc::default(),
            certificate,
            now: Timestamp::now,
        };
        let metrics = WebhookMetrics::new().unwrap();
        let run = webhook::run(api.client(), settings, metrics, listeners, shutdown.clone());
        Self {
            task: tokio::spawn(run),
            api,
            files,
            pki,
            port,
            admin,
            shutdown,
        }
    }

    async fn ready() -> Self {
        let (files, pki) = (Files::new(), Pki::new());
        files.write(&pki.good());
        let process = Self::start(files, pki).await;
        process.until_ready().await;
        process
    }

    async fn until_ready(&self) {
        eventually("it is ready", async || self.get("/readyz").await.0 == 200).await;
    }

    async fn get(&self, path: &str) -> (u16, String) {
        get(self.admin, path).await.unwrap()
    }

    async fn open(&self, protocols: &[&str]) -> io::Result<Connection> {
        Connection::open(&self.pki.client(protocols), self.port).await
    }

    async fn end(self) -> Result<(), WebhookError> {
        timeout(PATIENCE, self.task)
            .await
            .expect("an end")
            .expect("no panic")
    }
}

fn question() -> String {
    review(&web(), None).to_string()
}

fn expect_stamped(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    assert!(answer["response"]["patch"].is_string(), "{answer}");
}

fn says_goodbye(answer: &Answer) -> bool {
    answer
        .headers
        .get(CONNECTION)
        .is_some_and(|value| value == "close")
}

#[tokio::test]
async fn every_version_of_http_and_tls_that_an_api_server_may_speak_is_answered() {
    let process = Process::ready().await;
    let versions = [
        (&["http/1.1"][..], Version::HTTP_11),
        (&["h2", "http/1.1"], Version::HTTP_2),
        (&["h2"], Version::HTTP_2),
        (&[], Version::HTTP_11),
    ];
    for tls in [&TLS12, &TLS13] {
        for (protocols, version) in versions {
            let client = process.pki.client_of(protocols, &[tls]);
            let mut connection = Connection::open(&client, process.port).await.unwrap();
            for _ in 0..2 {
                let answer = connection.ask(question()).await.unwrap();
                expect_stamped(&answer);
                assert_eq!(answer.version, version);
                assert!(!says_goodbye(&answer));
            }
        }
    }
    let stranger = Pki::new().client(&[]);
    let refused = Connection::open(&stranger, process.port).await;
    assert!(refused.is_err(), "this client trusts another authority");
    let (_, metrics) = process.get("/metrics").await;
    let counted = "restamp_admissions_total{reason=\"Deployed\"} 16\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_process_without_a_certificate_is_alive_and_says_which_file_it_misses() {
    let process = Process::start(Files::new(), Pki::new()).await;
    let file = process.files.file("tls.crt");
    let missing = format!("certificate: cannot read {}: No such file", file.display());
    eventually("it says what is missing", async || {
        let (status, text) = process.get("/readyz").await;
        status == 503 && text.starts_with(&missing) && !text.contains('\n')
    })
    .await;
    assert_eq!(process.get("/healthz").await.0, 200);
    let gauge = "restamp_certificate_expiry_timestamp_seconds";
    assert!(
        process
            .get("/metrics")
            .await
            .1
            .contains(&format!("{gauge} 0\n"))
    );
    assert!(
        process.open(&[]).await.is_err(),
        "there is nothing to shake hands with"
    );

    process.files.write(&process.pki.good());
    process.until_ready().await;
    let mut connection = process.open(&[]).await.unwrap();
    expect_stamped(&connection.ask(question()).await.unwrap());
    let until: Timestamp = "2090-01-01T00:00:00Z".parse().unwrap();
    let expiry = format!("{gauge} {}\n", until.as_second());
    assert!(process.get("/metrics").await.1.contains(&expiry));
}

/// The Secret with a certificate.
fn tls(pair: &Pair) -> Value {
    let data = [("tls.crt", &pair.certificate), ("tls.key", &pair.key)];
    let data = data.map(|(entry, text)| (entry.to_owned(), STANDARD.encode(text).into()));
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "namespace": HOME, "name": "tls" },
        "data": Value::Object(data.into_iter().collect()),
    })
}

#[tokio::test]
async fn a_certificate_in_a_secret_is_taken_in_and_one_that_is_cut_short_is_not() {
    let source = CertificateSource::Secret("tls".to_owned());
    let process = Process::start_with(source, Files::new(), Pki::new()).await;
    let missing = "certificate: there is no Secret restamp-system/tls;";
    eventually("it says what is missing", async || {
        let (status, text) = process.get("/readyz").await;
        status == 503 && text.starts_with(missing)
    })
    .await;
    let serves = async |pair: &Pair| {
        let stream = TcpStream::connect(("127.0.0.1", process.port)).await;
        let stream = secured(&process.pki.client(&[]), stream.unwrap()).await;
        stream.is_ok_and(|stream| leaf(&stream) == pair.der)
    };
    let first = process.pki.good();
    process.api.put("watcher", &tls(&first));
    process.until_ready().await;
    assert!(serves(&first).await);

    let (torn, next) = (process.pki.good(), process.pki.good());
    let half = torn.key[..torn.key.len() / 2].to_owned();
    process
        .api
        .put("somebody", &tls(&Pair { key: half, ..torn }));
    process.api.forget_calls();
    let secret = key("secrets", HOME, "tls");
    eventually("it was looked at twice", async || {
        let calls = process.api.calls();
        calls.iter().filter(|call| call.key == secret).count() >= 2
    })
    .await;
    assert!(serves(&first).await);
    assert_eq!(process.get("/readyz").await.0, 200);
    process.api.put("watcher", &tls(&next));
    eventually("the next one is served", async || serves(&next).await).await;
    assert!(process.api.calls().iter().all(|call| call.verb == "get"));
}

/// Expects that whoever asks during the end is answered, and is not invited to stay.
async fn expect_service_to_the_last(process: &Process, idle: &mut Connection) {
    let mut new = process.open(&["http/1.1"]).await.unwrap();
    for connection in [idle, &mut new] {
        let answer = connection.ask(question()).await.unwrap();
        expect_stamped(&answer);
        assert!(says_goodbye(&answer));
        assert!(connection.ask(question()).await.is_err(), "it was closed");
    }
}

#[tokio::test]
async fn the_end_drops_no_request() {
    let process = Process::ready().await;
    let mut idle = process.open(&["http/1.1"]).await.unwrap();
    let mut multiplexed = process.open(&["h2"]).await.unwrap();
    let (mut busy, mut slow) = (
        process.open(&[]).await.unwrap(),
        process.open(&[]).await.unwrap(),
    );
    for connection in [&mut idle, &mut multiplexed] {
        expect_stamped(&connection.ask(question()).await.unwrap());
    }
    process.api.forget_calls();
    let login = name("secrets", "login");
    process.api.fail("get", &login, 1, Effect::NoAnswer);
    let busy = tokio::spawn(async move { busy.ask(question()).await });
    eventually("a request is under way", async || {
        !process.api.calls().is_empty()
    })
    .await;

    let asked = Instant::now();
    process.shutdown.cancel();
    let leaves = (503, "shutdown: asked to stop".to_owned());
    eventually("it is not ready", async || {
        process.get("/readyz").await == leaves
    })
    .await;
    assert_eq!(process.get("/healthz").await.0, 200);
    expect_service_to_the_last(&process, &mut idle).await;
    let answer = multiplexed.ask(question()).await.unwrap();
    expect_stamped(&answer);
    assert_eq!(
        answer.headers.get(CONNECTION),
        None,
        "HTTP/2 knows no such header"
    );
    let answer = busy.await.unwrap().unwrap();
    assert_eq!((answer.status, says_goodbye(&answer)), (200, true));

    let (began, never) = (
        Instant::now(),
        futures::stream::pending::<io::Result<String>>(),
    );
    assert!(
        asked.elapsed() < LAME_DUCK,
        "this machine is too slow for this test"
    );
    let slow = tokio::spawn(async move { slow.ask(Body::from_stream(never)).await });
    let ports = [process.port, process.admin];
    process.end().await.unwrap();
    assert!(began.elapsed() >= BODY, "it waited for the last request");
    assert!(asked.elapsed() < LAME_DUCK + Duration::from_secs(10));
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(
        (answer.status, &*answer.body),
        (408, "the body did not arrive within 5s")
    );
    for port in ports {
        let refused = TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
