//! Certificates that cert-manager makes: its own controllers and its own CA injector, as processes.

use std::path::{Path, PathBuf};

use restamp_test_cluster::{cert_manager, install::Process, skipped};
use serde_json::json;

use super::{
    documented::Repository,
    rotation::{Stream, until_served},
    site::{AUTHORITY_OF_CERT_MANAGER, Server, Site},
};
use crate::support::{Ground, detour::Detour, ground::SYSTEM, wait::until};

/// cert-manager on a cluster, as long as this is held.
pub struct CertManager {
    ground: Ground,
    process: Process,
}

impl CertManager {
    /// Has its CRDs served and starts it. `folder` is where it is.
    async fn start(ground: &Ground, folder: &Path) -> CertManager {
        let crds = folder.join("crds");
        let crds = crds.to_str().expect("a path in UTF-8");
        let apply = ["apply", "--server-side", "-f", crds];
        ground.kubectl(&apply).await;
        let established = ["wait", "--for=condition=Established", "--timeout=90s"];
        ground
            .kubectl(&[&established[..], &["-f", crds]].concat())
            .await;
        let log = ground.new_log("cert-manager");
        let process = cert_manager::start(folder, ground.kubeconfig(), &log);
        CertManager {
            ground: ground.clone(),
            process: process.expect("cert-manager starts"),
        }
    }

    /// On a cluster of ours that is there already; nothing where it is somebody's own.
    pub async fn beside(ground: &Ground, test: &str) -> Option<CertManager> {
        Some(Self::start(ground, &folder(test)?).await)
    }

    /// Waits until both Certificates are ready.
    pub async fn until_ready(&self) {
        for certificate in ["restamp-ca", "restamp-webhook"] {
            let status = "{.status.conditions[?(@.type==\"Ready\")].status}";
            until("the Certificate is ready", async || {
                match &self.field(certificate, status).await[..] {
                    "True" => Ok(()),
                    other => Err(format!("{other}: {}", self.process.log())),
                }
            })
            .await;
        }
    }

    /// As `cmctl renew` does, when there is nothing under way.
    pub async fn renew(&self, certificate: &str) {
        until("nothing is under way", async || {
            match self
                .field(certificate, "{.status.conditions[*].type}")
                .await
            {
                types if types == "Ready" => Ok(()),
                types => Err(types),
            }
        })
        .await;
        let now = jiff::Timestamp::now().strftime("%FT%TZ").to_string();
        let condition = json!({
            "type": "Issuing", "status": "True", "reason": "ManuallyTriggered",
            "message": "by hand", "lastTransitionTime": now,
        });
        let patch = json!([{ "op": "add", "path": "/status/conditions/-", "value": condition }]);
        let patch = patch.to_string();
        let args = ["patch", "certificate", certificate, "-n", SYSTEM];
        let how = ["--subresource=status", "--type=json", "--patch", &patch];
        self.ground.kubectl(&[&args[..], &how].concat()).await;
    }

    async fn field(&self, certificate: &str, path: &str) -> String {
        let path = format!("jsonpath={path}");
        let args = ["get", "certificate", certificate, "-n", SYSTEM, "-o", &path];
        self.ground.kubectl(&args).await
    }
}

fn folder(test: &str) -> Option<PathBuf> {
    let folder = cert_manager::folder();
    if folder.is_none() {
        skipped(format_args!(
            "{test} needs cert-manager beside a control plane of its own"
        ));
    }
    folder
}

/// Restamp on a cluster with cert-manager, as users install it, and the way on which the API server calls it.
pub struct Installed {
    pub site: Site,
    pub way: Detour,
    repository: Repository,
    cert_manager: CertManager,
}

