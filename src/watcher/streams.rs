//! Watches: of workloads, as compact records; of sources, as rows.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc::Sender, time::sleep};
use tracing::{debug, warn};

use crate::{
    cluster::{
        error::{Error, Request, chain},
        kind::WorkloadKind,
        source::{self, Row, SourceMetadata},
        workload::Workload,
    },
    runtime::{admin::Readiness, metrics::WatcherMetrics},
    stamp::{settings::PolicySettings, source::SourceKind},
};

/// Objects of one page of a list. A page is in memory as a whole.
const PAGE: u32 = 100;

/// How long a watch of sources lasts before it is resumed, in seconds. What came by it stays in the buffers
/// of its connection until then.
const SOURCE_WATCH: u32 = 60;

/// How often a kind is looked for that the API server does not serve.
const LOOK_FOR_KIND: Duration = Duration::from_secs(30);
/// How soon again, when it gave no answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The pause before a resource is listed anew that may be listed but not watched.
const FORBIDDEN_PAUSE: Duration = Duration::from_secs(5);
/// Why a process is not ready whose lists are not complete.
const UNLISTED: &str = "not listed yet";

/// What the watches tell.
pub enum Input {
    /// Of a kind of workload.
    Workload(&'static WorkloadKind, Event<Box<Workload>>),
    /// Of a kind of source.
    Source(SourceKind, Event<Row>),
    /// Of a kind of source, nothing until the watch has been resumed.
    SourcesUnheard(SourceKind),
}

/// Why a watch ended.
enum End {
    /// Nobody listens any more.
    Closed,
    /// The API server does not serve the resource.
    NotServed,
}

/// Nobody listens any more.
struct Closed;

/// What a watch needs beside its kind.
#[derive(Clone)]
pub struct Streams {
    /// The way to the API server.
    pub client: Client,
    /// Where events go.
    pub inputs: Sender<Input>,
    /// Where faults are counted.
    pub metrics: WatcherMetrics,
    /// What holds for every workload.
    pub policy: Arc<PolicySettings>,
    /// Told when a list is complete.
    pub readiness: Readiness,
}

impl Streams {
    /// Watches a kind of workload for ever. The process is not ready before the first list.
    pub fn workloads(self, kind: &'static WorkloadKind) -> impl Future<Output = ()> {
        let policy = self.policy.clone();
        let parse =
            move |object: DynamicObject| Workload::parse(kind, &object, &policy).map(Box::new);
        let input = move |event| Input::Workload(kind, event);
        self.readiness.waits_for(&kind.resource(), UNLISTED);
        let config = watcher::Config::default();
        async move {
            let (resource, name) = (kind.api_resource(), kind.resource());
            loop {
                if !kind.is_built_in {
                    self.until_served(kind, &name).await;
                }
                let ended = self
                    .watch(&resource, &name, config.clone(), &parse, input, None)
                    .await;
                if let End::Closed = ended {
                    return;
                }
                // With a kind go its objects. One that is built in is only not served yet.
                let gone = [Event::Init, Event::InitDone].map(input);
                if !kind.is_built_in && self.tell(gone).await.is_err() {
                    return;
                }
                sleep(ASK_AGAIN).await;
            }
        }
    }

    /// Waits until the API server serves a kind. The process is ready while it does not.
    async fn until_served(&self, kind: &WorkloadKind, name: &str) {
        loop {
            let pause = match kind.is_served(&self.client).await {
                Ok(true) => return,
                Ok(false) => {
                    self.readiness.has(name);
                    LOOK_FOR_KIND
                }
                Err(error) => {
                    debug!(error = %chain(&error), "cannot tell whether a kind is served");
                    ASK_AGAIN
                }
            };
            sleep(pause).await;
        }
    }

    async fn tell(&self, inputs: impl IntoIterator<Item = Input>) -> Result<(), Closed> {
        for input in inputs {
            self.inputs.send(input).await.map_err(|_| Closed)?;
        }
        Ok(())
    }

