use std::{io, path::PathBuf};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server cannot be reached under this.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Host(String),
    /// A certificate or key could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// One file of a CA is there, the other is not.
    #[error(
        "{} is there without {}: bring that back, or remove the other to have a new CA made",
        present.display(),
        missing.display()
    )]
    HalfAuthority {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// The files of a CA are not what was written, or not of one CA.
    #[error(
        "the CA in {} cannot be used: {cause}; remove ca.crt and ca.key there to have a new one made, \
         which then has to be trusted anew",
        dir.display()
    )]
    UnusableAuthority {
        /// Where they are.
        dir: PathBuf,
        /// What is wrong with them.
        cause: String,
    },
    /// A file could not be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}
