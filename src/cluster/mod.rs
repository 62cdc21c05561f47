//! The only code that talks to the API server.
//!
//! Nothing here decides anything: it reads objects into the types of [`crate::stamp`], and writes what
//! was decided. Payloads of sources are digested where they are received and go no further.

pub mod certificates;
pub mod client;
mod cron_job;
pub mod csi;
pub mod discovery;
pub mod error;
pub mod events;
pub mod health;
pub mod job;
pub mod key;
pub mod kind;
pub mod lease;
pub mod meta_info;
pub mod namespace;
pub mod reloader;
pub mod right;
pub mod source;
pub mod workload;

pub use error::Error;
use kube::api::{PatchParams, PostParams};

/// The field manager of every write, and the component of every Event.
pub const FIELD_MANAGER: &str = "restamp";

/// Creates and replaces as our field manager.
fn as_us() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// Patches as our field manager.
fn patch_as_us() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// A resource version as a number, to tell what came first: they can be compared since Kubernetes 1.35
/// (KEP-5504), and could be in practice before. Nothing if it is not a number.
pub fn version_number(resource_version: &str) -> Option<u64> {
    resource_version.parse().ok()
}
