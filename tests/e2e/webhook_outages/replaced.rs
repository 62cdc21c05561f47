//! A webhook whose certificate or process is replaced while it is in use: no write misses it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use futures::future::join_all;
use restamp_dev_certs::Authority;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{manifest, shop_with_sources};
use crate::support::{
    Ground, Shop,
    detour::{Detour, Way},
    shop::WEB,
    wait::until,
    webhook::Webhook,
};

/// Who creates all the time.
const WRITERS: usize = 4;
/// So many certificates take the place of each other.
const RENEWALS: usize = 4;
/// So many creations see each state of things.
const EACH: usize = 20;

/// Creations that only ask, one after another, until they are to end.
#[derive(Default)]
struct Load {
    stamped: AtomicUsize,
    unstamped: AtomicUsize,
    ended: AtomicBool,
}

impl Load {
    async fn run(&self, shop: &Shop) {
        let write = async |writer: usize| {
            let manifest = manifest((WEB[writer % WEB.len()].0, "probe"));
            while !self.ended.load(SeqCst) {
                match shop.dry_run(&manifest).await {
                    Some(_) => self.stamped.fetch_add(1, SeqCst),
                    None => self.unstamped.fetch_add(1, SeqCst),
                };
            }
        };
        join_all((0..WRITERS).map(write)).await;
    }

    /// Waits for so many more.
    async fn until_more(&self, count: usize) {
        let created = || self.stamped.load(SeqCst) + self.unstamped.load(SeqCst);
        let target = created() + count;
        until("more creations", async || match created() {
            now if now >= target => Ok(()),
            now => Err(now),
        })
        .await;
    }

    fn end(&self) {
        self.ended.store(true, SeqCst);
    }

    async fn assert_all_stamped(&self, ground: &Ground, webhooks: &[&Webhook]) {
        let logs: Vec<_> = webhooks.iter().map(|it| it.replica.log()).collect();
        let logs = logs.join("\n");
        assert_eq!(self.unstamped.load(SeqCst), 0, "{logs}");
        assert_eq!(ground.failed_open().await, 0.0, "{logs}");
    }
}

/// Connects to the webhook as the API server does, without keeping connections.
async fn shake_hands(webhook: &Webhook) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(webhook.authority.certificate().as_bytes());
    roots.add(ca.expect("PEM")).expect("a CA");
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(&webhook.address).await;
    let host = ServerName::try_from("127.0.0.1").expect("a host");
    let connection = TlsConnector::from(Arc::new(config))
        .connect(host, tcp.expect("a connection"))
        .await
        .expect("a handshake");
    let (_, session) = connection.get_ref();
    session.peer_certificates().expect("a certificate")[0].to_vec()
}

#[tokio::test]
async fn p5_a_certificate_that_is_renewed_under_load_breaks_no_handshake() {
    let Some((ground, _watcher, webhook)) = Ground::own_with_both("renewing certificates").await
    else {
        return;
    };
    let shop = shop_with_sources(&ground, "renewed").await;
    let load = Load::default();
    let renew = async {
        let mut bundle = webhook.authority.certificate().to_owned();
        let mut seen = BTreeSet::from([shake_hands(&webhook).await]);
        for _ in 0..RENEWALS {
            load.until_more(EACH).await;
            webhook.renew_certificate();
            until("the new certificate is served", async || {
                let news = seen.insert(shake_hands(&webhook).await);
                news.then_some(()).ok_or("the old one")
            })
            .await;
            // The API server keeps its connections, but not when it is told of another CA.
            bundle += Authority::generate().expect("a CA").certificate();
            let url = format!("https://{}{}", webhook.address, restamp::webhook::PATH);
            ground.send_reviews_to(&url, &bundle).await;
        }
        load.until_more(EACH).await;
        load.end();
        seen.len()
    };
    let (seen, ()) = tokio::join!(renew, load.run(&shop));
    assert_eq!(seen, RENEWALS + 1);
    load.assert_all_stamped(&ground, &[&webhook]).await;
}

#[tokio::test]
async fn p5_a_rolling_restart_under_load_loses_no_request() {
    let Some((ground, _watcher, mut webhook)) =
        Ground::own_with_both("restarting the webhook").await
    else {
        return;
    };
    let shop = shop_with_sources(&ground, "rolling").await;
    let detour = Detour::to(webhook.address.parse().expect("an address")).await;
    webhook.be_called_at(&detour.address()).await;
    let load = Load::default();
    let roll = async {
        for _ in 0..2 {
            load.until_more(EACH).await;
            let next = webhook.another().await;
            webhook.replica.terminate();
            // Endpoints take a while to vanish.
            load.until_more(EACH).await;
            detour.turn(Way::To(next.address.parse().expect("an address")));
            let before = std::mem::replace(&mut webhook, next);
            before.replica.until_stopped().await;
            load.until_more(EACH).await;
        }
        load.end();
    };
    tokio::join!(roll, load.run(&shop));
    load.assert_all_stamped(&ground, &[&webhook]).await;
    let answered = webhook.replica.metric("restamp_admissions_total").await;
    assert!(answered >= EACH as f64, "{answered}");
}
