//! From one way of certificates to another, and from trust to none, by the commands of docs/certificates.md. Processes of
//! ours stand in for the pods, whose nodes are simulated.

use rustls::pki_types::CertificateDer;

use super::{
    cert_manager::Installed,
    documented::{CERTIFICATES, Repository, commands},
    rotation::{Stream, shop, until_served, until_stamped},
    site::{AUTHORITY, AUTHORITY_OF_CERT_MANAGER, SERVICE, SERVING, Server, Site},
};
use crate::support::{detour::Detour, replica::Replica, wait::until};

/// Two replicas that read the Secret.
async fn self_managed(site: &Site) -> [Server; 2] {
    let from = ["--cert-secret", SERVING];
    [
        site.serve(SERVICE, from, None).await,
        site.serve(SERVICE, from, None).await,
    ]
}

/// The processes of an installation, and whom the API server trusts for them.
struct Running {
    watcher: Replica,
    servers: [Server; 2],
    bundle: Vec<CertificateDer<'static>>,
}

impl Installed {
    async fn run_for_it(&self) -> Running {
        let watcher = self.site.ground.watcher("by cert-manager").await;
        watcher.until_leading().await;
        Running {
            watcher,
            servers: self.servers().await,
            bundle: self.site.until_bundled(1).await,
        }
    }

    /// Ends when only what is new is trusted.
    async fn to_self_managed(&self, commands: &str, before: &mut Running) -> Running {
        let site = &self.site;
        self.run(commands).await;
        before.watcher.kill();
        let watcher = site.watcher("self-managed").await;
        let servers = self_managed(site).await;
        for server in &servers {
            server.replica.until_ready().await;
        }
        let bundle = site.bundle().await;
        assert!(
            bundle.contains(&before.bundle[0]),
            "old replicas are trusted"
        );
        self.way.turn(servers[1].way());
        let bundle = site.until_bundled(1).await;
        assert_ne!(bundle, before.bundle);
        Running {
            watcher,
            servers,
            bundle,
        }
    }

    async fn until_nothing_is_left(&self, command: &str) {
        until("nothing is left", async || {
            match &self.run(command).await[..] {
                "" => Ok(()),
                left => Err(left.to_owned()),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn from_cert_manager_to_self_managed_under_load_and_back() {
    let Some(installed) = Installed::new("moves from and to cert-manager").await else {
        return;
    };
    let site = &installed.site;
    let mut before = installed.run_for_it().await;
    let [there, clean_up] = commands(CERTIFICATES, "## From cert-manager to self-managed");
    let mut ours = None;
    let go = async { ours = Some(installed.to_self_managed(&there, &mut before).await) };
    Stream::default().during(site, &[], go).await;
    let mut ours = ours.expect("it went there");
    drop(before);
    installed.run(&clean_up).await;
    let left = "kubectl get issuers,certificates,certificaterequests -A -o name";
    installed.until_nothing_is_left(left).await;
    assert_eq!(site.managers_of_bundle().await, ["restamp"]);

    let [back, clean_up] = commands(CERTIFICATES, "## From self-managed to cert-manager");
    ours.watcher.kill();
    installed.run(&back).await;
    // The replicas that still run may take in what is not injected yet.
    let both = site.until_bundled(2).await;
    assert!(both.contains(&ours.bundle[0]));
    let _watcher = site.ground.watcher("by cert-manager again").await;
    let _servers = installed.servers().await;
    drop(ours.servers);
    until_stamped(&shop(site).await).await;
    installed.run(&clean_up).await;
    let theirs = site.until_bundled(1).await;
    assert!(both.contains(&theirs[0]) && theirs != ours.bundle);
    until_stamped(&shop(site).await).await;
    let made = site.entry(AUTHORITY, "ca.crt").await;
    assert_eq!(made, None, "nobody makes it");
    assert_eq!(site.managers_of_bundle().await, ["cert-manager-cainjector"]);
    let left = "kubectl get clusterroles,clusterrolebindings,roles,rolebindings -A -o name";
    let left = format!("{left} | grep restamp.*-certificates || :");
    installed.until_nothing_is_left(&left).await;
}

#[tokio::test]
async fn what_cert_manager_made_is_distrusted_at_once() {
    let Some(installed) = Installed::new("distrust of what cert-manager made").await else {
        return;
    };
    let site = &installed.site;
    let Running {
        watcher: _watcher,
        servers,
        bundle: before,
    } = installed.run_for_it().await;
    let [distrust] = commands(CERTIFICATES, "## By cert-manager");
    installed.run(&distrust).await;
    let after = until("the CA of before is not trusted", async || {
        let bundle = site.bundle().await;
        let is_over = bundle.len() == 1 && bundle != before;
        is_over.then_some(bundle.clone()).ok_or(bundle.len())
    })
    .await;
    until_served(&servers, 2).await;
    for server in &servers {
        assert_eq!(server.is_trusted(&after).await, Ok(()));
        assert!(server.is_trusted(&before).await.is_err());
    }
    until_stamped(&shop(site).await).await;
    let authority = site.entry(AUTHORITY_OF_CERT_MANAGER, "tls.crt").await;
    assert_eq!(authority, site.entry(SERVING, "ca.crt").await);
}

#[tokio::test]
async fn what_restamp_made_is_distrusted_at_once() {
    let Some(site) = Site::new("certificates", "20m,10m,1s,2s").await else {
        return;
    };
    let servers = [site.webhook().await];
    let way: Detour = site.lead_to(&servers[0]).await;
    let watcher = site.watcher("before").await;
    watcher.until_leading().await;
    servers[0].replica.until_ready().await;
    let before = site.until_bundled(1).await;
    let [_, distrust] = commands(CERTIFICATES, "### To force it");
    watcher.stop().await;
    Repository::leading_to(&way)
        .run(&site.ground, &distrust)
        .await;
    assert_eq!(site.bundle().await, []);
    let watcher = site.watcher("after").await;
    let after = site.until_bundled(1).await;
    assert_ne!(after, before);
    until_served(&servers, 2).await;
    assert_eq!(servers[0].is_trusted(&after).await, Ok(()));
    until_stamped(&shop(&site).await).await;
    assert_eq!(
        site.bundle().await,
        after,
        "the CA of before does not come back"
    );
    drop(watcher);
}
