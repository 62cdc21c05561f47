//! What a read of a source found.

use super::Seq;
use crate::cluster::source::{Content, Version};

/// How a read of a source went.
pub(super) struct Read {
    pub(super) began: Seq,
    /// What was found; nothing if it may not be read.
    pub(super) found: Option<Content>,
}

impl Read {
    pub(super) fn version(&self) -> Option<&Version> {
        match &self.found {
            Some(Content::Present { version, .. }) => Some(version),
            _ => None,
        }
    }

    /// Whether it shows another version with the same content.
    pub(super) fn is_rewrite_of(&self, before: &Read) -> bool {
        let (Some(Content::Present { digests, .. }), Some(Content::Present { digests: same, .. })) =
            (&self.found, &before.found)
        else {
            return false;
        };
        self.version() != before.version() && digests == same
    }
}
