//! Sources that are made after their workload, whose absence the webhook recorded.

use std::time::Duration;

use restamp::stamp::annotations::SETTLE;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{World, config_map, deployment, name, next_image, secret, until};
use crate::{
    fake_api::{Effect, FakeApi, key},
    webhook::Webhook,
};

/// A watcher and a webhook, with a Deployment `web` about to be made whose Secret is not there yet.
struct Shop {
    world: World,
    webhook: Webhook,
}

impl Shop {
    async fn with(objects: &[Value]) -> Self {
        let world = World::with(objects).await;
        let webhook = Webhook::start(&world.api).await;
        Self { world, webhook }
    }

    fn api(&self) -> &FakeApi {
        &self.world.api
    }

    /// Makes `web`, which uses Secret `login`.
    async fn deploy(&self) {
        let make = |_: Option<&Value>| deployment("web", &["login"], &[]);
        let web = name("deployments", "web");
        self.webhook.write(self.api(), "kubectl", &web, make).await;
        assert!(self.world.recorded("web", "Secret/login").is_null());
        assert!(self.world.stamp("web").is_some());
    }

    /// Makes `web`, which the watcher hears of after all that happens `meanwhile`.
    async fn deploy_unheard(&self, meanwhile: impl AsyncFnOnce()) {
        self.api().hold("deployments");
        self.deploy().await;
        meanwhile().await;
        self.world.quiet().await;
        self.api().release("deployments");
    }

    /// Makes Secret `login`, or changes it.
    fn put(&self, value: &str) {
        self.api().put("kubectl", &secret("login", value));
    }

    fn delete(&self) {
        self.api().delete(&name("secrets", "login"));
    }

    fn decided(&self, reason: &str) -> u64 {
        let decisions = &self.world.metrics.decisions;
        decisions.with_label_values(&[reason]).get()
    }

    async fn expect_adopted(&self) {
        until("the arrival is recorded", || {
            self.world.recorded("web", "Secret/login").is_string()
        })
        .await;
        self.world.quiet().await;
        assert_eq!(self.world.rollouts("web"), 0);
        assert!(self.decided("SourceArrived") >= 1);
        self.put("changed");
        self.world.until_rolled("web", 1).await;
    }

    async fn expect_one_rollout(&self) {
        self.world.until_rolled("web", 1).await;
        self.world.quiet().await;
        assert_eq!(self.world.rollouts("web"), 1);
    }
}

