//! Which certificate is served, whatever happens to its files. The clock jumps, and so does the wall clock.

use std::{cell::Cell, future::ready, sync::Arc, time::Duration};

use jiff::Timestamp;
use restamp::runtime::{
    admin::Readiness,
    certificate::{Certificate, POLL, Pair as Served},
    https,
    metrics::WebhookMetrics,
};
use rustls::pki_types::CertificateDer;
use tokio::{io::duplex, task::JoinHandle, time::sleep};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Files, Pair, Pki, client::secured, leaf};
use crate::{logs::Logs, watcher::until};

thread_local! {
    static NOW: Cell<&'static str> = const { Cell::new("2026-06-01T00:00:00Z") };
}

fn now() -> Timestamp {
    NOW.get().parse().unwrap()
}

fn start_of(year: i64) -> i64 {
    format!("{year}-01-01T00:00:00Z")
        .parse::<Timestamp>()
        .unwrap()
        .as_second()
}

/// A certificate that is followed.
struct Followed {
    files: Files,
    certificate: Arc<Certificate>,
    readiness: Readiness,
    metrics: WebhookMetrics,
    client: TlsConnector,
    logs: Logs,
    task: JoinHandle<()>,
}

impl Followed {
    async fn start(pki: &Pki, files: Files) -> Self {
        let logs = Logs::capture();
        let readiness = Readiness::default();
        let metrics = WebhookMetrics::new().unwrap();
        let certificate = Arc::new(Certificate::new(
            files.path().display().to_string(),
            now,
            readiness.clone(),
        ));
        let expiry = metrics.certificate_expiry.clone();
        let (follow, dir) = (certificate.clone(), files.path().to_owned());
        let task = tokio::spawn(async move {
            let read = || ready(Served::of_folder(&dir));
            follow.follow(&expiry, POLL, read).await;
        });
        let followed = Self {
            client: pki.client(&[]),
            files,
            certificate,
            readiness,
            metrics,
            logs,
            task,
        };
        followed.polls(1).await;
        followed
    }

    async fn with(pki: &Pki, pair: &Pair) -> Self {
        let files = Files::new();
        files.write(pair);
        Self::start(pki, files).await
    }

    /// Lets the files be looked at so many times.
    async fn polls(&self, times: u32) {
        sleep(Duration::from_millis(1100) * times).await;
        assert!(!self.task.is_finished());
    }

