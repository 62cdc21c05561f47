//! What tests and the demo use of the test cluster: start one of their own and break parts of it
//! ([`SupervisedCluster`]), and run Restamp against it under its real rights ([`install`]).
//!
//! The program of this package builds and runs the cluster; this library talks to that program.

pub mod cert_manager;
mod client;
pub mod install;
pub mod kubeconfig;
mod part;
pub mod process;
mod skip;

pub use client::{Endpoints, SupervisedCluster};
pub use part::Part;
pub use skip::skipped;
