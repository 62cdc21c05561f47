//! From a review to a verdict: the pure decision, and the reads between its two halves.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{keyring::CurrentKeyring, review::Review};
use crate::{
    cluster::{
        Error, FIELD_MANAGER,
        error::chain,
        kind::{Kinds, WorkloadKind},
        source::{self, Content},
    },
    runtime::metrics::WebhookMetrics,
    stamp::{
        admission::{Admission, Found, Fresh, Plan, Reads, Verdict},
        digest::Keyring,
        json,
        manifest::Manifest,
        reason::Reason,
        settings::PolicySettings,
        source::{SourceId, is_namespace},
    },
};

/// How long all reads for one write may take together. The API server waits 3 seconds for the answer.
const BUDGET: Duration = Duration::from_secs(1);
/// Reads of one write at once.
const MAX_READS: usize = 16;
const KUBE_SYSTEM: &str = "kube-system";

/// Decides about reviews.
#[derive(Clone)]
pub struct Admitter {
    /// The way to the API server.
    pub client: Client,
    /// Our own namespace, in which nothing is stamped.
    pub namespace: String,
    /// The installation key.
    pub keyring: CurrentKeyring,
    /// Which kinds are workloads.
    pub kinds: Kinds,
    /// What holds for every workload.
    pub policy: Arc<PolicySettings>,
    /// What is counted.
    pub metrics: WebhookMetrics,
}

impl Admitter {
    /// Decides. Nothing is ever denied.
    pub async fn admit(&self, review: &Review<'_>) -> Verdict {
        let subject = subject(review, &self.kinds);
        let verdict = self.decide(review, &subject).await;
        let reason = verdict.reason;
        self.metrics
            .admissions
            .with_label_values(&[reason.as_str()])
            .inc();
        debug!(workload = subject, reason = %reason, "admitted");
        verdict
    }

    async fn decide(&self, review: &Review<'_>, subject: &str) -> Verdict {
        if review.field_manager() == FIELD_MANAGER {
            return Verdict::leave(Reason::OwnWrite);
        }
        let (Some(kind), Some(object)) = (review.workload_kind(&self.kinds), review.object())
        else {
            return Verdict::leave(Reason::NotAWorkload);
        };
        if !self.may_look_into(&review.namespace) {
            return Verdict::leave(Reason::NotAWorkload);
        }
        // Another installation may look after it: nothing of it is put back, either.
        if self.policy.namespaces.scope_of(&review.namespace).is_none() {
            return Verdict::leave(Reason::NamespaceNotSelected);
        }
        let stored = match (&*review.operation, review.old_object()) {
            ("CREATE", _) => None,
            ("UPDATE", Some(stored)) => Some(stored),
            _ => return Verdict::leave(Reason::NotAWorkload),
        };
        let parsed = manifest(kind, object).and_then(|object| {
            Ok((
                object,
                stored.map(|stored| manifest(kind, stored)).transpose()?,
            ))
        });
        let (object, stored) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                let error = json::describe(&error);
                warn!(workload = subject, error, "cannot read a workload");
                return Verdict::leave(Reason::NotAWorkload);
            }
        };
        let admission = Admission {
            namespace: &review.namespace,
            template_path: kind.template,
            may_stamp: !kind.is_made_again(),
            object: &object,
            stored: stored.as_ref(),
            settings: &self.policy,
        };
        match admission.plan() {
            Plan::Answer(verdict) => verdict,
            Plan::Read(fresh) => self.stamp(&admission, &fresh, subject).await,
        }
    }

    /// Whoever reaches our port can send a review. The API server sends none about these namespaces, and
    /// only what is the name of a namespace belongs in the path of a request.
    fn may_look_into(&self, namespace: &str) -> bool {
        is_namespace(namespace) && namespace != self.namespace && namespace != KUBE_SYSTEM
    }

    async fn stamp(&self, admission: &Admission<'_>, fresh: &Fresh, subject: &str) -> Verdict {
        let Some(keyring) = self.keyring.get() else {
            warn!(
                workload = subject,
                "not stamped: there is no installation key yet"
            );
            return admission.unread(fresh);
        };
        let reads = self.read(admission.namespace, fresh, &keyring);
        let problem = match timeout(BUDGET, reads).await {
            Ok(Ok(reads)) => return admission.stamp(fresh, &reads, &keyring),
            Ok(Err(error)) => chain(&error),
            Err(_) => {
                self.metrics.reads.with_label_values(&["no_answer"]).inc();
                format!("its sources were not read within {BUDGET:?}")
            }
        };
        warn!(
            workload = subject,
            error = %problem,
            "not stamped; the watcher will see to it"
        );
        admission.unread(fresh)
    }

    async fn read(
        &self,
        namespace: &str,
        fresh: &Fresh,
        keyring: &Arc<Keyring>,
    ) -> Result<Reads, Error> {
        let reads = fresh.sources.clone().into_iter().map(|name| async move {
            let found = self.read_one(&name.within(namespace), keyring).await?;
            Ok((name, found))
        });
        stream::iter(reads)
            .buffer_unordered(MAX_READS)
            .try_collect()
            .await
    }

    async fn read_one(&self, id: &SourceId, keyring: &Keyring) -> Result<Option<Found>, Error> {
        let content = source::read_unseen(&self.client, id, keyring, &self.policy).await;
        let result = content.as_ref().map_or_else(Error::reason, |_| "ok");
        self.metrics.reads.with_label_values(&[result]).inc();
        Ok(match content? {
            Content::NotFollowed if self.policy.unseen_is_absent() => None,
            Content::NotFollowed => Some(Found::ignored(id, keyring)),
            Content::Present { marks, digests, .. } => Some(Found { marks, digests }),
            Content::Absent | Content::Mounted(_) | Content::Unmounted => None,
        })
    }
}

fn manifest<'a>(kind: &WorkloadKind, json: &'a str) -> serde_json::Result<Manifest<'a>> {
    Manifest::parse(json, kind.template)
}

/// Names the workload in logs and warnings.
pub fn subject(review: &Review<'_>, kinds: &Kinds) -> String {
    let kind = review
        .workload_kind(kinds)
        .map_or("object", |kind| kind.kind);
    let name = match &*review.name {
        "" => "(new)",
        name => name,
    };
    format!("{kind} {}/{name}", review.namespace)
}
