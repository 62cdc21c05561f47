//! The pure core: no async, client, clock, environment, randomness or logging (a test guards that).
//!
//! ```text
//!  annotations -> Policy --+
//!                          +-> References -> (shell reads the sources) -> decide() -> Decision -> patch
//!  pod template -> usages -+                                                ^
//!  stamp + observed --------------------------------------------------------+
//! ```
//!
//! [`decide::decide`] is the one rule of the design, for workloads as they are, and
//! [`admission::Admission`] its counterpart for workloads as they are being written; everything else here
//! prepares their input or writes down their answer.

pub mod admission;
pub mod annotations;
#[cfg(test)]
pub(crate) mod arbitrary;
pub mod decide;
pub mod digest;
pub mod duration;
pub mod facts;
pub mod index;
pub mod json;
pub mod manifest;
pub mod mounts;
pub mod observed;
pub mod patch;
pub mod pattern;
pub mod pod;
pub mod policy;
pub mod reason;
pub mod references;
pub mod reloader;
pub mod scope;
pub mod selector;
pub mod settings;
pub mod source;
#[allow(clippy::module_inception)]
pub mod stamp;
pub mod warning;
