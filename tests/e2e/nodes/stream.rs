//! Workloads that are created one after the other, as long as something is done to Restamp.

use std::time::{Duration, Instant};

use kube::api::{DynamicObject, PostParams};
use restamp::stamp::annotations::AUTO;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle, time::interval};

use crate::support::{
    Shop,
    deploys::stamp_of,
    shop::{web_pod, workload},
};

/// How long the webhook waits for sources.
const BUDGET: Duration = Duration::from_secs(1);
/// However soon it is to end.
const FEWEST: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// A stream of creations.
pub struct Stream {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Outcome>,
}

/// What became of them.
#[derive(Debug, Default)]
#[must_use]
pub struct Outcome {
    name: String,
    created: usize,
    refused: Vec<String>,
    /// With what the creation took.
    unstamped: Vec<(String, Duration)>,
}

impl Stream {
    /// Starts it in a namespace whose workloads go through the webhook.
    fn start(shop: &Shop, name: &str) -> Self {
        let (api, name) = (shop.workloads("Deployment"), name.to_owned());
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut outcome = Outcome {
                name,
                ..Outcome::default()
            };
            let mut ticks = interval(PAUSE);
            while outcome.created < FEWEST || stopped.try_recv().is_err() {
                ticks.tick().await;
                let name = format!("{}-{}", outcome.name, outcome.created);
                let object = deployment(&name);
                let object: DynamicObject = serde_json::from_value(object).expect("an object");
                let began = Instant::now();
                match api.create(&PostParams::default(), &object).await {
                    Err(error) => outcome.refused.push(format!("{name}: {error}")),
                    Ok(made) if stamp_of(&made).is_none() => {
                        outcome.unstamped.push((name, began.elapsed()));
                    }
                    Ok(_) => {}
                }
                outcome.created += 1;
            }
            outcome
        });
        Self { stop, task }
    }

    /// As long as `action` takes.
    pub async fn during(shop: &Shop, name: &str, action: impl Future<Output = ()>) -> Outcome {
        let stream = Self::start(shop, name);
        action.await;
        stream.stop().await
    }

    /// Ends it.
    async fn stop(self) -> Outcome {
        self.stop.send(()).expect("it runs");
        self.task.await.expect("it ends")
    }
}

impl Outcome {
    /// Fails unless none was refused, and each was stamped.
    pub fn assert_all_stamped(&self) {
        self.assert_stamped_in_time();
        assert_eq!(self.unstamped, [], "{}", self.name);
    }

    /// The same, but for those for whose sources the webhook waited in vain, which a machine with too much to do can cause:
    /// it goes without a stamp then, and the watcher sees to it.
    pub fn assert_stamped_in_time(&self) {
        assert_eq!(self.refused, [] as [String; 0], "{}", self.name);
        let mut unstamped = self.unstamped.iter();
        let at_once = unstamped.find(|(_, took)| *took < BUDGET);
        assert_eq!(at_once, None, "{}", self.name);
        let (name, created) = (&self.name, self.created);
        println!("{name}: {created} created, unstamped {:?}", self.unstamped);
    }
}

/// A Deployment that opted in, and has no pods.
pub fn deployment(name: &str) -> Value {
    let mut object = workload(("Deployment", name), &json!({ AUTO: "true" }), &web_pod());
    object["spec"]["replicas"] = json!(0);
    object
}
