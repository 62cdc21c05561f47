//! An API server in memory, behind the client that the product uses: objects with versions, watches,
//! conflicts; and, on demand, faults. Nothing in it takes time or chance.

mod clock;
mod filter;
mod merge;
mod request;
mod store;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::body::Body;
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use serde_json::Value;

pub use clock::{now, set_back};
pub use request::Call;
use store::Store;
pub use store::{Key, Past, key};

/// What happens to a request instead of a good answer.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// It has no effect, and is answered with this status.
    Refused(u16),
    /// It takes effect, and the connection breaks before the answer.
    AnswerLost,
    /// It takes effect, and is never answered.
    NoAnswer,
    /// It takes effect now, and is answered later.
    AnswerLate(Duration),
}

struct Fault {
    verb: &'static str,
    key: Key,
    effect: Effect,
    times: u32,
}

/// The API server. Clones are the same one.
#[derive(Clone, Default)]
pub struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    store: Store,
    faults: Vec<Fault>,
    calls: Vec<Call>,
}

impl FakeApi {
    /// A client of it.
    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request| api.clone().serve(request));
        Client::new(service, "default")
    }

    /// Somebody makes an object, or puts another one in its place.
    pub fn put(&self, manager: &str, object: &Value) {
        self.state().store.put(object, manager);
    }

    /// Somebody changes an object.
    pub fn edit(&self, manager: &str, key: &Key, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        let mut object = state.store.get(key).expect("an object to edit").clone();
        change(&mut object);
        state.store.put(&object, manager);
    }

    /// Somebody deletes an object.
    pub fn delete(&self, key: &Key) {
        self.state().store.delete(key, "kubectl");
    }

    /// Serves an optional API group from now on.
    pub fn serve_group(&self, group: &str) {
        self.state().store.serve(group);
    }

    /// An object as it is now.
    pub fn get(&self, key: &Key) -> Option<Value> {
        self.state().store.get(key).cloned()
    }

    /// Every object of a resource.
    pub fn all(&self, resource: &str) -> Vec<Value> {
        self.state().store.list(resource).cloned().collect()
    }

    /// Has the next `times` requests of that verb for that object suffer, but for dry runs.
    pub fn fail(&self, verb: &'static str, key: &Key, times: u32, effect: Effect) {
        self.state().faults.push(Fault {
            verb,
            key: key.clone(),
            effect,
            times,
        });
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Keeps the watch events of a resource back until [`FakeApi::release`].
    pub fn hold(&self, resource: &str) {
        self.state().store.hold(resource);
    }

    /// Delivers what was kept back.
    pub fn release(&self, resource: &str) {
        self.state().store.release(resource);
    }

    /// Ends the watches of a resource as a connection that breaks off does.
    pub fn cut(&self, resource: &str) {
        self.state().store.cut(resource);
    }

    /// Ends the watches of a resource with 410 inside the stream.
    pub fn expire(&self, resource: &str) {
        self.state().store.expire(resource);
    }

    /// Forgets the past: a watch cannot start from any version before now.
    pub fn compact(&self) {
        self.state().store.compact();
    }

    /// What became of every object of a namespace, in the order of the writes.
    pub fn history(&self, namespace: &str) -> Vec<Past> {
        self.state().store.history(namespace).collect()
    }

    /// How many watches of a resource are open.
    pub fn watches(&self, resource: &str) -> usize {
        self.state().store.watches(resource)
    }

    /// Every request so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Forgets the requests so far.
    pub fn forget_calls(&self) {
        self.state().calls.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while it was locked")
    }

    async fn serve(
        self,
        request: Request<kube::client::Body>,
    ) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let call = Call::read(&parts, &body);
        let (effect, answer) = self.state().take(&call);
        match effect {
            Some(Effect::AnswerLost) => return Err("the connection broke".into()),
            Some(Effect::NoAnswer) => std::future::pending().await,
            Some(Effect::AnswerLate(by)) => tokio::time::sleep(by).await,
            Some(Effect::Refused(_)) | None => {}
        }
        Ok(answer)
    }
}

impl State {
    fn take(&mut self, call: &Call) -> (Option<Effect>, Response<Body>) {
        self.calls.push(call.clone());
        let effect = self.suffered(call);
        let answer = match effect {
            Some(Effect::Refused(code)) => Err(code),
            _ => call.carry_out(&mut self.store),
        };
        let answer = match answer {
            Ok(Answer::Object(object)) => respond(200, Body::from(object.to_string())),
            Ok(Answer::Stream(lines)) => {
                respond(200, Body::from_stream(lines.map(Ok::<_, Infallible>)))
            }
            Err(code) => respond(code, Body::from(call.status(code).to_string())),
        };
        (effect, answer)
    }

    fn suffered(&mut self, call: &Call) -> Option<Effect> {
        let hits = |fault: &&mut Fault| {
            fault.times > 0
                && fault.verb == call.verb
                && fault.key == call.key
                && !call.is_dry_run()
        };
        let fault = self.faults.iter_mut().find(hits)?;
        fault.times -= 1;
        Some(fault.effect)
    }
}

enum Answer {
    Object(Value),
    Stream(store::Lines),
}

fn respond(code: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).expect("a status");
    response
}
