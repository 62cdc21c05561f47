//! The certificate of the webhook, and who trusts it.

use serde_json::{Value, json};

use super::{
    CERT_MANAGER, DEFAULT, SYSTEM, WEBHOOK, objects, one_of,
    pods::{container, pod},
    texts,
};
use crate::repository::help;

fn certificate(name: &str) -> Value {
    one_of(CERT_MANAGER, "Certificate", name)["spec"].clone()
}

#[test]
fn the_certificate_is_for_the_service() {
    let host = format!("{WEBHOOK}.{SYSTEM}.svc");
    let hosts = [host.clone(), format!("{host}.cluster.local")];
    let certificate = certificate(WEBHOOK);
    assert_eq!(texts(&certificate["dnsNames"]), hosts);
    assert_eq!(certificate["usages"], json!(["server auth"]));
    assert_eq!(certificate["privateKey"]["rotationPolicy"], "Always");
    for host in hosts {
        assert!(
            restamp_dev_certs::WEBHOOK_HOSTS.contains(&host.as_str()),
            "{host}"
        );
    }
}

#[test]
fn the_pods_mount_the_certificate_as_a_folder_that_is_renewed() {
    let secret = &certificate(WEBHOOK)["secretName"];
    let volume = &pod(WEBHOOK)["volumes"][0];
    assert_eq!(&volume["secret"], &json!({ "secretName": secret }));
    let mounts = container(WEBHOOK)["volumeMounts"].clone();
    let path = mounts[0]["mountPath"].as_str().unwrap();
    assert_eq!(
        mounts,
        json!([{ "name": volume["name"], "mountPath": path, "readOnly": true }])
    );
    let default = format!("[default: {path}]");
    assert!(help(&["webhook"]).contains(&default), "{default}");
}

#[test]
fn the_api_server_is_told_to_trust_what_issued_it() {
    let patch = one_of(DEFAULT, "MutatingWebhookConfiguration", "restamp");
    let annotations = &patch["metadata"]["annotations"];
    let injected = &annotations["cert-manager.io/inject-ca-from"];
    assert_eq!(injected, &format!("{SYSTEM}/{WEBHOOK}"));
    assert_eq!(objects(DEFAULT).len(), 1, "nothing else is patched");
}

#[test]
fn a_ca_that_outlives_it_issues_it() {
    let leaf = certificate(WEBHOOK);
    let issuer = |of: &Value| {
        assert_eq!(of["issuerRef"]["kind"], "Issuer");
        let name = of["issuerRef"]["name"].as_str().unwrap();
        one_of(CERT_MANAGER, "Issuer", name)["spec"].clone()
    };
    let by_ca = issuer(&leaf);
    let ca = certificate("restamp-ca");
    assert_eq!(by_ca["ca"]["secretName"], ca["secretName"]);
    assert_eq!(ca["isCA"], true);
    assert!(ca["commonName"].is_string(), "an empty issuer is invalid");
    assert_eq!(issuer(&ca), json!({ "selfSigned": {} }));
    for certificate in [leaf, ca] {
        assert_eq!(certificate["privateKey"]["algorithm"], "ECDSA");
        assert_eq!(certificate["privateKey"]["size"], 256);
    }
}
