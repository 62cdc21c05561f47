//! Whether a client that trusts a CA accepts a server.

use std::sync::Arc;

use rustls::{
    CertificateError, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// Says why a client would refuse it; `authority` and `certificate` are PEM.
pub(crate) fn accepts(
    authority: &str,
    certificate: &str,
    host: &ServerName<'_>,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(parse(authority)?)?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let certificate = parse(certificate)?;
    verifier
        .verify_server_cert(&certificate, &[], host, &[], UnixTime::now())
        .map(drop)
}

fn parse(pem: &str) -> Result<CertificateDer<'static>, rustls::Error> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))
}