impl Installed {
    /// Nothing where there is no cert-manager.
    pub async fn new(test: &str) -> Option<Installed> {
        let folder = folder(test)?;
        let ground = Ground::own_and_empty(test).await?;
        let cert_manager = CertManager::start(&ground, &folder).await;
        let way = Detour::to_nowhere().await;
        let repository = Repository::leading_to(&way);
        let apply = "kubectl apply -k manifests/cert-manager";
        repository.run(&ground, apply).await;
        cert_manager.until_ready().await;
        Some(Installed {
            site: Site::on(ground, "20m,10m,4s,12s").await,
            way,
            repository,
            cert_manager,
        })
    }

    /// Runs commands in the clone; gives what they printed.
    pub async fn run(&self, commands: &str) -> String {
        self.repository.run(&self.site.ground, commands).await
    }

    /// Two replicas, the first of which is called.
    pub async fn servers(&self) -> [Server; 2] {
        let servers = [
            self.site.webhook_with_mount().await,
            self.site.webhook_with_mount().await,
        ];
        for server in &servers {
            server.replica.until_ready().await;
        }
        self.way.turn(servers[0].way());
        servers
    }
}

#[tokio::test]
async fn cert_manager_makes_what_is_trusted_and_renews_it_under_load() {
    let Some(installed) = Installed::new("certificates by cert-manager").await else {
        return;
    };
    let site = &installed.site;
    // It makes the installation key.
    let watcher = site.ground.watcher("only").await;
    watcher.until_leading().await;
    let servers = installed.servers().await;
    let bundle = site.until_bundled(1).await;
    let renew = async {
        for count in 2..8 {
            installed.cert_manager.renew("restamp-webhook").await;
            until_served(&servers, count).await;
            installed.way.turn(servers[count % 2].way());
        }
        assert_eq!(site.bundle().await, bundle, "the CA is the same");

        let authority = site.entry(AUTHORITY_OF_CERT_MANAGER, "tls.crt").await;
        installed.cert_manager.renew("restamp-ca").await;
        until("there is a new CA", async || {
            let now = site.entry(AUTHORITY_OF_CERT_MANAGER, "tls.crt").await;
            (now != authority).then_some(()).ok_or("there is not")
        })
        .await;
        for count in 8..20 {
            installed.cert_manager.renew("restamp-webhook").await;
            until_served(&servers, count).await;
            installed.way.turn(servers[count % 2].way());
        }
        let both = site.until_bundled(2).await;
        assert!(both.contains(&bundle[0]), "the CA of before stays trusted");
    };
    Stream::default().during(site, &servers, renew).await;
}

#[tokio::test]
async fn beside_the_ca_injector_appliers_see_no_drift_and_keep_what_is_theirs() {
    let Some(installed) = Installed::new("appliers beside cert-manager").await else {
        return;
    };
    let site = &installed.site;
    let bundle = site.until_bundled(1).await;
    let before = site.generation().await;
    let manifests = "-k manifests/cert-manager";
    for how in [
        "",
        "--server-side",
        "--server-side --field-manager=argocd-controller",
    ] {
        let said = installed
            .run(&format!("kubectl apply {how} {manifests}"))
            .await;
        if how.is_empty() {
            let of = ["mutatingwebhookconfiguration", "certificate.", "issuer."];
            let lines = said.lines();
            let lines = lines.filter(|line| of.iter().any(|kind| line.starts_with(kind)));
            let unchanged = lines.filter(|line| line.ends_with(" unchanged"));
            assert_eq!(unchanged.count(), 5, "{said}");
        }
        let diff = installed
            .run(&format!("kubectl diff {how} {manifests}"))
            .await;
        assert_eq!(diff, "", "{how}");
        assert_eq!(site.bundle().await, bundle, "{how}");
        assert_eq!(site.generation().await, before, "{how}");
    }
    assert_eq!(site.managers_of_bundle().await, ["cert-manager-cainjector"]);

    let replace = "kubectl kustomize manifests/cert-manager | kubectl replace -f -";
    installed.run(replace).await;
    site.until_trusted_again(&bundle).await;
}
