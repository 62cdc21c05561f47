//! Reloader's webhook mode: somebody else is told about each change of a source, and nothing is restarted. No workload is
//! looked at; so unlike in the other mode, every source that changes is read, to tell whether its content did.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::resume_unwind,
    sync::Arc,
    time::Duration,
};

use kube::{Client, runtime::watcher::Event};
use serde_json::json;
use tokio::{
    sync::{Semaphore, mpsc::Receiver, watch},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    jobs::{MAX_READS, log_failure},
    namespaces::Selected,
    sources::{Change, Part, Seq, Sources, What},
    streams::Input,
    tally::tally_source,
};
use crate::{
    alerts::Alerts,
    cluster::{
        csi::PodStatusRow,
        source::{self, Content, Row},
    },
    runtime::metrics::{Skip, WatcherMetrics},
    stamp::{
        digest::{Keyring, SourceDigests},
        scope::Scope,
        settings::PolicySettings,
        source::SourceId,
    },
};

/// How long to wait before a source is read again that could not be.
const READ_RETRY: Duration = Duration::from_secs(5);

/// See the module.
pub struct Notifier {
    client: Client,
    policy: Arc<PolicySettings>,
    metrics: WatcherMetrics,
    told: Alerts,
    /// What digests are compared under, which never leave the process.
    keyring: Arc<Keyring>,
    sources: Sources,
    selected: Option<Selected>,
    listed: BTreeSet<Part>,
    /// What the sources held that were read, while we led.
    digests: BTreeMap<SourceId, SourceDigests>,
    listed_pods: BTreeSet<Scope>,
    /// What each pod has, by namespace and name of its status.
    pods: BTreeMap<(Box<str>, Box<str>), u64>,
    /// What a pod got last of each class.
    classes: BTreeMap<SourceId, u64>,
    /// Sources that are being read, and whether they have changed since.
    reading: BTreeMap<SourceId, bool>,
    reads: JoinSet<(SourceId, Content)>,
    limit: Arc<Semaphore>,
    leads: bool,
    seq: Seq,
}

impl Notifier {
    /// One that knows nothing yet, and tells `told`.
    pub fn new(
        client: Client,
        policy: Arc<PolicySettings>,
        metrics: WatcherMetrics,
        told: Alerts,
    ) -> Self {
        Self {
            client,
            metrics,
            told,
            keyring: Arc::new(Keyring::blank()),
            sources: Sources::new(policy.clone()),
            selected: Selected::new(&policy),
            policy,
            listed: BTreeSet::new(),
            digests: BTreeMap::new(),
            listed_pods: BTreeSet::new(),
            pods: BTreeMap::new(),
            classes: BTreeMap::new(),
            reading: BTreeMap::new(),
            reads: JoinSet::new(),
            limit: Arc::new(Semaphore::new(MAX_READS)),
            leads: false,
            seq: 0,
        }
    }

