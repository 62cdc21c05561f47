//! The certificate of the webhook, and who trusts it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    BASE, BY_CERT_MANAGER, CERT_MANAGER, SELF_MANAGED, SYSTEM, WATCHER, WEBHOOK, objects, one,
    one_of,
    pods::{container, pod},
    rights::{right, rights},
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
    let patch = one_of(BY_CERT_MANAGER, "MutatingWebhookConfiguration", "restamp");
    let annotations = &patch["metadata"]["annotations"];
    let injected = &annotations["cert-manager.io/inject-ca-from"];
    assert_eq!(injected, &format!("{SYSTEM}/{WEBHOOK}"));
    let patches = objects(BY_CERT_MANAGER).len();
    assert_eq!(patches, 1, "nothing else is patched");
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

/// What a patch sets in the environment of a process.
fn variables(account: &str) -> Value {
    let patch = one_of(SELF_MANAGED, "Deployment", account);
    let container = patch["spec"]["template"]["spec"]["containers"][0].clone();
    assert_eq!(
        format!("restamp-{}", container["name"].as_str().unwrap()),
        account
    );
    let variables = container["env"].as_array().unwrap().iter();
    let pairs = variables.map(|it| (it["name"].as_str().unwrap().to_owned(), it["value"].clone()));
    pairs.collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn of_its_own_certificates_both_use_the_same_secret() {
    let secret = &certificate(WEBHOOK)["secretName"];
    let configuration = one("MutatingWebhookConfiguration", "restamp");
    let expected = json!({
        "RESTAMP_WEBHOOK_CONFIGURATION": configuration["metadata"]["name"],
        "RESTAMP_CERT_SECRET": secret,
    });
    assert_eq!(variables(WATCHER), expected);
    assert_eq!(variables(WEBHOOK), json!({ "RESTAMP_CERT_SECRET": secret }));
    let default = format!("[default: {}]", secret.as_str().unwrap());
    assert!(help(&["watcher"]).contains(&default), "{default}");
    // Nothing that the pods would wait for is mounted.
    let patch = one_of(SELF_MANAGED, "Deployment", WEBHOOK)["spec"]["template"]["spec"].clone();
    let path = &container(WEBHOOK)["volumeMounts"][0]["mountPath"];
    let mounts = &patch["containers"][0]["volumeMounts"];
    assert_eq!(mounts, &json!([{ "mountPath": path, "$patch": "delete" }]));
    let volume = &pod(WEBHOOK)["volumes"][0]["name"];
    assert_eq!(
        patch["volumes"],
        json!([{ "name": volume, "$patch": "delete" }])
    );
}

#[test]
fn for_its_own_certificates_there_are_just_the_rights_that_are_used() {
    let [watcher, webhook] = [WATCHER, WEBHOOK].map(|account| format!("{account}-certificates"));
    let group = "admissionregistration.k8s.io";
    let resource = "mutatingwebhookconfigurations";
    let configuration = ["get", "list", "watch", "patch"];
    let configuration = configuration.map(|verb| right(group, resource, verb, Some("restamp")));
    let role = one_of(SELF_MANAGED, "ClusterRole", &watcher);
    assert_eq!(rights(&role), BTreeSet::from(configuration));

    let serving = "restamp-webhook-tls";
    let of = |name| {
        let verbs = ["get", "list", "watch", "update"].into_iter();
        verbs.map(move |verb| right("", "secrets", verb, Some(name)))
    };
    let both = of(serving).chain(of("restamp-webhook-tls-ca")).collect();
    assert_eq!(rights(&one_of(SELF_MANAGED, "Role", &watcher)), both);
    let create = right("", "secrets", "create", None);
    assert!(rights(&one_of(BASE, "Role", WATCHER)).contains(&create));
    let get = right("", "secrets", "get", Some(serving));
    assert_eq!(
        rights(&one_of(SELF_MANAGED, "Role", &webhook)),
        [get].into()
    );

    for (kind, name, account) in [
        ("ClusterRole", &watcher, WATCHER),
        ("Role", &watcher, WATCHER),
        ("Role", &webhook, WEBHOOK),
    ] {
        let binding = one_of(SELF_MANAGED, &format!("{kind}Binding"), name);
        assert_eq!(binding["roleRef"]["kind"], kind);
        assert_eq!(&binding["roleRef"]["name"], name);
        let subject = json!([{ "kind": "ServiceAccount", "name": account, "namespace": SYSTEM }]);
        assert_eq!(binding["subjects"], subject);
    }
}
