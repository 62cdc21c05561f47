//! Workloads that are created one after the other, as long as something is done to Restamp.

use std::time::Duration;

use kube::api::{DynamicObject, PostParams};
use restamp::stamp::annotations::AUTO;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle, time::interval};

use crate::support::{
    Shop,
    deploys::stamp_of,
    shop::{web_pod, workload},
};

const PAUSE: Duration = Duration::from_millis(50);

/// A stream of creations.
pub struct Stream {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Outcome>,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Outcome {
    name: String,
    created: usize,
    refused: Vec<String>,
    unstamped: Vec<String>,
}

impl Stream {
    /// Starts it in a namespace whose workloads go through the webhook.
    pub fn start(shop: &Shop, name: &str) -> Self {
        let (api, name) = (shop.workloads("Deployment"), name.to_owned());
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut outcome = Outcome {
                name,
                ..Outcome::default()
            };
            let mut ticks = interval(PAUSE);
            while stopped.try_recv().is_err() {
                ticks.tick().await;
                let name = format!("{}-{}", outcome.name, outcome.created);
                let object = deployment(&name);
                let object: DynamicObject = serde_json::from_value(object).expect("an object");
                match api.create(&PostParams::default(), &object).await {
                    Err(error) => outcome.refused.push(format!("{name}: {error}")),
                    Ok(made) if stamp_of(&made).is_none() => outcome.unstamped.push(name),
                    Ok(_) => {}
                }
                outcome.created += 1;
            }
            outcome
        });
        Self { stop, task }
    }

    /// Ends it.
    pub async fn stop(self) -> Outcome {
        self.stop.send(()).expect("it runs");
        self.task.await.expect("it ends")
    }
}

impl Outcome {
    /// Fails unless there were some, none was refused, and each was stamped.
    pub fn assert_all_stamped(&self) {
        assert!(self.created > 20, "{self:?}");
        assert!(
            self.refused.is_empty() && self.unstamped.is_empty(),
            "{self:?}"
        );
        println!("{}: {} created, all stamped", self.name, self.created);
    }
}

/// A Deployment that opted in, and has no pods.
pub fn deployment(name: &str) -> Value {
    let mut object = workload(("Deployment", name), &json!({ AUTO: "true" }), &web_pod());
    object["spec"]["replicas"] = json!(0);
    object
}
