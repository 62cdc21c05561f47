//! Releases whose certificates are made by cert-manager: its own controllers and CA injector, beside the cluster.

use std::{path::PathBuf, sync::OnceLock};

use restamp_test_cluster::{cert_manager, install::Process, skipped};
use serde_json::Value;

use super::{
    helm::{HELMS, kubeconfig, kubectl, printed, until},
    release::{Release, left_in},
};

/// The CRDs of a folder or a file, once the API server serves them.
pub fn serve(crds: &str) {
    printed(&kubectl(&["apply", "--server-side", "-f", crds]));
    let established = ["wait", "--for=condition=Established", "--timeout=90s"];
    printed(&kubectl(&[&established[..], &["-f", crds]].concat()));
}

/// Has cert-manager's CRDs served; gives where it is, or nothing on a cluster that is not ours.
pub fn served(test: &str) -> Option<&'static PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = cert_manager::folder()?;
        serve(folder.join("crds").to_str().unwrap());
        Some(folder)
    });
    if folder.is_none() {
        skipped(format_args!(
            "{test}: there is no cert-manager beside a cluster of ours"
        ));
    }
    folder.as_ref()
}

/// What is at a path of an object.
fn field(what: &[&str], path: &str) -> String {
    let path = format!("jsonpath={{{path}}}");
    printed(&kubectl(&[&["get"], what, &["-o", &path]].concat()))
}

struct Installed {
    release: Release,
    configuration: String,
}

impl Installed {
    fn new(helm: &'static str) -> Self {
        let values = ["--set", "certificates.mode=cert-manager"];
        let release = Release::install(helm, &format!("issued-{helm}"), &values);
        let configuration = release.name.clone();
        Self {
            release,
            configuration,
        }
    }

    /// What the API server trusts, and how often the configuration has changed.
    fn trusted(&self) -> (String, String) {
        let what = ["mutatingwebhookconfiguration", &self.configuration];
        let bundle = field(&what, ".webhooks[0].clientConfig.caBundle");
        (bundle, field(&what, ".metadata.generation"))
    }

    fn until_trusted(&self, cert_manager: &Process) {
        until("the CA is injected", || match self.trusted() {
            (bundle, _) if bundle.is_empty() => Err(cert_manager.log()),
            _ => Ok(()),
        });
    }

    /// The Secret of the certificate that the pods have mounted.
    fn secret(&self) -> Value {
        let webhook = self
            .release
            .home
            .get(&format!("deployment/{}-webhook", self.release.name));
        let volumes = webhook["spec"]["template"]["spec"]["volumes"].clone();
        let name = volumes[0]["secret"]["secretName"].as_str().unwrap();
        self.release.home.get(&format!("secret/{name}"))
    }
}

#[test]
fn cert_manager_makes_what_is_trusted_and_no_upgrade_changes_it() {
    let Some(folder) = served("a release with cert-manager") else {
        return;
    };
    let files = tempfile::tempdir().unwrap();
    let log = files.path().join("cert-manager.log");
    let cert_manager = cert_manager::start(folder, &kubeconfig(), &log).unwrap();
    for helm in HELMS {
        let installed = Installed::new(helm);
        installed.until_trusted(&cert_manager);
        let release = &installed.release;
        let home = ["-n", &release.home.name];
        let ready = ["wait", "certificates", "--all", "--for=condition=Ready"];
        printed(&kubectl(&[&ready[..], &home, &["--timeout=90s"]].concat()));
        let (bundle, generation) = installed.trusted();
        assert_eq!(
            installed.secret()["data"]["ca.crt"],
            bundle.as_str(),
            "{helm}"
        );

        release.upgrade(&[]);
        release.upgrade(&["--set", "reloader.logLevel=debug"]);
        assert_eq!(installed.trusted(), (bundle, generation), "{helm}");

        release.helm("uninstall", &[]);
        let expected = ["ca", "webhook-tls"].map(|it| format!("secret/{}-{it}", release.name));
        until(
            "what docs/install.md says is left, and nothing else",
            || {
                let left = left_in(&release.home.name);
                let kinds = "certificates,certificaterequests,issuers";
                let theirs = printed(&kubectl(
                    &[&["get", kinds, "-o", "name"][..], &home].concat(),
                ));
                let is_it = left == expected && theirs.is_empty();
                is_it
                    .then_some(())
                    .ok_or(format!("{helm}: {left:?}, {theirs}"))
            },
        );
    }
}
