//! The serving certificate: `tls.crt` and `tls.key` in a folder, picked up by their content.
//!
//! Contents are compared, not events of the file system: a Secret that is mounted changes by a link of a
//! parent folder, and a writer may be half done with one of the two files.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use prometheus::IntGauge;
use ring::digest::{SHA256, digest};
use rustls::{
    crypto::ring::default_provider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tracing::{info, warn};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::admin::Readiness;

/// The certificate and its chain, PEM.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// Its private key, PEM.
pub const KEY_FILE: &str = "tls.key";

/// How often the files are read.
const POLL: Duration = Duration::from_secs(1);
/// What a process without a valid certificate waits for.
const WAITS_FOR: &str = "certificate";

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A file holds nothing that could be served.
    #[error("{path} holds no PEM block of the right kind: {cause}")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: pem::Error,
    },
    /// The two files do not belong together, or are not for TLS.
    #[error("{CERTIFICATE_FILE} and {KEY_FILE} in {dir} cannot be used together: {cause}")]
    Pair {
        /// The folder.
        dir: PathBuf,
        /// Why.
        cause: rustls::Error,
    },
    /// The certificate is not one.
    #[error("{path} holds no X.509 certificate")]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// It is too early or too late for the certificate.
    #[error("the certificate in {path} is valid from {from} to {until} only; renew it")]
    NotValidNow {
        /// Which file.
        path: PathBuf,
        /// The first moment.
        from: Timestamp,
        /// The last moment.
        until: Timestamp,
    },
}

/// A certificate that can be served.
struct Serving {
    key: Arc<CertifiedKey>,
    /// Of both files.
    content: [u8; 32],
    until: Timestamp,
}

/// The certificate that new connections get.
pub struct Certificate {
    dir: PathBuf,
    now: fn() -> Timestamp,
    readiness: Readiness,
    serving: ArcSwapOption<Serving>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.dir.display())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.serving.load().as_ref()?.key.clone())
    }
}

impl Certificate {
    /// Serves nothing before the first [`Certificate::check`]. The process is ready while a valid
    /// certificate is served.
    pub fn new(dir: PathBuf, now: fn() -> Timestamp, readiness: Readiness) -> Self {
        readiness.waits_for(WAITS_FOR, "not read yet");
        Self {
            dir,
            now,
            readiness,
            serving: ArcSwapOption::empty(),
        }
    }

    /// Follows the files for ever.
    pub async fn follow(&self, expiry: &IntGauge) {
        let mut said = None;
        loop {
            let problem = self.check().err().map(|error| error.to_string());
            if let Some(problem) = problem.as_ref().filter(|_| problem != said) {
                warn!(error = problem, "the serving certificate cannot be used");
            }
            said = problem;
            self.report(expiry, said.as_deref());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Looks at the files, and serves what they hold if that is another, usable certificate; otherwise the
    /// one before it stays.
    ///
    /// # Errors
    /// When the files hold no certificate that is valid now.
    pub fn check(&self) -> Result<(), CertificateError> {
        let [chain, key] = [CERTIFICATE_FILE, KEY_FILE].map(|name| {
            let path = self.dir.join(name);
            std::fs::read(&path).map_err(|cause| CertificateError::File { path, cause })
        });
        let (chain, key) = (chain?, key?);
        let content = content_of(&chain, &key);
        let serving = self.serving.load();
        if serving
            .as_ref()
            .is_some_and(|serving| serving.content == content && (self.now)() <= serving.until)
        {
            return Ok(());
        }
        let (key, until) = self.parse(&chain, &key)?;
        info!(until = %until, "serving a new certificate");
        let serving = Serving {
            key: Arc::new(key),
            content,
            until,
        };
        self.serving.store(Some(Arc::new(serving)));
        Ok(())
    }

    fn parse(
        &self,
        chain: &[u8],
        key: &[u8],
    ) -> Result<(CertifiedKey, Timestamp), CertificateError> {
        let not_pem = |name: &str| {
            let path = self.dir.join(name);
            move |cause| CertificateError::Pem { path, cause }
        };
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(not_pem(CERTIFICATE_FILE))?;
        let leaf = chain
            .first()
            .ok_or(pem::Error::NoItemsFound)
            .map_err(not_pem(CERTIFICATE_FILE))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(not_pem(KEY_FILE))?;
        let until = self.valid_until(leaf)?;
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|cause| {
            CertificateError::Pair {
                dir: self.dir.clone(),
                cause,
            }
        })?;
        Ok((key, until))
    }

    fn valid_until(&self, der: &[u8]) -> Result<Timestamp, CertificateError> {
        let path = self.dir.join(CERTIFICATE_FILE);
        let malformed = || CertificateError::Malformed { path: path.clone() };
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| malformed())?;
        let validity = certificate.validity();
        let [from, until] = [validity.not_before, validity.not_after]
            .map(|time| Timestamp::from_second(time.timestamp()));
        let (Ok(from), Ok(until)) = (from, until) else {
            return Err(malformed());
        };
        let now = (self.now)();
        if from <= now && now <= until {
            Ok(until)
        } else {
            Err(CertificateError::NotValidNow { path, from, until })
        }
    }

    fn report(&self, expiry: &IntGauge, problem: Option<&str>) {
        let serving = self.serving.load();
        expiry.set(
            serving
                .as_ref()
                .map_or(0, |serving| serving.until.as_second()),
        );
        let is_valid = |serving: &Arc<Serving>| (self.now)() <= serving.until;
        match problem {
            Some(problem) if !serving.as_ref().is_some_and(is_valid) => {
                self.readiness.waits_for(WAITS_FOR, problem);
            }
            _ => self.readiness.has(WAITS_FOR),
        }
    }
}

fn content_of(chain: &[u8], key: &[u8]) -> [u8; 32] {
    let mut content = [0; 32];
    let both = [digest(&SHA256, chain), digest(&SHA256, key)];
    let both: Vec<u8> = both.iter().flat_map(|one| one.as_ref()).copied().collect();
    content.copy_from_slice(digest(&SHA256, &both).as_ref());
    content
}
