//! Keyed digests of what sources hold.
//!
//! Every digest is HMAC-SHA-256 under the installation key over a length-framed encoding that starts
//! with what is being digested and where it lives, cut to 128 bits. So a digest tells nothing about the
//! content to somebody without the key, and nothing about equal content in another namespace.
//!
//! Changing an encoding here makes every digest differ: it needs a new version in [`VERSION`] and a
//! decision record, because digests of another version are adopted, not compared.

use std::{collections::BTreeMap, fmt, str::FromStr};

use ring::hmac;

use super::{
    reloader::ContentHash,
    source::{Keys, SourceId, SourceName},
};

/// The version of every encoding in this module, part of every digest and of the stamp.
pub const VERSION: &str = "v1";

/// The least number of bytes of an installation key.
pub const KEY_BYTES: usize = 32;

/// A keyed digest, 128 bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 16]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A text that is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 32 hexadecimal digits")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let canonical =
            text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(text, 16).map_err(|_| NotADigest)?;
        canonical
            .then_some(Self(number.to_be_bytes()))
            .ok_or(NotADigest)
    }
}

/// Names an installation key without telling it: eight hexadecimal digits derived from the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Box<str>);

impl KeyId {
    /// Takes what was read from a stamp or from `observed`.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// As it is written down.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes that cannot serve as an installation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an installation key has at least {KEY_BYTES} bytes; this one has {0}")]
pub struct KeyTooShort(pub usize);

/// The secret under which this installation digests.
#[derive(Clone)]
pub struct InstallationKey {
    id: KeyId,
    hmac: hmac::Key,
}

impl InstallationKey {
    /// Makes a key of random bytes.
    ///
    /// # Errors
    /// When there are fewer than [`KEY_BYTES`].
    pub fn new(bytes: &[u8]) -> Result<Self, KeyTooShort> {
        if bytes.len() < KEY_BYTES {
            return Err(KeyTooShort(bytes.len()));
        }
        Ok(Self::of(bytes))
    }

    fn of(bytes: &[u8]) -> Self {
        let hmac = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let digest = Frame::new(&hmac, "key").finish().to_string();
        let id = KeyId(digest.chars().take(8).collect());
        Self { id, hmac }
    }

    /// The name of the key, safe to write down.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The digest of `source` as a workload that uses `keys` of it sees it.
    fn source(
        &self,
        source: &SourceId,
        keys: &Keys,
        values: &BTreeMap<Box<str>, Digest>,
    ) -> Digest {
        let mut frame = Frame::new(&self.hmac, "source");
        frame.source(source);
        match keys {
            Keys::All => {
                frame.text("all").number(values.len());
                for (key, value) in values {
                    frame.text(key).digest(Some(value));
                }
            }
            Keys::Only(used) => {
                frame.text("only").number(used.len());
                for key in used {
                    frame.text(key).digest(values.get(key));
                }
            }
        }
        frame.finish()
    }

    /// One digest over a whole set of sources in `namespace`; `None` stands for an absent one.
    pub(super) fn set(
        &self,
        purpose: &str,
        namespace: &str,
        entries: &[(&SourceName, &Keys, Option<&Digest>)],
    ) -> Digest {
        let mut frame = Frame::new(&self.hmac, purpose);
        frame.text(namespace).number(entries.len());
        for (source, keys, digest) in entries {
            frame.text(source.kind.as_str()).text(&source.name);
            frame.keys(keys).digest(*digest);
        }
        frame.finish()
    }
}

impl fmt::Debug for InstallationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstallationKey({})", self.id)
    }
}

/// The key of this installation, and the one before it while a rotation is under way.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// New digests are made with this one.
    pub current: InstallationKey,
    /// Digests made with this one can still be compared.
    pub previous: Option<InstallationKey>,
}

impl Keyring {
    /// One that is no secret, for digests that nobody sees.
    pub fn blank() -> Self {
        Self {
            current: InstallationKey::of(&[0; KEY_BYTES]),
            previous: None,
        }
    }

    /// The key of that name.
    pub fn find(&self, id: &KeyId) -> Option<&InstallationKey> {
        self.keys().find(|key| key.id() == id)
    }