    /// Runs until `shutdown`, or until the watches end.
    pub async fn run(
        mut self,
        mut inputs: Receiver<Input>,
        mut leader: watch::Receiver<bool>,
        shutdown: CancellationToken,
    ) {
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                changed = leader.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let leads = *leader.borrow_and_update();
                    self.lead(leads);
                }
                Some(ended) = self.reads.join_next() => match ended {
                    Ok((id, content)) => self.read(id, content),
                    Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                    Err(_aborted) => {}
                },
                input = inputs.recv() => match input {
                    None => return,
                    Some(input) => self.take_in(input),
                },
            }
        }
    }

    fn lead(&mut self, leads: bool) {
        self.leads = leads;
        self.metrics.leader.set(i64::from(leads));
        // What changed while another led is not known.
        self.digests.clear();
        self.reading.clear();
        self.reads.abort_all();
    }

    fn take_in(&mut self, input: Input) {
        match input {
            Input::Source(part, event) => self.source_event(part, event),
            Input::Namespace(event) => {
                if let Some(selected) = &mut self.selected {
                    selected.apply(event);
                }
            }
            // A list after a gap is compared with what was known.
            Input::SourcesUnheard(_) | Input::PodStatusesUnheard(_) | Input::Workload(..) => {}
            Input::PodStatus(scope, event) => self.pod_status_event(scope, event),
        }
    }

    fn source_event(&mut self, part: Part, event: Event<Row>) {
        self.seq += 1;
        let ends_list = matches!(event, Event::InitDone);
        for change in self.sources.apply(part, event, self.seq) {
            let is_selected = self.is_selected(&change.id);
            tally_source(&self.metrics, &change, is_selected);
            if self.leads && is_selected {
                self.changed(part, &change);
            } else {
                self.digests.remove(&change.id);
            }
        }
        if ends_list {
            self.listed.insert(part);
        }
    }

    /// A class has other content when a pod gets that which it did not start on; all pods of a rotation get it.
    fn pod_status_event(&mut self, scope: Scope, event: Event<PodStatusRow>) {
        let row = match event {
            Event::InitApply(row) | Event::Apply(row) => row,
            Event::InitDone => {
                self.listed_pods.insert(scope);
                return;
            }
            Event::Delete(row) => {
                self.pods.remove(&(row.namespace, row.name));
                return;
            }
            Event::Init => return,
        };
        let Some((class, mount)) = row.mount else {
            return;
        };
        let before = self.pods.insert((row.namespace, row.name), mount.content);
        let has_changed = before.is_some_and(|before| before != mount.content);
        let known = self.classes.get(&class);
        let is_news = has_changed && known.is_none_or(|known| *known != mount.content);
        if known.is_none() || is_news {
            self.classes.insert(class.clone(), mount.content);
        }
        // What is in the first list may have been there for long.
        if is_news && self.listed_pods.contains(&scope) && self.leads && self.is_selected(&class) {
            self.tell(&class, "updated");
        }
    }

    fn is_selected(&self, id: &SourceId) -> bool {
        let selected = self.selected.as_ref();
        selected.is_none_or(|selected| selected.contains(&id.namespace))
    }

    fn changed(&mut self, part: Part, change: &Change) {
        match change.what {
            _ if !change.id.source.kind.is_core() => {}
            What::Added if self.policy.reload_on_create && self.listed.contains(&part) => {
                self.tell(&change.id, "created");
            }
            What::Added => {}
            What::Updated { .. } => self.begin_read(change.id.clone()),
            What::Deleted => {
                self.digests.remove(&change.id);
                if self.policy.reload_on_delete {
                    self.tell(&change.id, "deleted");
                }
            }
        }
    }

    fn begin_read(&mut self, id: SourceId) {
        if let Some(has_changed) = self.reading.get_mut(&id) {
            *has_changed = true;
            return;
        }
        self.reading.insert(id.clone(), false);
        let (client, keyring) = (self.client.clone(), self.keyring.clone());
        let (policy, limit) = (self.policy.clone(), self.limit.clone());
        self.reads.spawn(async move {
            loop {
                let permit = limit.acquire().await;
                match source::read(&client, &id, &keyring, &policy).await {
                    Ok(content) => return (id, content),
                    Err(error) => log_failure("cannot read a source; trying again", &error),
                }
                drop(permit);
                sleep(READ_RETRY).await;
            }
        });
    }

    fn read(&mut self, id: SourceId, content: Content) {
        let Some(has_changed) = self.reading.remove(&id) else {
            // Begun before somebody else led.
            return;
        };
        if let Content::Present { digests, .. } = content {
            let before = self.digests.insert(id.clone(), digests);
            // Without a read before, nothing says that the content is the same.
            if before.as_ref() == self.digests.get(&id) {
                self.metrics.reloader.skip(Skip::NoDataChange);
            } else {
                self.tell(&id, "updated");
            }
        }
        if has_changed {
            self.begin_read(id);
        }
    }

    /// Reloader's body, which says nothing of what changed, and what did.
    fn tell(&self, id: &SourceId, change: &str) {
        info!(source = %id, change, "telling the webhook");
        let body = json!({
            "webhook": "update successful",
            "type": id.source.kind.type_string(),
            "namespace": id.namespace,
            "name": id.source.name,
            "change": change,
        });
        self.told.send(body.to_string());
    }
}