    /// The chain that a new connection gets; nothing if there is none to get.
    async fn served(&self) -> Option<CertificateDer<'static>> {
        let tls = https::tls(self.certificate.clone()).unwrap();
        let (ours, theirs) = duplex(64 * 1024);
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let (client, server) = tokio::join!(secured(&self.client, ours), acceptor.accept(theirs));
        assert_eq!(client.is_ok(), server.is_ok());
        Some(leaf(&client.ok()?))
    }

    fn expiry(&self) -> i64 {
        self.metrics.certificate_expiry.get()
    }

    fn problems(&self) -> usize {
        self.logs
            .with(&["the serving certificate cannot be used"])
            .len()
    }

    fn expect_ready(&self, what: &str) {
        assert_eq!(self.readiness.missing(), Vec::<String>::new(), "{what}");
    }

    fn expect_not_ready(&self, what: &str, why: &str) {
        let missing = self.readiness.missing();
        assert_eq!(missing.len(), 1, "{what}");
        let [said] = &missing[..] else { unreachable!() };
        let text = said.replace(&self.files.path().display().to_string(), "DIR");
        assert!(
            text.starts_with(&format!("certificate: {why}")),
            "{what}: {text}"
        );
        assert_eq!(
            self.logs
                .with(&[said.trim_start_matches("certificate: ")])
                .len(),
            1,
            "{what}"
        );
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A certificate, a key, and what is said about them.
type Case = (&'static str, String, String, &'static str);

const NO_CERTIFICATE: &str = "DIR/tls.crt holds no PEM block of the right kind";
const NO_KEY: &str = "DIR/tls.key holds no PEM block of the right kind";
const EXPIRED: &str = "the certificate in DIR/tls.crt is valid from 2020-01-01T00:00:00Z to 2026-01-01T00:00:00Z only; renew it";
const FUTURE: &str = "the certificate in DIR/tls.crt is valid from 2027-01-01T00:00:00Z to 2090-01-01T00:00:00Z only; renew it";

/// Files that cannot be served.
fn unusable(pki: &Pki) -> Vec<Case> {
    let half = |text: &str| text[..text.len() / 2].to_owned();
    let last_line_missing = |text: &str| text[..text.trim_end().rfind('\n').unwrap()].to_owned();
    let Pair {
        certificate, key, ..
    } = pki.good();
    let chain = certificate.clone() + &pki.certificate().0;
    let no_der = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let no_x509 = "DIR/tls.crt holds no X.509 certificate";
    let certificates = [
        ("half a certificate", half(&certificate), NO_CERTIFICATE),
        (
            "all but its last line",
            last_line_missing(&certificate),
            NO_CERTIFICATE,
        ),
        (
            "half a chain",
            chain[..chain.len() - 100].to_owned(),
            NO_CERTIFICATE,
        ),
        ("an empty certificate", String::new(), NO_CERTIFICATE),
        ("garbage", "garbage".to_owned(), NO_CERTIFICATE),
        ("no base64", certificate.replace("MI", "!?"), NO_CERTIFICATE),
        ("two keys", key.clone(), NO_CERTIFICATE),
        ("no X.509", no_der.to_owned(), no_x509),
    ];
    let not_together = "tls.crt and tls.key in DIR cannot be used together: ";
    let keys = [
        ("half a key", half(&key), NO_KEY),
        ("an empty key", String::new(), NO_KEY),
        ("a garbage key", "garbage".to_owned(), NO_KEY),
        ("two certificates", certificate.clone(), NO_KEY),
        ("the key of another", pki.good().key, not_together),
    ];
    let (expired, future) = (pki.issue(2020, 2026), pki.issue(2027, 2090));
    let certificates = certificates.map(|(what, text, why)| (what, text, key.clone(), why));
    let keys = keys.map(|(what, text, why)| (what, certificate.clone(), text, why));
    let dates = [
        ("expired", expired.certificate, expired.key, EXPIRED),
        ("not yet valid", future.certificate, future.key, FUTURE),
    ];
    certificates.into_iter().chain(keys).chain(dates).collect()
}

#[tokio::test(start_paused = true)]
async fn an_unusable_certificate_leaves_the_one_before_it_in_use() {
    let pki = Pki::new();
    let good = pki.good();
    for (what, certificate, key, _) in unusable(&pki) {
        let followed = Followed::with(&pki, &good).await;
        followed.expect_ready(what);
        followed.files.write_certificate(certificate);
        followed.files.write_key(key);
        followed.polls(60).await;
        assert_eq!(followed.served().await, Some(good.der.clone()), "{what}");
        followed.expect_ready(what);
        assert_eq!(followed.problems(), 1, "{what} is said once");
        assert_eq!(followed.expiry(), start_of(2090), "{what}");
        let next = pki.issue(2021, 2080);
        followed.files.write(&next);
        followed.polls(2).await;
        assert_eq!(followed.served().await, Some(next.der), "{what}");
        assert_eq!(followed.problems(), 1, "{what}");
        followed.expect_ready(what);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_usable_certificate_the_process_is_not_ready_and_says_why() {
    let pki = Pki::new();
    for (what, certificate, key, why) in unusable(&pki) {
        let files = Files::new();
        files.write_certificate(certificate);
        files.write_key(key);
        let followed = Followed::start(&pki, files).await;
        followed.polls(60).await;
        followed.expect_not_ready(what, why);
        assert_eq!(followed.served().await, None, "{what}");
        assert_eq!(followed.expiry(), 0, "{what}");
        let good = pki.good();
        followed.files.write(&good);
        followed.polls(2).await;
        followed.expect_ready(what);
        assert_eq!(followed.served().await, Some(good.der), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_file_is_named() {
    let pki = Pki::new();
    let good = pki.good();
    let followed = Followed::start(&pki, Files::new()).await;
    let missing = |name: &str| format!("cannot read DIR/{name}: No such file or directory");
    followed.expect_not_ready("both", &missing("tls.crt"));
    followed.files.write_certificate(&good.certificate);
    followed.polls(2).await;
    followed.expect_not_ready("the key", &missing("tls.key"));
    assert_eq!(followed.served().await, None);
    followed.files.write_key(&good.key);
    until("it is ready", || followed.readiness.missing().is_empty()).await;
    assert_eq!(followed.served().await, Some(good.der.clone()));

    for name in ["tls.crt", "tls.key"] {
        std::fs::remove_file(followed.files.file(name)).unwrap();
        followed.polls(2).await;
        followed.expect_ready(name);
        assert_eq!(followed.served().await, Some(good.der.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_runs_out_while_it_is_served_ends_readiness_until_it_is_renewed() {
    let pki = Pki::new();
    let (old, new) = (pki.issue(2020, 2027), pki.issue(2026, 2029));
    let followed = Followed::with(&pki, &old).await;
    assert_eq!(followed.expiry(), start_of(2027));
    NOW.set("2027-01-01T00:00:00Z");
    followed.polls(2).await;
    followed.expect_ready("the last second");
    NOW.set("2027-01-01T00:00:01Z");
    followed.polls(2).await;
    let why = "the certificate in DIR/tls.crt is valid from 2020-01-01T00:00:00Z to 2027-01-01T00:00:00Z only";
    followed.expect_not_ready("it ran out", why);
    assert_eq!(followed.expiry(), start_of(2027), "an alert on it goes on");
    followed.files.write(&new);
    followed.polls(2).await;
    followed.expect_ready("it was renewed");
    assert_eq!(followed.expiry(), start_of(2029));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_valid_yet_is_served_once_it_is() {
    let pki = Pki::new();
    let (old, new) = (pki.good(), pki.issue(2027, 2090));
    let followed = Followed::with(&pki, &old).await;
    followed.files.write(&new);
    followed.polls(2).await;
    assert_eq!(followed.served().await, Some(old.der));
    NOW.set("2027-01-01T00:00:00Z");
    followed.polls(2).await;
    assert_eq!(followed.problems(), 1);
    let log = followed.logs.with(&["serving a new certificate"]);
    assert_eq!(log.len(), 2, "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_mounted_secret_is_picked_up_when_its_link_changes() {
    let pki = Pki::new();
    let (old, new) = (pki.good(), pki.issue(2021, 2080));
    let mut files = Files::new();
    files.mount(&old);
    let mut followed = Followed::start(&pki, files).await;
    assert_eq!(followed.served().await, Some(old.der));
    followed.files.mount(&new);
    followed.polls(2).await;
    assert_eq!(followed.served().await, Some(new.der));
    assert_eq!(followed.expiry(), start_of(2080));
    assert_eq!(followed.problems(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_chain_is_sent_whole() {
    let pki = Pki::new();
    let mut pair = pki.good();
    let (ca, der) = pki.certificate();
    pair.certificate += &ca;
    let followed = Followed::with(&pki, &pair).await;
    let tls = https::tls(followed.certificate.clone()).unwrap();
    let (ours, theirs) = duplex(64 * 1024);
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let (client, server) = tokio::join!(secured(&followed.client, ours), acceptor.accept(theirs));
    server.unwrap();
    let client = client.unwrap();
    let shown = client.get_ref().1.peer_certificates().unwrap();
    assert_eq!(shown, [pair.der, der]);
}
