//! The installation key, kept at hand: an admission must not wait for it.
//!
//! It is only read here. The watcher makes it: whoever makes it anew has to know the one before, or all
//! that is recorded cannot be compared any more.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use kube::Client;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    cluster::{error::chain, key},
    runtime::admin::Readiness,
    stamp::digest::Keyring,
};

/// How old the key may be. A stamp under the key before a rotation is still understood.
const REFRESH: Duration = Duration::from_secs(10);
/// The pause after a failure while there is no key at all.
const RETRY: Duration = Duration::from_secs(1);

/// What a process waits for that has not asked for the key yet.
const WAITS_FOR: &str = "installation key";

/// The key of this installation, as it was a moment ago.
#[derive(Clone, Default)]
pub struct CurrentKeyring(Arc<ArcSwapOption<Keyring>>);

impl CurrentKeyring {
    /// The key; nothing if it could never be read.
    pub fn get(&self) -> Option<Arc<Keyring>> {
        self.0.load_full()
    }

    /// Keeps the key current for ever; what was read last stays while it cannot be read. The process is
    /// not ready before the first answer, but then in any case: most of its work needs no key.
    pub fn follow(
        self,
        client: Client,
        namespace: String,
        readiness: Readiness,
    ) -> impl Future<Output = ()> {
        readiness.waits_for(WAITS_FOR, "not read yet");
        async move { self.refresh(&client, &namespace, &readiness).await }
    }

    async fn refresh(&self, client: &Client, namespace: &str, readiness: &Readiness) {
        let mut said = None;
        loop {
            let problem = match key::read(client, namespace).await {
                Ok(keyring) => {
                    self.set(keyring);
                    None
                }
                Err(error) => Some(chain(&error)),
            };
            if let Some(problem) = problem.as_ref().filter(|_| problem != said) {
                warn!(
                    error = %problem,
                    "cannot read the installation key; trying again"
                );
            }
            said = problem;
            readiness.has(WAITS_FOR);
            sleep(if self.get().is_some() { REFRESH } else { RETRY }).await;
        }
    }

    fn set(&self, keyring: Keyring) {
        let before = self.get();
        if before.is_none_or(|before| *before != keyring) {
            info!(key = %keyring.current.id(), "using installation key");
            self.0.store(Some(Arc::new(keyring)));
        }
    }
}
