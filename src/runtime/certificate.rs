//! The serving certificate: `tls.crt` and `tls.key` in a folder or in a Secret, picked up by their content.
//!
//! Contents are compared, not events of the file system: a Secret that is mounted changes by a link of a
//! parent folder, and a writer may be half done with one of the two files.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

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

use super::admin::Readiness;
use crate::certificates::{Life, material};

/// The file, or the entry of a Secret, with the certificate and its chain, PEM.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// The one with its private key, PEM.
pub const KEY_FILE: &str = "tls.key";

/// How often files are read.
pub const POLL: Duration = Duration::from_secs(1);
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
    /// A Secret cannot be read.
    #[error("{0}")]
    Secret(String),
    /// What was read holds nothing that could be served.
    #[error("{origin}/{file} holds no PEM block of the right kind: {cause}")]
    Pem {
        /// Where it is from.
        origin: String,
        /// Which of the two.
        file: &'static str,
        /// What is wrong.
        cause: pem::Error,
    },
    /// The two do not belong together, or are not for TLS.
    #[error("{CERTIFICATE_FILE} and {KEY_FILE} in {origin} cannot be used together: {cause}")]
    Pair {
        /// Where they are from.
        origin: String,
        /// Why.
        cause: rustls::Error,
    },
    /// The certificate is not one.
    #[error("{origin}/{CERTIFICATE_FILE} holds no X.509 certificate")]
    Malformed {
        /// Where it is from.
        origin: String,
    },
    /// It is too early or too late for the certificate.
    #[error(
        "the certificate in {origin}/{CERTIFICATE_FILE} is valid from {} to {} only; renew it",
        life.from,
        life.until
    )]
    NotValidNow {
        /// Where it is from.
        origin: String,
        /// When it is valid.
        life: Life,
    },
}

/// What was read: a certificate with its chain, and its private key, both PEM.
#[derive(Default)]
pub struct Pair {
    /// The certificate and its chain.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

impl Pair {
    /// Reads the files in a folder.
    ///
    /// # Errors
    /// When there are none.
    pub fn of_folder(dir: &Path) -> Result<Self, CertificateError> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read(&path).map_err(|cause| CertificateError::File { path, cause })
        };
        Ok(Self {
            certificate: read(CERTIFICATE_FILE)?,
            key: read(KEY_FILE)?,
        })
    }
}

/// A certificate that can be served.
struct Serving {
    key: Arc<CertifiedKey>,
    /// Of both.
    content: [u8; 32],
    until: Timestamp,
}

/// The certificate that new connections get.
pub struct Certificate {
    origin: String,
    now: fn() -> Timestamp,
    readiness: Readiness,
    serving: ArcSwapOption<Serving>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.origin)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.serving.load().as_ref()?.key.clone())
    }
}

impl Certificate {
    /// Serves nothing before the first [`Certificate::offer`]. The process is ready while a valid
    /// certificate is served. `origin` tells people where it is from.
    pub fn new(origin: String, now: fn() -> Timestamp, readiness: Readiness) -> Self {
        readiness.waits_for(WAITS_FOR, "not read yet");
        Self {
            origin,
            now,
            readiness,
            serving: ArcSwapOption::empty(),
        }
    }

    /// Serves what is read, for ever; looks again after a pause.
    pub async fn follow<F>(&self, expiry: &IntGauge, pause: Duration, read: impl Fn() -> F)
    where
        F: Future<Output = Result<Pair, CertificateError>>,
    {
        let mut said = None;
        loop {
            let problem = read().await.and_then(|pair| self.offer(&pair)).err();
            let problem = problem.map(|error| error.to_string());
            if let Some(problem) = problem.as_ref().filter(|_| problem != said) {
                warn!(error = %problem, "the serving certificate cannot be used");
            }
            said = problem;
            self.report(expiry, said.as_deref());
            tokio::time::sleep(if said.is_some() { POLL } else { pause }).await;
        }
    }

    /// Serves what was read if that is another, usable certificate; otherwise the one before it stays.
    ///
    /// # Errors
    /// When it is no certificate that is valid now.
    pub fn offer(&self, pair: &Pair) -> Result<(), CertificateError> {
        let content = content_of(pair);
        let serving = self.serving.load();
        if serving
            .as_ref()
            .is_some_and(|serving| serving.content == content && (self.now)() <= serving.until)
        {
            return Ok(());
        }
        let (key, until) = self.parse(pair)?;
        info!(until = %until, "serving a new certificate");
        let serving = Serving {
            key: Arc::new(key),
            content,
            until,
        };
        self.serving.store(Some(Arc::new(serving)));
        Ok(())
    }

    fn parse(&self, pair: &Pair) -> Result<(CertifiedKey, Timestamp), CertificateError> {
        let not_pem = |file: &'static str| {
            let origin = self.origin.clone();
            move |cause| CertificateError::Pem {
                origin,
                file,
                cause,
            }
        };
        let chain = CertificateDer::pem_slice_iter(&pair.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(not_pem(CERTIFICATE_FILE))?;
        let leaf = chain
            .first()
            .ok_or(pem::Error::NoItemsFound)
            .map_err(not_pem(CERTIFICATE_FILE))?;
        let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(not_pem(KEY_FILE))?;
        let until = self.valid_until(leaf)?;
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|cause| {
            CertificateError::Pair {
                origin: self.origin.clone(),
                cause,
            }
        })?;
        Ok((key, until))
    }

    fn valid_until(&self, certificate: &[u8]) -> Result<Timestamp, CertificateError> {
        let origin = self.origin.clone();
        match material::life(certificate) {
            None => Err(CertificateError::Malformed { origin }),
            Some(life) if !life.includes((self.now)()) => {
                Err(CertificateError::NotValidNow { origin, life })
            }
            Some(life) => Ok(life.until),
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

fn content_of(pair: &Pair) -> [u8; 32] {
    let mut content = [0; 32];
    let both = [&pair.certificate, &pair.key].map(|one| digest(&SHA256, one));
    let both: Vec<u8> = both.iter().flat_map(|one| one.as_ref()).copied().collect();
    content.copy_from_slice(digest(&SHA256, &both).as_ref());
    content
}
