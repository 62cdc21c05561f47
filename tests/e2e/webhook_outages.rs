//! P5: nothing waits for the webhook, and what it missed the watcher makes good. With both as processes,
//! on control planes of the tests' own.

mod replaced;
mod stream;
mod unanswered;

use futures::{StreamExt, stream as futures_stream};
use restamp::stamp::annotations::AUTO;
use serde_json::{Value, json};

use crate::support::{
    Shop,
    shop::{Name, WEB, web_pod, workload},
    wait::until,
};

/// `explain`s at once.
const QUESTIONS: usize = 4;

fn manifest(name: Name<'_>) -> Value {
    workload(name, &json!({ AUTO: "true" }), &web_pod())
}

/// A shop with what [`web_pod`] uses, whose workloads go through the webhook.
async fn shop_with_sources(ground: &crate::support::Ground, name: &str) -> Shop {
    let shop = Shop::injected_on(ground, name).await;
    shop.set_password("one").await;
    shop.set_config_map("app", &[("level", "info")]).await;
    shop
}

/// Waits until workloads run on what is live, as their record says. Writers that undid stamps are answered
/// with a pause, so this may be later than quiet.
async fn until_current(shop: &Shop, names: &[(&str, String)]) {
    let mut left: Vec<_> = names.to_vec();
    until("every workload is recorded and current", async || {
        let asked = left.iter().map(|(kind, name)| async move {
            let said = shop.conclusion((kind, name)).await;
            (said, (*kind, name.clone()))
        });
        let answers: Vec<_> = futures_stream::iter(asked)
            .buffer_unordered(QUESTIONS)
            .collect()
            .await;
        let others = answers.into_iter().filter(|(said, _)| said != "Current");
        let others: Vec<_> = others.collect();
        left = others.iter().map(|(_, name)| name.clone()).collect();
        if others.is_empty() {
            Ok(())
        } else {
            Err(others)
        }
    })
    .await;
}

/// [`WEB`], by names of their own.
fn web() -> Vec<(&'static str, String)> {
    WEB.map(|(kind, name)| (kind, name.to_owned())).to_vec()
}
