//! Certificates that Restamp makes itself, or cert-manager does, on a real API server and with the rights that the
//! manifests give.

pub mod cert_manager;
mod configuration;
pub mod documented;
mod mount;
mod moves;
pub mod problems;
pub mod rotation;
pub mod site;
