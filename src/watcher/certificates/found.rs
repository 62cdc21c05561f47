//! What there is of certificates, what it means, and for how long it has been seen.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::LONGEST;
use crate::{
    certificates::{
        material::{self, Certificates},
        step::{Facts, Issuer, Serving},
    },
    cluster::certificates::{Configuration, Stored},
    runtime::certificate::{CERTIFICATE_FILE, KEY_FILE},
};

/// The entries of the CA's Secret.
pub const AUTHORITY_CERTIFICATE: &str = "ca.crt";
pub const AUTHORITY_KEY: &str = "ca.key";
/// CAs of before that are still to be trusted.
pub const BEFORE: &str = "previous.crt";

/// How often somebody may change the `caBundle` before it is put back more and more slowly.
const PATIENCE: u32 = 4;
/// How slowly at last.
const SLOWEST: Duration = Duration::from_secs(60);

/// What there is.
pub struct Found {
    pub configuration: Configuration,
    pub hosts: Vec<String>,
    pub authority: Option<Stored>,
    pub serving: Option<Stored>,
}

/// What that means.
pub struct Held {
    pub authority: Option<material::Authority>,
    before: Certificates,
    serving: Option<material::Serving>,
}

/// Since when things have been seen as they are, by a clock that nobody can set.
#[derive(Default)]
pub struct Seen {
    published: Option<(State, Instant)>,
    serving: Option<(Vec<u8>, Instant)>,
    put: Option<(u32, Instant)>,
}

type State = (Option<String>, Option<i64>);

impl Found {
    pub fn held(&self) -> Held {
        let of_authority = |name| entry(self.authority.as_ref(), name);
        let of_serving = |name| entry(self.serving.as_ref(), name);
        Held {
            authority: material::authority(
                of_authority(AUTHORITY_CERTIFICATE),
                of_authority(AUTHORITY_KEY),
            ),
            before: material::certificates(of_authority(BEFORE)),
            serving: material::serving(of_serving(CERTIFICATE_FILE), of_serving(KEY_FILE)),
        }
    }

    pub fn facts(&self, held: &Held, seen: &mut Seen, now: Timestamp) -> Facts {
        let bundle = material::pem(&held.trusted());
        let mut webhooks = self.configuration.webhooks.iter();
        let published = webhooks.all(|webhook| webhook.bundle == bundle.as_bytes());
        let state = published.then(|| self.configuration.state.clone());
        let certificate = held.serving.as_ref().map(|it| it.certificate.clone());
        let [published, serving_for] = [
            age(&mut seen.published, state),
            age(&mut seen.serving, certificate),
        ];
        Facts {
            now,
            authority: held.authority.as_ref().map(|authority| authority.life),
            overlaps: !held.before.is_empty(),
            published,
            serving: held.serving.as_ref().map(|serving| Serving {
                life: serving.life,
                issuer: held.issuer(serving),
                fits: self
                    .hosts
                    .iter()
                    .all(|host| material::is_for(serving, host)),
                seen: serving_for.unwrap_or_default(),
            }),
        }
    }

    /// Whoever may be trusted at this moment, wherever that is written.
    pub fn trusted_so_far(&self, held: &Held) -> Certificates {
        let mut trusted = held.trusted();
        let keyless = entry(self.authority.as_ref(), AUTHORITY_CERTIFICATE);
        trusted.extend(material::certificates(keyless));
        for webhook in &self.configuration.webhooks {
            trusted.extend(material::certificates(&webhook.bundle));
        }
        trusted
    }
}

impl Held {
    pub fn trusted(&self) -> Certificates {
        let mut trusted = self.signers();
        trusted.extend(self.before.iter().cloned());
        trusted
    }

    /// The CA that signs, if there is one.
    fn signers(&self) -> Certificates {
        let authority = self.authority.iter();
        authority.map(|it| it.certificate.clone()).collect()
    }

    fn issuer(&self, serving: &material::Serving) -> Issuer {
        if material::has_signed(&self.signers(), serving) {
            Issuer::Authority
        } else if material::has_signed(&self.before, serving) {
            Issuer::Before
        } else {
            Issuer::Unknown
        }
    }
}

impl Seen {
    /// Whether the `caBundle` may be written now. Whoever keeps changing it is not fought at full speed.
    pub fn may_put(&self) -> bool {
        let Some((count, last)) = self.put else {
            return true;
        };
        let doubled = count.saturating_sub(PATIENCE).min(6);
        let pause = Duration::from_secs((1 << doubled) - 1).min(SLOWEST);
        last.elapsed() >= pause
    }

    /// It was written.
    pub fn was_put(&mut self) {
        let lately = self.put.filter(|(_, last)| last.elapsed() <= LONGEST);
        let count = lately.map_or(0, |(count, _)| count);
        self.put = Some((count.saturating_add(1), Instant::now()));
    }
}

/// For how long something has been the same; nothing if it is not there.
fn age<T: PartialEq>(seen: &mut Option<(T, Instant)>, now: Option<T>) -> Option<Duration> {
    let Some(now) = now else {
        *seen = None;
        return None;
    };
    let (_, since) = match seen.take() {
        Some((before, since)) if before == now => seen.insert((now, since)),
        _ => seen.insert((now, Instant::now())),
    };
    Some(since.elapsed())
}

fn entry<'a>(stored: Option<&'a Stored>, name: &str) -> &'a [u8] {
    let value = stored.and_then(|stored| stored.data.get(name));
    value.map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_seen_ages_until_it_changes() {
        let mut seen = None;
        for (now, expected) in [
            (Some(1), Some(0)),
            (Some(1), Some(1)),
            (Some(2), Some(0)),
            (None, None),
            (Some(2), Some(0)),
            (Some(2), Some(1)),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(age(&mut seen, now), expected, "{now:?}");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_bundle_is_put_back_at_once_and_then_more_and_more_slowly() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let mut times = Vec::new();
        while times.len() < 12 {
            if seen.may_put() {
                seen.was_put();
                times.push(start.elapsed().as_secs());
            } else {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        }
        assert_eq!(times, [0, 0, 0, 0, 0, 1, 4, 11, 26, 57, 117, 177]);
        tokio::time::advance(LONGEST + Duration::from_secs(1)).await;
        for _ in 0..=PATIENCE {
            assert!(seen.may_put(), "it is forgotten");
            seen.was_put();
        }
    }
}
