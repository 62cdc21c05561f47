use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::ServerName;
use time::{Duration, OffsetDateTime};

use crate::{
    Error,
    files::{self, Readers},
    trust,
};

const AUTHORITY: &str = "restamp-dev-ca";
const SERVER: &str = "restamp-dev-server";
const AUTHORITY_DAYS: i64 = 3650;

/// A certificate authority. Its private key leaves it only for a file of its own folder.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// From when.
    pub not_before: OffsetDateTime,
    /// Until when.
    pub not_after: OffsetDateTime,
}

impl Validity {
    /// From an hour ago, for clocks that are late, until `days` from now.
    pub fn for_days(days: i64) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            not_before: now - Duration::HOUR,
            not_after: now + Duration::days(days),
        }
    }
}

impl Authority {
    /// A new one, in memory.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let certificate = authority_params().self_signed(&key)?.pem();
        Ok(Self::new(certificate, key))
    }

    /// The one in `dir` (`ca.crt` and `ca.key`), which is made if it is not there.
    ///
    /// # Errors
    /// When files cannot be read or written, or are not those of one CA.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        files::make_folder(dir)?;
        let [certificate_file, key_file] = ["ca.crt", "ca.key"].map(|name| dir.join(name));
        match (files::read(&certificate_file)?, files::read(&key_file)?) {
            (Some(certificate), Some(key)) => Self::parse(certificate, &key).map_err(|cause| {
                let dir = dir.to_owned();
                Error::UnusableAuthority { dir, cause }
            }),
            (None, None) => {
                let authority = Self::generate()?;
                let key = authority.issuer.key().serialize_pem();
                files::write(&key_file, &key, Readers::Owner)?;
                files::write(&certificate_file, &authority.certificate, Readers::All)?;
                Ok(authority)
            }
            (Some(_), None) => Err(Error::HalfAuthority {
                present: certificate_file,
                missing: key_file,
            }),
            (None, Some(_)) => Err(Error::HalfAuthority {
                present: key_file,
                missing: certificate_file,
            }),
        }
    }

    fn parse(certificate: String, key: &str) -> Result<Self, String> {
        let key = KeyPair::from_pem(key).map_err(|error| format!("ca.key: {error}"))?;
        let authority = Self::new(certificate, key);
        authority.check()?;
        Ok(authority)
    }

    fn new(certificate: String, key: KeyPair) -> Self {
        let issuer = Issuer::new(authority_params(), key);
        Self {
            certificate,
            issuer,
        }
    }

    /// Whether its certificate vouches for what its key signs.
    fn check(&self) -> Result<(), String> {
        let host = "localhost";
        let sample = self
            .server(&[host], Validity::for_days(1))
            .map_err(|error| error.to_string())?;
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        trust::accepts(&self.certificate, &sample.certificate, &name)
            .map_err(|error| format!("ca.crt is not of ca.key: {error}"))
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server at `hosts`, DNS names and IP addresses.
    ///
    /// # Errors
    /// When a host is neither, or the system has no randomness.
    pub fn server(&self, hosts: &[impl AsRef<str>], validity: Validity) -> Result<Identity, Error> {
        let hosts = hosts.iter().map(|host| valid_host(host.as_ref()));
        let mut params = CertificateParams::new(hosts.collect::<Result<Vec<_>, _>>()?)?;
        params.distinguished_name = named(SERVER);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, validity)
    }

    /// A certificate for a user of the API server, in `group`.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn client(
        &self,
        user: &str,
        group: Option<&str>,
        validity: Validity,
    ) -> Result<Identity, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(user);
        if let Some(group) = group {
            let organization = DnType::OrganizationName;
            params.distinguished_name.push(organization, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, validity)
    }

    fn issue(&self, mut params: CertificateParams, validity: Validity) -> Result<Identity, Error> {
        params.not_before = validity.not_before;
        params.not_after = validity.not_after;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        let key = key.serialize_pem();
        Ok(Identity { certificate, key })
    }
}

impl Identity {
    /// Writes or replaces `NAME.crt` and `NAME.key`. Each file is there as a whole at any time, but for
    /// a moment they are not of each other.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, dir: &Path, name: &str) -> Result<(), Error> {
        let file = |ending: &str| dir.join(format!("{name}.{ending}"));
        files::write(&file("key"), &self.key, Readers::Owner)?;
        files::write(&file("crt"), &self.certificate, Readers::All)
    }
}

/// The same for every CA, so that one can be put together again from its key.
fn authority_params() -> CertificateParams {
    let validity = Validity::for_days(AUTHORITY_DAYS);
    let mut params = CertificateParams::default();
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.distinguished_name = named(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn valid_host(host: &str) -> Result<String, Error> {
    match ServerName::try_from(host) {
        Ok(_) => Ok(host.to_owned()),
        Err(_) => Err(Error::Host(host.to_owned())),
    }
}

#[cfg(test)]
mod tests;
