//! Looks after the certificates of the webhook, while this replica leads.
//!
//! Level-triggered as all the rest: whatever happens wakes the same look at what there is, which takes one step.

use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use kube::Client;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

use super::Settings;
use crate::{
    certificates::{
        Times,
        authority::{self, MakeError},
        material::{self, Certificates},
        step::{self, Facts, Issuer, Reason, Serving, Step},
    },
    cluster::{
        certificates::{self as door, Configuration, Data, Stored},
        error::{Error, chain},
    },
    runtime::{
        admin::Readiness,
        certificate::{CERTIFICATE_FILE, KEY_FILE},
        metrics::{CertificateMetrics, WatcherMetrics},
    },
};

/// The entries of the CA's Secret.
const AUTHORITY_CERTIFICATE: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
/// CAs of before that are still to be trusted.
const BEFORE: &str = "previous.crt";

/// What a process waits for that cannot look after certificates.
const WAITS_FOR: &str = "certificates";
/// How soon after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How long nothing is looked at while nothing happens.
const LONGEST: Duration = Duration::from_secs(600);
/// How often somebody may change the `caBundle` before it is put back more and more slowly.
const PATIENCE: u32 = 4;
/// How slowly at last.
const SLOWEST: Duration = Duration::from_secs(60);

/// What is to be looked after.
#[derive(Clone, Debug)]
pub struct Managed {
    /// The name of the MutatingWebhookConfiguration.
    pub configuration: String,
    /// The name of the Secret with the serving certificate. That of the CA is `-ca` longer.
    pub secret: String,
    /// How long things last.
    pub times: Times,
}

/// Why certificates cannot be looked after.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Cluster(#[from] Error),
    #[error(transparent)]
    Make(#[from] MakeError),
    #[error(
        "Secret {namespace}/{name} was not made by Restamp (it lacks the label {}) and is not touched: delete it, or have \
         Restamp use another one by --cert-secret",
        door::MARK
    )]
    NotOurs { namespace: String, name: String },
    #[error(
        "MutatingWebhookConfiguration {0:?} does not say under which host the webhook is called: give it a webhook with a \
         clientConfig.service or a clientConfig.url"
    )]
    NoHost(String),
    #[error(
        "somebody keeps changing the caBundle of MutatingWebhookConfiguration {0:?}: find out who, by \
         `kubectl get --show-managed-fields`, and have him leave it alone"
    )]
    Fight(String),
}

/// What there is.
struct Found {
    configuration: Configuration,
    hosts: Vec<String>,
    authority: Option<Stored>,
    serving: Option<Stored>,
}

/// What that means.
struct Held {
    authority: Option<material::Authority>,
    before: Certificates,
    serving: Option<material::Serving>,
}

/// Since when things have been seen as they are, by a clock that nobody can set.
#[derive(Default)]
struct Seen {
    published: Option<(State, Instant)>,
    serving: Option<(Vec<u8>, Instant)>,
    put: Option<(u32, Instant)>,
}

type State = (Option<String>, Option<i64>);

/// Looks after the certificates.
pub struct Keeper {
    client: Client,
    namespace: String,
    managed: Managed,
    now: fn() -> Timestamp,
    metrics: CertificateMetrics,
    readiness: Readiness,
}

impl Keeper {
    /// Nothing where there is nothing to look after. A leader that cannot do it is not ready.
    pub fn new(
        client: &Client,
        settings: &Settings,
        metrics: &WatcherMetrics,
        readiness: &Readiness,
    ) -> Option<Self> {
        Some(Self {
            client: client.clone(),
            namespace: settings.namespace.clone(),
            managed: settings.certificates.clone()?,
            now: settings.ambient.now,
            metrics: metrics.certificates.clone(),
            readiness: readiness.clone(),
        })
    }

    /// Runs for ever.
    pub async fn run(self, mut leader: watch::Receiver<bool>) {
        loop {
            if leader.wait_for(|leads| *leads).await.map(drop).is_err() {
                return std::future::pending().await;
            }
            tokio::select! {
                biased;
                _ = async { leader.wait_for(|leads| !*leads).await.map(drop) } => {}
                () = self.lead() => {}
            }
            self.metrics.expiry.reset();
            self.readiness.has(WAITS_FOR);
        }
    }

