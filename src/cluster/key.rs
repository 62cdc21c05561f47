//! The installation key: a Secret, made once by whoever comes first.
//!
//! To rotate it, move `key` to `previous-key` and put new random bytes into `key`: digests under the
//! previous key can still be compared, and are re-made without a rollout.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client};

use super::{Error, as_us, error::Request};
use crate::stamp::{
    digest::{InstallationKey, KEY_BYTES, KeyTooShort, Keyring},
    source::{SourceId, SourceKind, SourceName},
};

/// The name of the Secret.
pub const SECRET: &str = "restamp-key";
/// The data key of the key that new digests are made with.
const CURRENT: &str = "key";
/// The data key of the key before it.
const PREVIOUS: &str = "previous-key";

/// Why there is no installation key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The Secret could not be read or made.
    #[error(transparent)]
    Cluster(#[from] Error),
    /// The Secret holds no usable key.
    #[error(
        "Secret {namespace}/{SECRET} holds no usable {field:?}: {cause}; put {KEY_BYTES} random bytes \
         there, or delete the Secret to have a new one made (workloads are then adopted, not restarted)"
    )]
    Unusable {
        /// Where it is.
        namespace: String,
        /// Which entry is bad.
        field: &'static str,
        /// What is wrong with it.
        cause: KeyTooShort,
    },
}

/// The Secret, as a source that is watched like any other.
pub fn secret(namespace: &str) -> SourceId {
    SourceName::new(SourceKind::Secret, SECRET).within(namespace)
}

/// Reads the keyring.
///
/// # Errors
/// When the Secret cannot be read ([`Error::NotFound`] if there is none) or holds no key.
pub async fn read(client: &Client, namespace: &str) -> Result<Keyring, KeyError> {
    let (keyring, _) = parse(namespace, get(client, namespace).await?)?;
    Ok(keyring)
}

/// Reads the keyring; if there is none, makes one of `random` bytes, and keeps `held`, the key that this
/// process has been using, as the previous one.
///
/// # Errors
/// As [`read`], and when the Secret cannot be made.
pub async fn read_or_create(
    client: &Client,
    namespace: &str,
    random: [u8; KEY_BYTES],
    held: Option<&HeldKey>,
) -> Result<(Keyring, HeldKey), KeyError> {
    let secret = match get(client, namespace).await {
        Err(Error::NotFound { .. }) => match create(client, namespace, random, held).await {
            // Another replica was quicker: its key is the key.
            Err(Error::AlreadyExists { .. }) => get(client, namespace).await?,
            made => made?,
        },
        found => found?,
    };
    parse(namespace, secret)
}

/// The bytes of the key in use, so that a deleted Secret can be made again without forgetting it.
pub struct HeldKey(Vec<u8>);

impl std::fmt::Debug for HeldKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HeldKey")
    }
}

fn api(client: &Client, namespace: &str) -> Api<Secret> {
    Api::namespaced(client.clone(), namespace)
}

async fn get(client: &Client, namespace: &str) -> Result<Secret, Error> {
    Request::object("get", "secrets", namespace, SECRET)
        .send(api(client, namespace).get(SECRET))
        .await
}

async fn create(
    client: &Client,
    namespace: &str,
    random: [u8; KEY_BYTES],
    held: Option<&HeldKey>,
) -> Result<Secret, Error> {
    let mut data = BTreeMap::from([(CURRENT.to_owned(), ByteString(random.to_vec()))]);
    if let Some(held) = held {
        data.insert(PREVIOUS.to_owned(), ByteString(held.0.clone()));
    }
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..Secret::default()
    };
    Request::object("create", "secrets", namespace, SECRET)
        .send(api(client, namespace).create(&as_us(), &secret))
        .await
}

fn parse(namespace: &str, secret: Secret) -> Result<(Keyring, HeldKey), KeyError> {
    let mut data = secret.data.unwrap_or_default();
    let key = |field: &'static str, bytes: &[u8]| {
        let unusable = |cause| KeyError::Unusable {
            namespace: namespace.to_owned(),
            field,
            cause,
        };
        InstallationKey::new(bytes).map_err(unusable)
    };
    let held = data.remove(CURRENT).unwrap_or_default().0;
    let keyring = Keyring {
        current: key(CURRENT, &held)?,
        previous: data
            .get(PREVIOUS)
            .map(|bytes| key(PREVIOUS, &bytes.0))
            .transpose()?,
    };
    Ok((keyring, HeldKey(held)))
}
