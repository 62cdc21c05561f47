use std::fs;

use rustls::{
    CertificateError, Error as TlsError,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use tempfile::TempDir;

use super::*;
use crate::WEBHOOK_HOSTS;

fn accepted(
    authority: &Authority,
    identity: &Identity,
    host: &str,
) -> Result<(), CertificateError> {
    let host = ServerName::try_from(host).unwrap();
    match trust::accepts(authority.certificate(), &identity.certificate, &host) {
        Ok(()) => Ok(()),
        Err(TlsError::InvalidCertificate(why)) => Err(why),
        Err(other) => panic!("{other}"),
    }
}

fn match_each_other(certificate: &str, key: &str) -> bool {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    CertifiedKey::from_der(vec![certificate], key, &default_provider()).is_ok()
}

/// Valid between these hours from now.
fn hours(from: i64, until: i64) -> Validity {
    let now = OffsetDateTime::now_utc();
    Validity {
        not_before: now + Duration::hours(from),
        not_after: now + Duration::hours(until),
    }
}

#[test]
fn a_server_is_accepted_under_its_hosts_alone() {
    let authority = Authority::generate().unwrap();
    let identity = authority.server(&WEBHOOK_HOSTS, hours(-1, 1)).unwrap();
    for host in WEBHOOK_HOSTS {
        assert_eq!(accepted(&authority, &identity, host), Ok(()), "{host}");
    }
    for other in ["127.0.0.2", "restamp-webhook.default.svc"] {
        let why = accepted(&authority, &identity, other).unwrap_err();
        let unnamed = matches!(why, CertificateError::NotValidForNameContext { .. });
        assert!(unnamed, "{other}: {why:?}");
    }
}

#[test]
fn an_expired_or_later_certificate_is_refused_for_that() {
    let authority = Authority::generate().unwrap();
    let expired = authority.server(&["localhost"], hours(-2, -1)).unwrap();
    let why = accepted(&authority, &expired, "localhost").unwrap_err();
    assert!(
        matches!(why, CertificateError::ExpiredContext { .. }),
        "{why:?}"
    );
    let later = authority.server(&["localhost"], hours(1, 2)).unwrap();
    let why = accepted(&authority, &later, "localhost").unwrap_err();
    assert!(
        matches!(why, CertificateError::NotValidYetContext { .. }),
        "{why:?}"
    );
}

#[test]
fn a_server_of_another_authority_is_refused() {
    let [one, other] = [(); 2].map(|()| Authority::generate().unwrap());
    let identity = other.server(&["localhost"], hours(-1, 1)).unwrap();
    assert!(accepted(&one, &identity, "localhost").is_err());
}

#[test]
fn a_client_is_no_server() {
    let authority = Authority::generate().unwrap();
    let client = authority
        .client("user", Some("group"), hours(-1, 1))
        .unwrap();
    assert!(match_each_other(&client.certificate, &client.key));
    let server = authority.server(&["localhost"], hours(-1, 1)).unwrap();
    assert!(!match_each_other(&server.certificate, &client.key));
    assert!(accepted(&authority, &client, "localhost").is_err());
}

#[test]
fn what_is_no_host_is_named() {
    let authority = Authority::generate().unwrap();
    for host in [
        "",
        "two words",
        "https://localhost",
        "localhost:9443",
        "grün",
    ] {
        let error = authority.server(&["localhost", host], hours(-1, 1)).err();
        let said = error.unwrap().to_string();
        assert_eq!(
            said,
            format!("{host:?} is neither a DNS name nor an IP address")
        );
    }
}

#[test]
fn an_authority_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("new/folder");
    let first = Authority::open(&below).unwrap();
    let second = Authority::open(&below).unwrap();
    assert_eq!(first.certificate(), second.certificate());
    assert_eq!(
        fs::read_to_string(below.join("ca.crt")).unwrap(),
        first.certificate()
    );
    let identity = second.server(&["localhost"], hours(-1, 1)).unwrap();
    assert_eq!(accepted(&first, &identity, "localhost"), Ok(()));
}

#[test]
fn an_identity_is_written_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::generate().unwrap();
    for _ in 0..2 {
        let identity = authority.server(&["localhost"], hours(-1, 1)).unwrap();
        identity.write(dir.path(), "tls").unwrap();
        let read = |name| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("tls.crt"), identity.certificate);
        assert_eq!(read("tls.key"), identity.key);
        assert!(match_each_other(&read("tls.crt"), &read("tls.key")));
    }
}

/// What is said about a CA after its folder was changed.
fn refusal(change: impl FnOnce(&TempDir)) -> String {
    let dir = tempfile::tempdir().unwrap();
    Authority::open(dir.path()).unwrap();
    change(&dir);
    let said = Authority::open(dir.path()).err().unwrap().to_string();
    said.replace(dir.path().to_str().unwrap(), "DIR")
}

#[test]
fn half_an_authority_is_not_taken_for_none() {
    for (present, missing) in [("ca.crt", "ca.key"), ("ca.key", "ca.crt")] {
        let said = refusal(|dir| fs::remove_file(dir.path().join(missing)).unwrap());
        let expected = format!("DIR/{present} is there without DIR/{missing}: ");
        assert!(said.starts_with(&expected), "{said}");
    }
}

#[test]
fn a_corrupt_authority_is_refused() {
    let other = Authority::generate().unwrap();
    for (file, content) in [
        ("ca.crt", ""),
        (
            "ca.crt",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        ("ca.crt", other.certificate()),
        ("ca.key", "not a key"),
        ("ca.key", &other.issuer.key().serialize_pem()),
    ] {
        let said = refusal(|dir| fs::write(dir.path().join(file), content).unwrap());
        let expected = format!("the CA in DIR cannot be used: {file}");
        let either = "the CA in DIR cannot be used: ca.crt is not of ca.key: ";
        assert!(
            said.starts_with(&expected) || said.starts_with(either),
            "{said}"
        );
    }
}
