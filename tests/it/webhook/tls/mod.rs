//! The webhook's HTTPS server: its certificates, its connections, its end.

mod certificate;
mod client;
mod files;
mod process;
mod swap;

pub use client::{Connection, Pair, Pki, leaf};
pub use files::Files;