    /// Watches a kind of source for ever, metadata only. The process is not ready before the first list.
    pub fn sources(self, kind: SourceKind) -> impl Future<Output = ()> {
        let keys = self.policy.keys;
        let parse = move |object: SourceMetadata| object.into_row(kind, &keys);
        let input = move |event| Input::Source(kind, event);
        self.readiness.waits_for(kind.plural(), UNLISTED);
        let config = watcher::Config::default().timeout(SOURCE_WATCH);
        async move {
            let (resource, name) = (source::api_resource(kind), kind.plural());
            while let End::NotServed = self
                .watch(&resource, name, config.clone(), &parse, input, Some(kind))
                .await
            {
                sleep(ASK_AGAIN).await;
            }
        }
    }

    async fn watch<K, T>(
        &self,
        resource: &ApiResource,
        name: &str,
        config: watcher::Config,
        parse: impl Fn(K) -> Option<T>,
        input: impl Fn(Event<T>) -> Input,
        unheard: Option<SourceKind>,
    ) -> End
    where
        K: Resource<DynamicType = ApiResource> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let config = config.page_size(PAGE);
        loop {
            let api: Api<K> = Api::all_with(self.client.clone(), resource);
            let mut events = watcher(api, config.clone()).default_backoff().boxed();
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        if matches!(event, Event::InitDone) {
                            self.readiness.has(name);
                        }
                        let Some(event) = map(event, &parse) else {
                            continue;
                        };
                        if self.tell([input(event)]).await.is_err() {
                            return End::Closed;
                        }
                    }
                    Err(error) => {
                        let told = self.tell(unheard.map(Input::SourcesUnheard)).await;
                        if told.is_err() {
                            return End::Closed;
                        }
                        let code = start_refused(&error);
                        self.report(name, error);
                        match code {
                            Some(404) => return End::NotServed,
                            Some(410) => break,
                            Some(403) => {
                                sleep(FORBIDDEN_PAUSE).await;
                                break;
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }

    fn report(&self, name: &str, error: watcher::Error) {
        self.metrics.watch_errors.with_label_values(&[name]).inc();
        let (verb, cause) = match error {
            watcher::Error::InitialListFailed(cause) => ("list", cause),
            watcher::Error::WatchStartFailed(cause) | watcher::Error::WatchFailed(cause) => {
                ("watch", cause)
            }
            watcher::Error::WatchError(status) => ("watch", kube::Error::Api(status)),
            watcher::Error::NoResourceVersion => {
                warn!(
                    resource = name,
                    "the API server sent an object without a resourceVersion"
                );
                return;
            }
        };
        // An API server that goes away ends its watches; they are resumed where they ended.
        let broken_off = matches!(
            cause,
            kube::Error::HyperError(_) | kube::Error::ReadEvents(_)
        );
        let request = Request {
            verb,
            resource: name.to_owned(),
            namespace: None,
            name: None,
        };
        let error = request.failed(cause);
        if broken_off || matches!(error, Error::Refused { code: 410, .. }) {
            debug!(error = %chain(&error), "a watch ended; resuming");
            return;
        }
        warn!(
            error = %chain(&error),
            "cannot follow a resource; trying again"
        );
        if self.is_unlisted(name) || matches!(error, Error::Forbidden { .. }) {
            self.readiness.waits_for(name, chain(&error));
        }
    }

    fn is_unlisted(&self, name: &str) -> bool {
        self.readiness
            .missing()
            .iter()
            .any(|line| line.starts_with(&format!("{name}:")))
    }
}

/// With which status the API server refused to start a watch, or that it does not know what to list. The library
/// tries for ever to start a watch from a version that has expired, and does not tell when one that was forbidden has
/// started after all; a new list cures the first and tells the second.
fn start_refused(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404 => {
            Some(404)
        }
        _ => None,
    }
}

fn map<K, T>(event: Event<K>, parse: impl Fn(K) -> Option<T>) -> Option<Event<T>> {
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(parse(object)?),
        Event::Apply(object) => Event::Apply(parse(object)?),
        Event::Delete(object) => Event::Delete(parse(object)?),
    })
}
