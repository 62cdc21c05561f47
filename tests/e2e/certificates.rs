//! Certificates that Restamp makes itself, on a real API server and with the rights that the manifests give.

mod configuration;
mod problems;
mod rotation;
mod site;