/// Somebody else who uses the Secret, so that the watcher keeps an eye on it.
fn other() -> Value {
    deployment("other", &["login"], &[])
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_made_after_its_workload_restarts_nothing() {
    let shop = Shop::with(&[]).await;
    shop.deploy().await;
    shop.world.quiet().await;
    shop.put("one");
    shop.expect_adopted().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_made_right_after_its_workload_restarts_nothing() {
    let shop = Shop::with(&[]).await;
    shop.deploy().await;
    shop.put("one");
    shop.expect_adopted().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_heard_of_before_its_workload_restarts_nothing() {
    for objects in [vec![], vec![other()]] {
        let shop = Shop::with(&objects).await;
        shop.deploy_unheard(async || shop.put("one")).await;
        shop.expect_adopted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployed_workload_that_comes_to_use_a_source_is_not_restarted_when_it_is_made() {
    let pages = config_map("pages", "one");
    let shop = Shop::with(&[pages, deployment("web", &[], &["pages"])]).await;
    let generation = shop.world.rollouts("web");
    let make = |_: Option<&Value>| deployment("web", &["login"], &["pages"]);
    let web = name("deployments", "web");
    shop.webhook.write(shop.api(), "kubectl", &web, make).await;
    assert_eq!(shop.world.rollouts("web"), generation + 1, "by the deploy");
    shop.put("one");
    shop.world.quiet().await;
    assert_eq!(shop.world.rollouts("web"), generation + 1);
    assert_eq!(shop.decided("SourceArrived"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_replaced_since_is_stale() {
    let shop = Shop::with(&[]).await;
    shop.deploy().await;
    shop.world.quiet().await;
    shop.api().hold("secrets");
    shop.put("one");
    shop.delete();
    shop.put("two");
    shop.api().release("secrets");
    shop.expect_one_rollout().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_changed_since_is_stale() {
    let shop = Shop::with(&[]).await;
    shop.deploy_unheard(async || {
        shop.put("one");
        shop.put("two");
    })
    .await;
    shop.expect_one_rollout().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_replaced_before_its_workload_is_heard_of_is_stale() {
    for objects in [vec![], vec![other()]] {
        let shop = Shop::with(&objects).await;
        shop.deploy_unheard(async || {
            shop.put("one");
            shop.delete();
            shop.put("two");
        })
        .await;
        shop.expect_one_rollout().await;
    }
}

/// Its pods have started with what was deleted.
#[tokio::test(start_paused = true)]
async fn a_source_that_came_and_went_before_its_workload_is_heard_of_is_stale_when_it_is_back() {
    for objects in [vec![], vec![other()]] {
        let shop = Shop::with(&objects).await;
        shop.deploy_unheard(async || {
            shop.put("one");
            shop.world.quiet().await;
            shop.delete();
        })
        .await;
        shop.world.quiet().await;
        shop.put("two");
        shop.expect_one_rollout().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_made_while_its_watch_is_down_is_stale() {
    let shop = Shop::with(&[]).await;
    shop.deploy().await;
    shop.world.quiet().await;
    shop.api().cut("secrets");
    shop.put("one");
    shop.api().compact();
    shop.expect_one_rollout().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_made_while_the_watcher_is_down_is_stale() {
    let Shop { world, webhook } = Shop::with(&[]).await;
    let api = world.stop().await;
    let make = |_: Option<&Value>| deployment("web", &["login"], &[]);
    let web = name("deployments", "web");
    webhook.write(&api, "kubectl", &web, make).await;
    api.put("kubectl", &secret("login", "one"));
    let world = World::start(&api).await;
    Shop { world, webhook }.expect_one_rollout().await;
}

/// The workload is read anew after a conflict: when its absences were recorded is not known then.
#[tokio::test(start_paused = true)]
async fn a_source_that_came_and_went_before_a_conflict_is_stale_when_it_is_back() {
    let web = deployment("web", &["login", "mail"], &[]);
    let shop = Shop::with(&[secret("mail", "one"), secret("login", "zero"), web]).await;
    let (web, make) = (name("deployments", "web"), |stored: Option<&Value>| {
        next_image(stored.unwrap())
    });
    shop.delete();
    shop.world.quiet().await;
    shop.api().hold("deployments");
    shop.api().put("kubectl", &secret("mail", "two"));
    shop.webhook.write(shop.api(), "kubectl", &web, make).await;
    shop.put("one");
    shop.delete();
    shop.api().edit("kubectl", &web, |web| {
        web["metadata"]["labels"] = json!({ "a": "b" });
    });
    shop.world.quiet().await;
    assert_eq!(shop.world.count("patch", "deployments", "web"), 1);
    assert_eq!(shop.world.count("get", "deployments", "web"), 1);
    shop.api().release("deployments");
    shop.world.quiet().await;
    assert_eq!(shop.world.rollouts("web"), 1, "by the deploy");
    shop.put("two");
    shop.world.until_rolled("web", 2).await;
}

/// Pods that start with a late write of our own may have started with what was deleted since.
#[tokio::test(start_paused = true)]
async fn a_source_that_came_and_went_before_a_late_answer_is_stale_when_it_is_back() {
    let web = deployment("web", &["login", "mail"], &[]);
    let mut hasty = other();
    hasty["metadata"]["annotations"][SETTLE] = json!("0s");
    let objects = [secret("mail", "one"), secret("login", "zero"), web, hasty];
    let shop = Shop::with(&objects).await;
    shop.delete();
    shop.world.quiet().await;
    shop.api().hold("deployments");
    let late = Effect::AnswerLate(Duration::from_secs(8));
    let web = name("deployments", "web");
    shop.api().fail("patch", &web, 1, late);
    shop.api().put("kubectl", &secret("mail", "two"));
    shop.world.until_rolled("web", 1).await;
    shop.put("one");
    sleep(Duration::from_secs(1)).await;
    shop.delete();
    shop.world.quiet().await;
    shop.api().release("deployments");
    assert_eq!(shop.world.rollouts("web"), 1, "by the watcher, for mail");
    shop.put("two");
    shop.world.until_rolled("web", 2).await;
}

/// A list does not tell what came and went before it.
#[tokio::test(start_paused = true)]
async fn a_source_that_came_and_went_while_its_watch_was_down_is_stale_when_it_is_back() {
    let shop = Shop::with(&[]).await;
    shop.deploy_unheard(async || {
        shop.world.quiet().await;
        shop.api().cut("secrets");
        shop.put("one");
        shop.delete();
        shop.api().compact();
    })
    .await;
    shop.world.quiet().await;
    shop.put("two");
    shop.expect_one_rollout().await;
}

/// Pods that waited for it may have started with what came and went.
#[tokio::test(start_paused = true)]
async fn a_source_that_came_and_went_in_a_gap_is_stale_when_it_is_back() {
    let shop = Shop::with(&[]).await;
    shop.deploy().await;
    shop.world.quiet().await;
    shop.api().cut("secrets");
    shop.put("one");
    shop.delete();
    shop.api().compact();
    shop.world.quiet().await;
    shop.put("two");
    shop.expect_one_rollout().await;
}

/// What shows it is a change of some other source.
#[tokio::test(start_paused = true)]
async fn an_absence_after_a_gap_is_known_to_have_lasted_once_the_gap_is_known_to_be_older() {
    let shop = Shop::with(&[secret("mail", "one")]).await;
    shop.api().expire("secrets");
    shop.world.quiet().await;
    shop.api().put("kubectl", &secret("mail", "two"));
    let web = deployment("web", &["login"], &[]);
    shop.api().put("kubectl", &web);
    shop.world.until_recorded().await;
    shop.put("one");
    shop.expect_adopted().await;
}

/// What is deleted elsewhere has nothing to do with it.
#[tokio::test(start_paused = true)]
async fn a_source_that_is_made_after_a_deletion_in_another_namespace_restarts_nothing() {
    let shop = Shop::with(&[]).await;
    let mut elsewhere = secret("other", "one");
    elsewhere["metadata"]["namespace"] = json!("elsewhere");
    shop.api().put("kubectl", &elsewhere);
    shop.deploy_unheard(async || {
        shop.api().delete(&key("secrets", "elsewhere", "other"));
    })
    .await;
    shop.put("one");
    shop.expect_adopted().await;
}

/// Written past the webhook, so that the absence is recorded only when the watcher has looked.
#[tokio::test(start_paused = true)]
async fn a_source_that_came_and_went_before_a_workload_was_recorded_is_stale_when_it_is_back() {
    let shop = Shop::with(&[]).await;
    shop.api().hold("deployments");
    let web = deployment("web", &["login"], &[]);
    shop.api().put("kubectl", &web);
    shop.put("one");
    shop.world.quiet().await;
    shop.delete();
    shop.world.quiet().await;
    shop.api().release("deployments");
    shop.world.until_recorded().await;
    shop.put("two");
    shop.expect_one_rollout().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_came_and_went_while_the_watcher_was_down_is_stale_when_it_is_back() {
    let Shop { world, webhook } = Shop::with(&[]).await;
    let api = world.stop().await;
    api.put("kubectl", &deployment("web", &["login"], &[]));
    api.put("kubectl", &secret("login", "one"));
    api.delete(&name("secrets", "login"));
    let world = World::start(&api).await;
    let shop = Shop { world, webhook };
    shop.world.until_recorded().await;
    shop.put("two");
    shop.expect_one_rollout().await;
}

/// A write past the webhook that brings a new reference.
#[tokio::test(start_paused = true)]
async fn a_source_that_came_and_went_before_its_reference_was_heard_of_is_stale_when_it_is_back() {
    let pages = config_map("pages", "one");
    let shop = Shop::with(&[pages, deployment("web", &[], &["pages"])]).await;
    let (web, next) = (
        name("deployments", "web"),
        deployment("web", &["login"], &["pages"]),
    );
    shop.api().hold("deployments");
    shop.api()
        .edit("kubectl", &web, |web| web["spec"] = next["spec"].clone());
    shop.put("one");
    shop.delete();
    shop.world.quiet().await;
    shop.api().release("deployments");
    shop.world.quiet().await;
    let rollouts = shop.world.rollouts("web");
    shop.put("two");
    shop.world.until_rolled("web", rollouts + 1).await;
}
