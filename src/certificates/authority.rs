//! Makes CAs, and what they sign. ECDSA on P-256 throughout.

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;

use super::Life;

/// What the CA is called.
const AUTHORITY: &str = "restamp-webhook-ca";
/// What the server is called. Nobody reads that: the hosts count.
const SERVER: &str = "restamp-webhook";

/// A certificate and its private key, both PEM. It shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

/// Why there is no certificate. It quotes no key.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The library refuses, or the system has no randomness.
    #[error("cannot make a certificate: {0}")]
    Library(#[from] rcgen::Error),
    /// The clock is out of the range of certificates.
    #[error("cannot make a certificate that is valid until {0}; set the clock")]
    Clock(Timestamp),
}

/// Makes a CA.
///
/// # Errors
/// When the system has no randomness, or no sensible clock.
pub fn make(life: Life) -> Result<Identity, MakeError> {
    let key = KeyPair::generate()?;
    let mut params = authority();
    (params.not_before, params.not_after) = (date(life.from)?, date(life.until)?);
    let certificate = params.self_signed(&key)?.pem();
    let key = key.serialize_pem();
    Ok(Identity { certificate, key })
}

/// Has a CA, of which only the key counts, sign a certificate for a server at `hosts`, DNS names and IP addresses.
///
/// # Errors
/// When the key cannot be used, a host is neither, or the system has no randomness or no sensible clock.
pub fn issue(key: &str, hosts: &[String], life: Life) -> Result<Identity, MakeError> {
    let issuer = Issuer::new(authority(), KeyPair::from_pem(key)?);
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = named(SERVER);
    (params.not_before, params.not_after) = (date(life.from)?, date(life.until)?);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    let key = key.serialize_pem();
    Ok(Identity { certificate, key })
}

/// The same for every CA, so that one can be put together again from its key.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn date(time: Timestamp) -> Result<OffsetDateTime, MakeError> {
    OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(|_| MakeError::Clock(time))
}
