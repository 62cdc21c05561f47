//! What certificates and keys are, as far as they are.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustls::{
    RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::Life;

/// Certificates, DER. The layout of their PEM does not count.
pub type Certificates = BTreeSet<Vec<u8>>;

/// A CA with its key.
pub struct Authority {
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// Its private key, PEM.
    pub key: String,
    /// When it is valid.
    pub life: Life,
}

/// A certificate of a server, whose key is there.
pub struct Serving {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// When it is valid.
    pub life: Life,
}

/// When a certificate is valid; nothing if it is none.
pub fn life(certificate: &[u8]) -> Option<Life> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    let [from, until] = [validity.not_before, validity.not_after]
        .map(|time| Timestamp::from_second(time.timestamp()).ok());
    Some(Life {
        from: from?,
        until: until?,
    })
}

/// The certificates in PEM; what is none is left out.
pub fn certificates(pem: &[u8]) -> Certificates {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .map(|certificate| certificate.to_vec())
        .filter(|certificate| life(certificate).is_some())
        .collect()
}

/// Certificates as PEM.
pub fn pem(certificates: &Certificates) -> String {
    let mut pem = String::new();
    for certificate in certificates {
        pem += "-----BEGIN CERTIFICATE-----\n";
        for (at, letter) in STANDARD.encode(certificate).chars().enumerate() {
            if at > 0 && at.is_multiple_of(64) {
                pem.push('\n');
            }
            pem.push(letter);
        }
        pem += "\n-----END CERTIFICATE-----\n";
    }
    pem
}

/// The CA that these are; nothing if they are not of one CA.
pub fn authority(certificate: &[u8], key: &[u8]) -> Option<Authority> {
    let (certificate, life) = pair(certificate, key)?;
    let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
    parsed.is_ca().then_some(())?;
    Some(Authority {
        key: String::from_utf8(key.to_vec()).ok()?,
        certificate,
        life,
    })
}

/// The serving certificate that these are; nothing if they do not fit together.
pub fn serving(certificate: &[u8], key: &[u8]) -> Option<Serving> {
    let (certificate, life) = pair(certificate, key)?;
    Some(Serving { certificate, life })
}

fn pair(certificate: &[u8], key: &[u8]) -> Option<(Vec<u8>, Life)> {
    let certificate = CertificateDer::from_pem_slice(certificate).ok()?;
    let (der, life) = (certificate.to_vec(), life(&certificate)?);
    let key = PrivateKeyDer::from_pem_slice(key).ok()?;
    CertifiedKey::from_der(vec![certificate], key, &default_provider()).ok()?;
    Some((der, life))
}

/// Whether one of these CAs has signed a certificate. Whether they are valid now is another question.
pub fn has_signed(authorities: &Certificates, serving: &Serving) -> bool {
    let mut roots = RootCertStore::empty();
    let authorities = authorities.iter().cloned().map(CertificateDer::from);
    roots.add_parsable_certificates(authorities);
    let algorithms = default_provider().signature_verification_algorithms.all;
    let seconds = u64::try_from(serving.life.from.as_second()).unwrap_or_default();
    let then = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let certificate = CertificateDer::from(&*serving.certificate);
    ParsedCertificate::try_from(&certificate).is_ok_and(|certificate| {
        let none = &[];
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots, none, then, algorithms)
            .is_ok()
    })
}

/// Whether a certificate is for a server at `host`, a DNS name or an IP address.
pub fn is_for(serving: &Serving, host: &str) -> bool {
    let certificate = CertificateDer::from(&*serving.certificate);
    let (Ok(certificate), Ok(name)) = (
        ParsedCertificate::try_from(&certificate),
        ServerName::try_from(host),
    ) else {
        return false;
    };
    verify_server_name(&certificate, &name).is_ok()
}

#[cfg(test)]
mod tests;
