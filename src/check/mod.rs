//! `restamp check`: whether an installation works, seen from the API server.

use std::time::Duration;

use kube::Client;
use tokio::time::{Instant, sleep};

use crate::cluster::{Error, error::chain, health};

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(1);

/// What has to hold.
#[derive(Clone, Debug)]
pub enum Check {
    /// A watcher leads: somebody renews this Lease.
    Leads {
        /// Where it is.
        namespace: String,
        /// What it is called.
        lease: &'static str,
    },
    /// Every pod of this Deployment is ready.
    Ready {
        /// Where it is.
        namespace: String,
        /// What it is called.
        deployment: String,
    },
    /// What is created in this namespace is stamped.
    Stamped {
        /// Which one.
        namespace: String,
        /// The annotation that opts in.
        auto: &'static str,
    },
}

/// What one look at a check says: good, or not yet.
type Look = Result<String, String>;

impl Check {
    /// Looks until it holds; if it does not within `limit`, says why.
    ///
    /// # Errors
    /// What does not hold, and what to look at.
    pub async fn until(&self, client: &Client, limit: Duration) -> Look {
        let deadline = Instant::now() + limit;
        let mut before = None;
        loop {
            let look = self.look(client, &mut before).await;
            let look = look.unwrap_or_else(|error| Err(chain(&error)));
            if look.is_ok() || Instant::now() >= deadline {
                return look;
            }
            sleep(INTERVAL).await;
        }
    }

    /// `before` is who held the Lease at which version: clocks of machines need not agree, but a holder goes on writing.
    async fn look(
        &self,
        client: &Client,
        before: &mut Option<(String, String)>,
    ) -> Result<Look, Error> {
        Ok(match self {
            Check::Leads { namespace, lease } => {
                let now = health::holder(client, namespace, lease).await?;
                let look = leads(before.as_ref(), now.as_ref());
                *before = now;
                look.map_err(|why| format!("{why}: see the log of the watcher"))
            }
            Check::Ready {
                namespace,
                deployment,
            } => {
                let (ready, wanted) = health::ready(client, namespace, deployment).await?;
                let said = format!("{ready} of {wanted} pods of {deployment} are ready");
                match ready >= wanted {
                    true => Ok(said),
                    false => Err(format!("{said}: their log says what is missing")),
                }
            }
            Check::Stamped { namespace, auto } => {
                match health::is_stamped(client, namespace, auto).await? {
                    true => Ok(format!("what is created in {namespace} is stamped")),
                    false => Err(format!(
                        "what is created in {namespace} is not stamped: is the API server told to ask the webhook about that \
                         namespace, and does it reach and trust it?"
                    )),
                }
            }
        })
    }
}

fn leads(before: Option<&(String, String)>, now: Option<&(String, String)>) -> Look {
    match (before, now) {
        (_, None) => Err("no watcher leads".to_owned()),
        (Some((held, then)), Some((holds, version))) if held == holds && then != version => {
            Ok(format!("{holds} leads"))
        }
        (_, Some((holder, _))) => Err(format!("{holder} does not renew its Lease")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_writing_leads() {
        let record = |holder: &str, version: &str| Some((holder.to_owned(), version.to_owned()));
        let leads = |before: &Option<_>, now: &Option<_>| leads(before.as_ref(), now.as_ref());
        assert_eq!(
            leads(&record("a", "1"), &record("a", "2")),
            Ok("a leads".to_owned())
        );
        for (before, now, why) in [
            (None, None, "no watcher leads"),
            (record("a", "1"), None, "no watcher leads"),
            (None, record("a", "1"), "does not renew"),
            (record("a", "1"), record("a", "1"), "does not renew"),
            (record("a", "1"), record("b", "2"), "does not renew"),
        ] {
            assert!(leads(&before, &now).unwrap_err().contains(why));
        }
    }
}
