//! Looks after the certificates of the webhook, while this replica leads.
//!
//! Level-triggered as all the rest: whatever happens wakes the same look at what there is, which takes one step.

mod found;

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
        Life, Times,
        authority::{self, MakeError},
        material,
        step::{self, Reason, Step},
    },
    cluster::{
        certificates::{self as door, Stored},
        error::{Error, chain},
    },
    runtime::{
        admin::Readiness,
        certificate::{CERTIFICATE_FILE, KEY_FILE},
        metrics::{CertificateMetrics, WatcherMetrics},
    },
};
use found::{AUTHORITY_CERTIFICATE, AUTHORITY_KEY, BEFORE, Found, Held, Seen};

/// What a process waits for that cannot look after certificates.
const WAITS_FOR: &str = "certificates";
/// How soon after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How long watches have to go well that went wrong before.
const STEADY: Duration = Duration::from_secs(10);
/// How long nothing is looked at while nothing happens.
const LONGEST: Duration = Duration::from_secs(600);

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
        let (mut seen, mut said, mut unseen) = (Seen::default(), None, None);
        self.report(None, None);
        loop {
            let (configuration, secrets) = (&self.managed.configuration, self.secrets());
            let [authority, serving] = &secrets;
            let secrets = [&**authority, serving];
            let mut changes = door::changes(&self.client, configuration, &self.namespace, secrets);
            let since = Instant::now();
            loop {
                let looked = self.look(&mut seen).await;
                let pause = *looked.as_ref().unwrap_or(&RETRY);
                if since.elapsed() > STEADY {
                    unseen = None;
                }
                self.tell(&mut said, looked.err().as_ref().or(unseen.as_ref()));
                let longest = if unseen.is_some() { STEADY } else { LONGEST };
                match timeout(pause.min(longest), changes.next()).await {
                    Ok(Some(Ok(()))) | Err(_) => {}
                    Ok(Some(Err(error))) => {
                        self.tell(&mut said, Some(unseen.insert(error.into())));
                        break;
                    }
                    Ok(None) => break,
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Says what is wrong, unless that was the last thing said.
    fn tell(&self, said: &mut Option<String>, problem: Option<&Problem>) {
        let problem = problem.map(|problem| chain(problem));
        match &problem {
            Some(problem) => self.readiness.waits_for(WAITS_FOR, problem),
            None => self.readiness.has(WAITS_FOR),
        }
        if let Some(problem) = problem.as_ref().filter(|_| problem != *said) {
            warn!(
                error = %problem,
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
        let serving = facts.serving.as_ref().map(|serving| serving.life);
        self.report(facts.authority, serving);
        let (step, reason) = step::next(&facts, &self.managed.times);
        if let Step::Wait(pause) = step {
            debug!(reason = %reason, ?pause, "the webhook's certificates are left as they are");
            return Ok(pause);
        }
        if step == Step::Publish && !seen.may_put() {
            return Err(Problem::Fight(self.managed.configuration.clone()));
        }
        let result = self.take(step, reason, found, held).await;
        if step == Step::Publish && result.is_ok() {
            seen.was_put();
        }
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

    fn report(&self, authority: Option<Life>, serving: Option<Life>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::error::REQUEST_TIMEOUT;

    /// Otherwise one who has lost the Lease meanwhile could still do what had been right before.
    #[test]
    fn a_look_is_over_before_a_new_ca_signs() {
        assert!(4 * REQUEST_TIMEOUT < Times::default().publish);
    }
}
