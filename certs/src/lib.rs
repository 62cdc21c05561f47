//! The certificates of development and tests: a certificate authority (CA) in a folder or in memory,
//! and what it issues, as PEM. Nothing of this is for production.

mod authority;
mod error;
mod files;
mod trust;

pub use authority::{Authority, Identity, Validity};
pub use error::Error;
pub use time::{Duration, OffsetDateTime};

/// The names under which the API server and a developer reach the webhook.
pub const WEBHOOK_HOSTS: [&str; 4] = [
    "127.0.0.1",
    "localhost",
    "restamp-webhook.restamp-system.svc",
    "restamp-webhook.restamp-system.svc.cluster.local",
];
