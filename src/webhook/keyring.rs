//! The installation key, kept at hand: an admission must not wait for it.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use kube::Client;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    cluster::{
        error::chain,
        key::{self, HeldKey, KeyError},
    },
    runtime::{admin::Readiness, ambient::Ambient},
    stamp::digest::{KEY_BYTES, Keyring},
};

/// How old the key may be. A stamp under the key before a rotation is still understood.
const REFRESH: Duration = Duration::from_secs(10);
/// The pause after a failure while there is no key at all.
const RETRY: Duration = Duration::from_secs(1);
/// What a process without a key waits for.
const WAITS_FOR: &str = "installation key";

/// The key of this installation, as it was a moment ago.
#[derive(Clone, Default)]
pub struct CurrentKeyring(Arc<ArcSwapOption<Keyring>>);

impl CurrentKeyring {
    /// The key; nothing if it could never be read.
    pub fn get(&self) -> Option<Arc<Keyring>> {
        self.0.load_full()
    }

    /// Reads the key, or makes it if there is none, and keeps it current for ever. The process is not
    /// ready before it has one.
    pub async fn follow(
        self,
        client: Client,
        namespace: String,
        ambient: Ambient,
        readiness: Readiness,
    ) {
        readiness.waits_for(WAITS_FOR, "not read yet");
        let mut held = None;
        let mut said = None;
        loop {
            match self
                .refresh(&client, &namespace, ambient, held.as_ref())
                .await
            {
                Ok(key) => {
                    held = Some(key);
                    said = None;
                    readiness.has(WAITS_FOR);
                }
                Err(problem) => {
                    if self.get().is_none() {
                        readiness.waits_for(WAITS_FOR, &problem);
                    }
                    if said.as_ref() != Some(&problem) {
                        warn!(
                            error = problem,
                            "cannot read the installation key; trying again"
                        );
                    }
                    said = Some(problem);
                }
            }
            sleep(if held.is_some() { REFRESH } else { RETRY }).await;
        }
    }

    async fn refresh(
        &self,
        client: &Client,
        namespace: &str,
        ambient: Ambient,
        held: Option<&HeldKey>,
    ) -> Result<HeldKey, String> {
        let mut random = [0; KEY_BYTES];
        (ambient.random)(&mut random).map_err(|error| error.to_string())?;
        let found: Result<_, KeyError> = key::read_or_create(client, namespace, random, held).await;
        let (keyring, held) = found.map_err(|error| chain(&error))?;
        let before = self.get();
        if before.is_none_or(|before| *before != keyring) {
            info!(key = %keyring.current.id(), "using installation key");
            self.0.store(Some(Arc::new(keyring)));
        }
        Ok(held)
    }
}
