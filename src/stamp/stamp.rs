//! The stamp: the one annotation on the pod template, `v1.<key id>.<digest>.<n>`.

use std::{fmt, str::FromStr};

use super::digest::{Digest, KeyId, VERSION};

/// Names the content that a pod template was rolled out for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The installation key that `digest` was made with.
    pub key: KeyId,
    /// One digest over all sources.
    pub digest: Digest,
    /// Grows with every restamp, so that content going A, B, A never selects an old ReplicaSet again.
    pub n: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}.{}.{}.{}", self.key, self.digest, self.n)
    }
}

/// A stamp that this version cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a stamp of this version ({VERSION}.<key id>.<digest>.<n>)")]
pub struct NotAStamp;

impl FromStr for Stamp {
    type Err = NotAStamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.');
        let (Some(VERSION), Some(key), Some(digest), Some(n), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(NotAStamp);
        };
        if key.is_empty() {
            return Err(NotAStamp);
        }
        let stamp = Stamp {
            key: KeyId::from_text(key),
            digest: digest.parse().map_err(|_| NotAStamp)?,
            n: n.parse().map_err(|_| NotAStamp)?,
        };
        // Only what we would write ourselves: "+7" and "007" are somebody's edit.
        (stamp.to_string() == text)
            .then_some(stamp)
            .ok_or(NotAStamp)
    }
}

/// The number at the end of a stamp of any version, and of many an edited one.
pub fn number_of(stamp: &str) -> Option<u64> {
    stamp.rsplit_once('.')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let text = "v1.0a1b2c3d.00112233445566778899aabbccddeeff.7";
        assert_eq!(text.parse::<Stamp>().unwrap().to_string(), text);
    }

    #[test]
    fn refuses_edited_truncated_and_future_stamps() {
        for text in [
            "",
            "v1",
            "v1.k.00112233445566778899aabbccddeeff",
            "v1..00112233445566778899aabbccddeeff.7",
            "v1.k.00112233445566778899aabbccddeef.7",
            "v1.k.00112233445566778899AABBCCDDEEFF.7",
            "v1.k.+0112233445566778899aabbccddeeff.7",
            "v1.k.00112233445566778899aabbccddeeff.-7",
            "v1.k.00112233445566778899aabbccddeeff.+7",
            "v1.k.00112233445566778899aabbccddeeff.007",
            "v1.k.00112233445566778899aabbccddeeff.99999999999999999999",
            "v1.k.00112233445566778899aabbccddeeff.7.8",
            "v2.k.00112233445566778899aabbccddeeff.7",
            " v1.k.00112233445566778899aabbccddeeff.7",
        ] {
            assert_eq!(text.parse::<Stamp>(), Err(NotAStamp), "{text:?}");
        }
    }
}
