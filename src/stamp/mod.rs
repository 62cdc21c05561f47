//! The pure core: no async, client, clock, environment, randomness or logging (a test guards that).
//!
//! ```text
//!  annotations -> Policy --+
//!                          +-> References -> (shell reads the sources) -> decide() -> Decision -> patch
//!  pod template -> usages -+                                                ^
//!  stamp + observed --------------------------------------------------------+
//! ```
//!
//! [`decide::decide`] is the one rule of the design; everything else here prepares its input or writes
//! down its answer.

pub mod annotations;
pub mod decide;
pub mod digest;
pub mod duration;
pub mod index;
pub mod json;
pub mod observed;
pub mod patch;
pub mod pattern;
pub mod pod;
pub mod policy;
pub mod reason;
pub mod references;
pub mod source;
#[allow(clippy::module_inception)]
pub mod stamp;
pub mod warning;