    fn keys(&self) -> impl Iterator<Item = &InstallationKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl PartialEq for Keyring {
    fn eq(&self, other: &Self) -> bool {
        self.keys()
            .map(InstallationKey::id)
            .eq(other.keys().map(InstallationKey::id))
    }
}

/// How a value is stored in its source. The same bytes as text and as binary are different content: pods
/// see only text values as environment variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `data` of a ConfigMap.
    Text,
    /// `binaryData` of a ConfigMap, `data` of a Secret.
    Binary,
}

impl Encoding {
    fn as_str(self) -> &'static str {
        match self {
            Encoding::Text => "text",
            Encoding::Binary => "binary",
        }
    }
}

/// One entry of a source: its data key, how it is stored, and its bytes.
pub type Value<'a> = (&'a str, Encoding, &'a [u8]);

/// What is kept of a source that was read: one digest per data key, under each key of the ring.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceDigests {
    id: SourceId,
    values: Vec<(KeyId, BTreeMap<Box<str>, Digest>)>,
    hash: Option<ContentHash>,
}

impl SourceDigests {
    /// Digests the content of a source.
    pub fn of(keyring: &Keyring, id: SourceId, content: &[Value<'_>]) -> Self {
        let under = |key: &InstallationKey| {
            let digests = content.iter().map(|(name, encoding, bytes)| {
                let mut frame = Frame::new(&key.hmac, "value");
                frame
                    .source(&id)
                    .text(name)
                    .text(encoding.as_str())
                    .bytes(bytes);
                (Box::from(*name), frame.finish())
            });
            (key.id.clone(), digests.collect())
        };
        let values = keyring.keys().map(under).collect();
        Self {
            id,
            values,
            hash: None,
        }
    }

    /// The same, with the hash that Reloader's variables hold.
    pub fn with_hash(self, content: &[Value<'_>]) -> Self {
        let hash = Some(ContentHash::of(self.id.source.kind, content));
        Self { hash, ..self }
    }

    /// The hash that Reloader's variables hold, if it was asked for.
    pub fn hash(&self) -> Option<ContentHash> {
        self.hash
    }

    /// The digest of the source for a workload that uses `keys` of it, under `key`; nothing if the
    /// source was digested under a ring without that key.
    pub fn digest(&self, key: &InstallationKey, keys: &Keys) -> Option<Digest> {
        let (_, values) = self.values.iter().find(|(id, _)| *id == key.id)?;
        Some(key.source(&self.id, keys, values))
    }

    /// The keys of `used` that the source does not have.
    pub fn missing<'a>(&'a self, used: &'a Keys) -> impl Iterator<Item = &'a str> {
        let used = match used {
            Keys::All => None,
            Keys::Only(keys) => Some(keys),
        };
        used.into_iter().flatten().map(|key| &**key).filter(|key| {
            self.values
                .iter()
                .all(|(_, values)| !values.contains_key(*key))
        })
    }
}

impl fmt::Debug for SourceDigests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceDigests({})", self.id)
    }
}

/// An encoding in which no two different inputs look alike: every part has its length before it.
struct Frame(hmac::Context);

impl Frame {
    fn new(key: &hmac::Key, purpose: &str) -> Self {
        let mut frame = Self(hmac::Context::with_key(key));
        frame.text("restamp.dev").text(VERSION).text(purpose);
        frame
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len());
        self.0.update(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn number(&mut self, number: usize) -> &mut Self {
        self.0.update(&(number as u64).to_be_bytes());
        self
    }

    fn source(&mut self, source: &SourceId) -> &mut Self {
        self.text(&source.namespace)
            .text(source.source.kind.as_str())
            .text(&source.source.name)
    }

    fn keys(&mut self, keys: &Keys) -> &mut Self {
        match keys {
            Keys::All => self.text("all"),
            Keys::Only(used) => {
                self.text("only").number(used.len());
                for key in used {
                    self.text(key);
                }
                self
            }
        }
    }

    fn digest(&mut self, digest: Option<&Digest>) -> &mut Self {
        match digest {
            Some(digest) => self.text("present").bytes(&digest.0),
            None => self.text("absent"),
        }
    }

    fn finish(self) -> Digest {
        let tag = self.0.sign();
        let mut digest = [0; 16];
        for (to, from) in digest.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        Digest(digest)
    }
}

#[cfg(test)]
mod tests;
