//! Watches: of workloads, as compact records; of sources, as rows.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject},
    core::DynamicResourceScope,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc::Sender, time::sleep};
use tracing::{debug, info, warn};

use super::sources::Part;
use crate::{
    cluster::{
        csi::{self, PodStatusRow},
        discovery,
        error::{Error, Request, chain},
        kind::WorkloadKind,
        source::{self, Row, SourceMetadata},
        workload::Workload,
    },
    runtime::{admin::Readiness, metrics::WatcherMetrics},
    stamp::{scope::Scope, selector::LabelSelector, settings::PolicySettings, source::SourceKind},
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
    Workload(&'static WorkloadKind, Scope, Event<Box<Workload>>),
    /// Of a kind of source.
    Source(Part, Event<Row>),
    /// Of a kind of source, nothing until the watch has been resumed.
    SourcesUnheard(Part),
    /// Of what the CSI driver writes down of pods.
    PodStatus(Scope, Event<PodStatusRow>),
    /// Of that, nothing until the watch has been resumed.
    PodStatusesUnheard(Scope),
    /// Of the namespaces that are selected by their labels.
    Namespace(Event<Box<str>>),
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

/// What a watch is of.
struct Watched {
    resource: ApiResource,
    /// Of the resource, in RBAC's words.
    name: String,
    /// Whether every API server serves it. Others are looked for, and may come and go.
    is_built_in: bool,
    scope: Scope,
    /// Of the watch, to people.
    what: String,
    config: watcher::Config,
}

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
    pub fn workloads(self, kind: &'static WorkloadKind, scope: Scope) -> impl Future<Output = ()> {
        let policy = self.policy.clone();
        let parse =
            move |object: DynamicObject| Workload::parse(kind, &object, &policy).map(Box::new);
        let input = move |event| Input::Workload(kind, scope, event);
        let config = self.in_followed_namespaces();
        let watched = self.watched(kind.api_resource(), kind.is_built_in, scope, config);
        self.follow(watched, parse, input, || None)
    }

    /// Watches a resource for ever; `unheard` is told when that is interrupted.
    async fn follow<K, T>(
        self,
        watched: Watched,
        parse: impl Fn(K) -> Option<T>,
        input: impl Fn(Event<T>) -> Input,
        unheard: impl Fn() -> Option<Input>,
    ) where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        loop {
            if !watched.is_built_in && self.until_served(&watched, &input).await.is_err() {
                return;
            }
            let ended = self.watch(&watched, &parse, &input, &unheard).await;
            if let End::Closed = ended {
                return;
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// Waits until the API server serves a resource. The process is ready while it does not, and there are no objects.
    async fn until_served<T>(
        &self,
        watched: &Watched,
        input: impl Fn(Event<T>) -> Input,
    ) -> Result<(), Closed> {
        let mut is_told = false;
        loop {
            let pause = match discovery::is_served(&self.client, &watched.resource).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    if !is_told {
                        let (name, version) = (&watched.name, &watched.resource.version);
                        info!(
                            "the API server serves no {version} of {name}; they are followed from when it does"
                        );
                        is_told = true;
                    }
                    self.readiness.has(&watched.what);
                    let nothing = [Event::Init, Event::InitDone];
                    self.tell(nothing.map(&input)).await?;
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
    pub fn sources(self, kind: SourceKind, scope: Scope) -> impl Future<Output = ()> {
        let keys = self.policy.keys;
        let parse = move |object: SourceMetadata| object.into_row(kind, &keys);
        let part = (kind, scope);
        let input = move |event| Input::Source(part, event);
        let mut config = self.in_followed_namespaces().timeout(SOURCE_WATCH);
        config.label_selector = self.policy.labels_of(kind).map(ToString::to_string);
        let watched = self.watched(source::api_resource(kind), kind.is_core(), scope, config);
        self.follow(watched, parse, input, move || {
            Some(Input::SourcesUnheard(part))
        })
    }

    /// Watches what the CSI driver writes down of pods for ever.
    pub fn pod_statuses(self, scope: Scope) -> impl Future<Output = ()> {
        let config = self.in_followed_namespaces();
        let watched = self.watched(csi::pod_statuses(), false, scope, config);
        let input = move |event| Input::PodStatus(scope, event);
        self.follow(watched, csi::row, input, move || {
            Some(Input::PodStatusesUnheard(scope))
        })
    }

    /// Watches the namespaces with such labels for ever. The process is not ready before the first list.
    pub fn namespaces(self, selector: &LabelSelector) -> impl Future<Output = ()> + use<> {
        let parse = |object: SourceMetadata| object.into_name();
        let config = watcher::Config::default().labels(selector.as_str());
        let resource = ApiResource::erase::<Namespace>(&());
        let watched = self.watched(resource, true, Scope::Cluster, config);
        self.follow(watched, parse, Input::Namespace, || None)
    }

    fn in_followed_namespaces(&self) -> watcher::Config {
        let ignored = self.policy.namespaces.ignored();
        let but: Vec<_> = ignored
            .map(|name| format!("metadata.namespace!={name}"))
            .collect();
        watcher::Config {
            field_selector: (!but.is_empty()).then(|| but.join(",")),
            ..watcher::Config::default()
        }
    }

    fn watched(
        &self,
        resource: ApiResource,
        is_built_in: bool,
        scope: Scope,
        config: watcher::Config,
    ) -> Watched {
        let name = discovery::name_of(&resource);
        let what = match scope {
            Scope::Cluster => name.clone(),
            Scope::Namespace(namespace) => format!("{name} in namespace {namespace:?}"),
        };
        self.readiness.waits_for(&what, UNLISTED);
        Watched {
            resource,
            name,
            is_built_in,
            scope,
            what,
            config: config.page_size(PAGE),
        }
    }

    async fn watch<K, T>(
        &self,
        watched: &Watched,
        parse: impl Fn(K) -> Option<T>,
        input: impl Fn(Event<T>) -> Input,
        unheard: impl Fn() -> Option<Input>,
    ) -> End
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        loop {
            let (client, resource) = (self.client.clone(), &watched.resource);
            let api: Api<K> = match watched.scope {
                Scope::Cluster => Api::all_with(client, resource),
                Scope::Namespace(name) => Api::namespaced_with(client, name, resource),
            };
            let mut events = watcher(api, watched.config.clone())
                .default_backoff()
                .boxed();
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        if matches!(event, Event::InitDone) {
                            self.readiness.has(&watched.what);
                        }
                        let Some(event) = map(event, &parse) else {
                            continue;
                        };
                        if self.tell([input(event)]).await.is_err() {
                            return End::Closed;
                        }
                    }
                    Err(error) => {
                        let told = self.tell(unheard()).await;
                        if told.is_err() {
                            return End::Closed;
                        }
                        let code = start_refused(&error);
                        self.report(watched, error);
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

    fn report(&self, watched: &Watched, error: watcher::Error) {
        let Watched { name, what, .. } = watched;
        self.metrics.watch_errors.with_label_values(&[name]).inc();
        let (verb, cause) = match error {
            watcher::Error::InitialListFailed(cause) => ("list", cause),
            watcher::Error::WatchStartFailed(cause) | watcher::Error::WatchFailed(cause) => {
                ("watch", cause)
            }
            watcher::Error::WatchError(status) => ("watch", kube::Error::Api(status)),
            watcher::Error::NoResourceVersion => {
                warn!(
                    resource = what,
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
            resource: name.clone(),
            namespace: watched.scope.namespace().map(str::to_owned),
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
        if self.is_unlisted(what) || matches!(error, Error::Forbidden { .. }) {
            self.readiness.waits_for(what, chain(&error));
        }
    }

    fn is_unlisted(&self, what: &str) -> bool {
        self.readiness
            .missing()
            .iter()
            .any(|line| line.starts_with(&format!("{what}:")))
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
