//! A release goes from one way to certificates to another, as the table in docs/install.md says.

use restamp_dev_certs::{Authority, Validity};
use serde_json::{Value, json};

use super::{
    cert_manager,
    helm::{HELMS, kubeconfig, kubectl, until},
    release::Release,
    started::Started,
};

/// The Secret of each mode.
const GIVEN: &str = "given-by-us";
const ISSUED: &str = "issued";
const MADE: &str = "made-by-restamp";

/// A release, and the CA that its user gives it.
struct Moving {
    release: Release,
    authority: Authority,
}

impl Moving {
    /// Installs it with certificates of the user's.
    fn install(helm: &'static str) -> Self {
        let release = Release::prepare(helm, &format!("moves-{helm}"));
        let moving = Self {
            release,
            authority: Authority::generate().unwrap(),
        };
        moving.give_secret();
        let values = moving.given_values();
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let install = [&["charts/restamp"], &values[..]].concat();
        moving.release.helm("install", &install);
        moving
    }

    fn give_secret(&self) {
        let host = format!(
            "{}-webhook.{}.svc",
            self.release.name, self.release.home.name
        );
        let identity = self
            .authority
            .server(&[host], Validity::for_days(1))
            .unwrap();
        let data = json!({ "tls.crt": identity.certificate, "tls.key": identity.key });
        let metadata = json!({ "name": GIVEN, "namespace": self.release.home.name });
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "stringData": data,
        });
        self.release.home.apply(&secret, &[]);
    }

    fn given_values(&self) -> Vec<String> {
        let file = self.release.home.folder().join("ca.crt");
        std::fs::write(&file, self.authority.certificate()).unwrap();
        let ca = format!("certificates.caBundle={}", file.display());
        let values = format!("certificates.mode=provided,certificates.secretName={GIVEN}");
        ["--set", &values, "--set-file", &ca]
            .map(str::to_owned)
            .into()
    }

    fn go_to(&self, mode: &str, secret: &str) {
        let values = format!(
            "certificates.mode={mode},certificates.secretName={secret},certificates.caBundle="
        );
        self.release.upgrade(&["--set", &values]);
    }

    /// Waits until the API server trusts the CA in a Secret.
    fn until_trusted(&self, secret: &str, watcher: Option<&Started>) {
        until("the API server trusts it", || {
            let ca = self.ca(secret)?;
            let bundle = self.bundle();
            let log = watcher.map(|it| it.process.log());
            bundle
                .contains(&ca)
                .then_some(())
                .ok_or(format!("{secret}: {bundle}\n{log:?}"))
        });
    }

    /// The certificate of a CA, PEM.
    fn ca(&self, secret: &str) -> Result<String, String> {
        let get = [
            "get",
            "secret",
            secret,
            "-n",
            &self.release.home.name,
            "-o",
            "json",
        ];
        let output = kubectl(&get);
        let secret: Value =
            serde_json::from_slice(&output.stdout).map_err(|_| format!("{output:?}"))?;
        Ok(text(&secret["data"]["ca.crt"]).trim().to_owned())
    }

    fn bundle(&self) -> String {
        let what = format!("mutatingwebhookconfiguration/{}", self.release.name);
        text(&self.release.home.get(&what)["webhooks"][0]["clientConfig"]["caBundle"])
    }
}

/// What is in base64.
fn text(encoded: &Value) -> String {
    let bytes: Option<k8s_openapi::ByteString> = serde_json::from_value(encoded.clone()).unwrap();
    String::from_utf8(bytes.map(|it| it.0).unwrap_or_default()).unwrap()
}

#[test]
fn a_release_goes_from_each_way_to_certificates_to_the_others() {
    let Some(folder) = cert_manager::served("a release that goes to cert-manager and back") else {
        return;
    };
    let files = tempfile::tempdir().unwrap();
    let log = files.path().join("cert-manager.log");
    let _cert_manager =
        restamp_test_cluster::cert_manager::start(folder, &kubeconfig(), &log).unwrap();
    for helm in HELMS {
        let moving = Moving::install(helm);
        let ours = moving.authority.certificate();
        assert_eq!(moving.bundle(), ours, "{helm}");

        // Without its being deleted first: another name is given.
        moving.go_to("self-managed", MADE);
        let watcher = Started::new(&moving.release, "watcher", &[]);
        moving.until_trusted(&format!("{MADE}-ca"), Some(&watcher));
        assert!(!moving.bundle().contains(ours), "{helm}");
        drop(watcher);

        moving.go_to("cert-manager", ISSUED);
        moving.until_trusted(ISSUED, None);
        // What is trusted goes on to be, until its user says otherwise.
        moving.until_trusted(&format!("{MADE}-ca"), None);

        moving.go_to("self-managed", MADE);
        let watcher = Started::new(&moving.release, "watcher", &[]);
        moving.until_trusted(&format!("{MADE}-ca"), Some(&watcher));
        drop(watcher);

        let values = moving.given_values();
        let mut values: Vec<_> = values.iter().map(String::as_str).collect();
        if helm == HELMS[0] {
            values.push("--force-conflicts");
        }
        moving.release.upgrade(&values);
        assert_eq!(moving.bundle(), ours, "{helm}");
    }
}