    async fn lead(&self) {
        let (mut seen, mut said) = (Seen::default(), None);
        loop {
            let (configuration, secrets) = (&self.managed.configuration, self.secrets());
            let [authority, serving] = &secrets;
            let secrets = [&**authority, serving];
            let mut changes = door::changes(&self.client, configuration, &self.namespace, secrets);
            loop {
                let looked = self.look(&mut seen).await;
                let pause = *looked.as_ref().unwrap_or(&RETRY);
                self.tell(&mut said, looked.err());
                match timeout(pause.min(LONGEST), changes.next()).await {
                    Ok(Some(Ok(()))) | Err(_) => {}
                    Ok(Some(Err(error))) => {
                        self.tell(&mut said, Some(error.into()));
                        break;
                    }
                    Ok(None) => break,
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Says what is wrong, unless that was the last thing said.
    fn tell(&self, said: &mut Option<String>, problem: Option<Problem>) {
        let problem = problem.map(|problem| chain(&problem));
        match &problem {
            Some(problem) => self.readiness.waits_for(WAITS_FOR, problem),
            None => self.readiness.has(WAITS_FOR),
        }
        if let Some(problem) = problem.as_ref().filter(|_| problem != *said) {
            warn!(
                error = problem,
                "cannot look after the webhook's certificates; trying again"
            );
        }
        *said = problem;
    }

    /// The names of the Secrets: of the CA, and of what is served.
    fn secrets(&self) -> [String; 2] {
        let serving = &self.managed.secret;
        [format!("{serving}-ca"), serving.clone()]
    }

    /// Takes the next step; says how soon to look again.
    async fn look(&self, seen: &mut Seen) -> Result<Duration, Problem> {
        let found = self.find().await?;
        let held = found.held();
        let facts = found.facts(&held, seen, (self.now)());
        self.report(&facts);
        let (step, reason) = step::next(&facts, &self.managed.times);
        if let Step::Wait(pause) = step {
            debug!(reason = %reason, ?pause, "the webhook's certificates are left as they are");
            return Ok(pause);
        }
        if step == Step::Publish && !seen.may_put() {
            return Err(Problem::Fight(self.managed.configuration.clone()));
        }
        let result = self.take(step, reason, found, held).await;
        let label = match &result {
            Ok(()) => "ok",
            Err(Problem::Cluster(error)) => error.reason(),
            Err(_) => "failed",
        };
        let steps = &self.metrics.steps;
        steps.with_label_values(&[reason.as_str(), label]).inc();
        match result {
            // Somebody was quicker. What he did is looked at.
            Err(Problem::Cluster(Error::Conflict { .. } | Error::AlreadyExists { .. })) => {
                Ok(RETRY)
            }
            result => result.map(|()| Duration::ZERO),
        }
    }

    /// The configuration is read first: a `caBundle` is written for the state it was read in, and so never one that is
    /// older than what the Secrets held when the state was written that it replaces.
    async fn find(&self) -> Result<Found, Problem> {
        let configuration = &self.managed.configuration;
        let configuration = door::configuration(&self.client, configuration).await?;
        let mut hosts: Vec<_> = configuration
            .webhooks
            .iter()
            .flat_map(|webhook| webhook.hosts.clone())
            .collect();
        hosts.sort();
        hosts.dedup();
        if hosts.is_empty() {
            return Err(Problem::NoHost(self.managed.configuration.clone()));
        }
        let [authority, serving] = self.secrets();
        Ok(Found {
            configuration,
            hosts,
            authority: self.read(authority).await?,
            serving: self.read(serving).await?,
        })
    }

    async fn read(&self, name: String) -> Result<Option<Stored>, Problem> {
        let namespace = self.namespace.clone();
        match door::read(&self.client, &namespace, &name).await? {
            Some(stored) if !stored.is_ours => Err(Problem::NotOurs { namespace, name }),
            stored => Ok(stored),
        }
    }

    fn report(&self, facts: &Facts) {
        let authority = facts.authority;
        let serving = facts.serving.as_ref().map(|serving| serving.life);
        for (label, life) in [("authority", authority), ("serving", serving)] {
            let until = life.map_or(0, |life| life.until.as_second());
            self.metrics.expiry.with_label_values(&[label]).set(until);
        }
    }

    async fn take(
        &self,
        step: Step,
        reason: Reason,
        found: Found,
        held: Held,
    ) -> Result<(), Problem> {
        let times = &self.managed.times;
        match (step, &held.authority) {
            (Step::MakeAuthority, _) => {
                let life = times.life_of_authority((self.now)());
                let made = authority::make(life)?;
                let before = found.trusted_so_far(&held);
                let data = [
                    (AUTHORITY_CERTIFICATE, made.certificate),
                    (AUTHORITY_KEY, made.key),
                    (BEFORE, material::pem(&before)),
                ];
                self.write_authority(found.authority, data).await?;
                info!(reason = %reason, until = %life.until, trusted_before = before.len(), "made a new CA");
            }
            (Step::Publish, _) => {
                let bundle = material::pem(&held.trusted());
                door::publish(&self.client, &found.configuration, &bundle).await?;
                info!(reason = %reason, authorities = held.trusted().len(), "wrote the caBundle");
            }
            (Step::Issue, Some(authority)) => {
                let mut life = times.life_of_serving((self.now)());
                life.until = life.until.min(authority.life.until);
                let made = authority::issue(&authority.key, &found.hosts, life)?;
                let data = [(CERTIFICATE_FILE, made.certificate), (KEY_FILE, made.key)];
                let [_, name] = self.secrets();
                self.write(&name, "kubernetes.io/tls", found.serving, data)
                    .await?;
                info!(reason = %reason, until = %life.until, hosts = ?found.hosts, "made a new serving certificate");
            }
            (Step::Retire, Some(authority)) => {
                let certificate = material::pem(&[authority.certificate.clone()].into());
                let data = [
                    (AUTHORITY_CERTIFICATE, certificate),
                    (AUTHORITY_KEY, authority.key.clone()),
                    (BEFORE, String::new()),
                ];
                self.write_authority(found.authority, data).await?;
                info!(reason = %reason, "the CAs of before are no longer trusted");
            }
            (Step::Issue | Step::Retire | Step::Wait(_), _) => {}
        }
        Ok(())
    }

    async fn write_authority(
        &self,
        before: Option<Stored>,
        data: [(&str, String); 3],
    ) -> Result<(), Error> {
        let [name, _] = self.secrets();
        let data = data.into_iter().filter(|(_, value)| !value.is_empty());
        self.write(&name, "Opaque", before, data).await
    }

    async fn write(
        &self,
        name: &str,
        type_: &str,
        before: Option<Stored>,
        data: impl IntoIterator<Item = (&str, String)>,
    ) -> Result<(), Error> {
        let data = data.into_iter();
        let data = data.map(|(key, value)| (key.to_owned(), value.into_bytes()));
        door::write(
            &self.client,
            &self.namespace,
            name,
            type_,
            before,
            data.collect(),
        )
        .await
    }
}

impl Found {
    fn held(&self) -> Held {
        let (authority, serving) = (entries(&self.authority), entries(&self.serving));
        let authority_or = material::authority(
            entry(authority, AUTHORITY_CERTIFICATE),
            entry(authority, AUTHORITY_KEY),
        );
        Held {
            authority: authority_or,
            before: material::certificates(entry(authority, BEFORE)),
            serving: material::serving(entry(serving, CERTIFICATE_FILE), entry(serving, KEY_FILE)),
        }
    }

    fn facts(&self, held: &Held, seen: &mut Seen, now: Timestamp) -> Facts {
        let bundle = material::pem(&held.trusted());
        let mut webhooks = self.configuration.webhooks.iter();
        let published = webhooks.all(|webhook| webhook.bundle == bundle.as_bytes());
        let state = published.then(|| self.configuration.state.clone());
        let certificate = held
            .serving
            .as_ref()
            .map(|serving| serving.certificate.clone());
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
    fn trusted_so_far(&self, held: &Held) -> Certificates {
        let mut trusted = held.trusted();
        trusted.extend(material::certificates(entry(
            entries(&self.authority),
            AUTHORITY_CERTIFICATE,
        )));
        for webhook in &self.configuration.webhooks {
            trusted.extend(material::certificates(&webhook.bundle));
        }
        trusted
    }
}

impl Held {
    fn trusted(&self) -> Certificates {
        let authority = self
            .authority
            .iter()
            .map(|authority| authority.certificate.clone());
        self.before.iter().cloned().chain(authority).collect()
    }

    fn issuer(&self, serving: &material::Serving) -> Issuer {
        let authority = self
            .authority
            .iter()
            .map(|authority| authority.certificate.clone());
        if material::has_signed(&authority.collect(), serving) {
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
    fn may_put(&mut self) -> bool {
        let (count, last) = self.put.unwrap_or((0, Instant::now()));
        let doubled = count.saturating_sub(PATIENCE).min(6);
        let pause = Duration::from_secs((1 << doubled) - 1).min(SLOWEST);
        if last.elapsed() < pause {
            return false;
        }
        let count = if last.elapsed() > LONGEST { 0 } else { count };
        self.put = Some((count.saturating_add(1), Instant::now()));
        true
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

fn entries(stored: &Option<Stored>) -> Option<&Data> {
    stored.as_ref().map(|stored| &stored.data)
}

fn entry<'a>(data: Option<&'a Data>, key: &str) -> &'a [u8] {
    data.and_then(|data| data.get(key))
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::error::REQUEST_TIMEOUT;

    /// Otherwise one who has lost the Lease meanwhile could still do what had been right before.
    #[test]
    fn a_look_is_over_before_a_new_ca_signs() {
        assert!(4 * REQUEST_TIMEOUT < Times::default().publish);
    }

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
                times.push(start.elapsed().as_secs());
            } else {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        }
        assert_eq!(times, [0, 0, 0, 0, 0, 1, 4, 11, 26, 57, 117, 177]);
        tokio::time::advance(LONGEST + Duration::from_secs(1)).await;
        assert!(seen.may_put() && seen.may_put(), "it is forgotten");
    }
}
