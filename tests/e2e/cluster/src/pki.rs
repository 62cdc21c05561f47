//! The certificates of one cluster.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use restamp_test_cluster::kubeconfig::write_private;
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};

/// A certificate authority whose files are in one folder.
pub(crate) struct Pki {
    dir: PathBuf,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let mut params = params("restamp-test-ca", None, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        write_private(&dir.join("ca.crt"), ca.pem())?;
        let dir = dir.to_owned();
        Ok(Self { dir, ca })
    }

    /// A certificate for a server at `hosts`, in `NAME.crt` and `NAME.key`.
    pub(crate) fn server(&self, name: &str, hosts: &[&str]) -> Result<()> {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        let params = params(name, None, hosts)?;
        self.issue(name, params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a user, in `NAME.crt` and `NAME.key`.
    pub(crate) fn client(&self, name: &str, user: &str, group: Option<&str>) -> Result<()> {
        let params = params(user, group, Vec::new())?;
        self.issue(name, params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A key pair without a certificate, in `NAME.key` and `NAME.pub`.
    pub(crate) fn keys(&self, name: &str) -> Result<()> {
        let keys = KeyPair::generate()?;
        write_private(&self.dir.join(format!("{name}.pub")), keys.public_key_pem())?;
        self.write_key(name, &keys)
    }

    fn issue(
        &self,
        name: &str,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<()> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let keys = KeyPair::generate()?;
        let certificate = params
            .signed_by(&keys, &self.ca)
            .with_context(|| format!("cannot make the certificate of {name}"))?;
        write_private(&self.dir.join(format!("{name}.crt")), certificate.pem())?;
        self.write_key(name, &keys)
    }

    fn write_key(&self, name: &str, keys: &KeyPair) -> Result<()> {
        write_private(&self.dir.join(format!("{name}.key")), keys.serialize_pem())
    }
}

fn params(name: &str, group: Option<&str>, hosts: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        let organization = DnType::OrganizationName;
        params.distinguished_name.push(organization, group);
    }
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::HOUR;
    params.not_after = now + Duration::days(365);
    Ok(params)
}
