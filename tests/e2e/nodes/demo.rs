//! The story of `make demo`, claim by claim and with its manifests, where Restamp and the shop run in pods.

use std::fs;

use serde_json::Value;

use super::{processes::Processes, release::Release};
use crate::{
    certificates::site::folder,
    support::{Ground, Shop, rollouts::Rollouts, shop::Name},
};

const CHECKOUT: &str = "Deployment/checkout";
const CATALOG: &str = "StatefulSet/catalog";
/// Uses what checkout uses, and did not opt in.
const LEGACY: &str = "Deployment/legacy";
/// Of the demo, which has no sentinels.
const PROBE: &str = "Deployment/probe";

const RECORDED: [Name<'static>; 2] = [("Deployment", "checkout"), ("StatefulSet", "catalog")];

/// These rollouts, and no other.
fn only(rolled: &[(&str, u64)]) -> Rollouts {
    let none = [CHECKOUT, CATALOG, LEGACY, PROBE].map(|name| (name, 0));
    let all = none.iter().chain(rolled);
    all.map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

pub async fn comes_true(ground: &Ground, release: &Release<'_>, processes: &Processes) {
    let shop = Shop::injected_on(ground, "demo").await;
    let demo = Demo { shop: &shop };
    demo.run(&["apply", "-f", &demo.manifest("shop")]).await;
    shop.until_recorded(&RECORDED).await;
    shop.until_quiet().await;
    demo.changes().await;
    demo.deploys().await;
    demo.watchers_are_killed(release, processes).await;
    demo.webhooks_are_killed(release, processes).await;
    demo.explains(release).await;
}

struct Demo<'a> {
    shop: &'a Shop,
}

impl Demo<'_> {
    async fn changes(&self) {
        let two = r#"{"stringData":{"password":"two"}}"#;
        let two = ["patch", "secret", "payment", "-p", two];
        self.expect("a Secret changes", &[(CHECKOUT, 1)], self.run(&two))
            .await;

        let same = async {
            self.run(&["delete", "secret", "payment"]).await;
            let create = ["create", "secret", "generic", "payment"];
            self.run(&[&create[..], &["--from-literal=password=two"]].concat())
                .await;
        };
        self.expect("the same content", &[], same).await;

        let label = ["label", "secret", "payment", "team=payments"];
        self.expect("a label on it", &[], self.run(&label)).await;
    }

    async fn deploys(&self) {
        let release = self.manifest("release-2");
        let apply = ["apply", "-f", &release];
        self.expect("a deploy", &[(CHECKOUT, 1)], self.run(&apply))
            .await;
        let again = async {
            self.run(&apply).await;
            self.run(&["replace", "-f", &release]).await;
        };
        self.expect("the same manifest", &[], again).await;
    }

    async fn watchers_are_killed(&self, release: &Release<'_>, processes: &Processes) {
        let pods = release.pods_of("watcher").await;
        let plums = r#"{"data":{"fruit":"plums"}}"#;
        let plums = ["patch", "configmap", "products", "-p", plums];
        let while_dead = async {
            let before = self.shop.revisions().await;
            self.run(&plums).await;
            self.shop.until_rolled_out().await;
            assert_eq!(self.shop.revisions().await, before, "while all are dead");
        };
        let outage = processes.keep_dead(&pods, while_dead);
        let outage = self.shop.until_restamped(&RECORDED[1..], outage);
        self.expect("they come back", &[(CATALOG, 1)], outage).await;
        release.until_restarted_after_kill(&pods).await;
    }

    async fn webhooks_are_killed(&self, release: &Release<'_>, processes: &Processes) {
        let pods = release.pods_of("webhook").await;
        let release_3 = self.manifest("release-3");
        let apply = ["apply", "-f", &release_3];
        let while_dead = async {
            release.until_left_dead(&pods).await;
            self.run(&apply).await;
        };
        let outage = processes.keep_dead(&pods, while_dead);
        self.expect("without a webhook", &[(CHECKOUT, 2)], outage)
            .await;
        release.until_restarted_after_kill(&pods).await;
    }

    /// By the program in the image, with the rights of the watcher.
    async fn explains(&self, release: &Release<'_>) {
        for (workload, opted_in) in [
            ("deployment/checkout", "by reloader.stakater.com/auto"),
            ("deployment/legacy", "no"),
        ] {
            let said = release.explain(workload, &self.shop.namespace).await;
            let opted_in = format!("opted in: {opted_in}\n");
            assert!(said.contains(&opted_in), "{said}");
            assert!(said.contains("now:      nothing to do"), "{said}");
        }
    }

    async fn expect(&self, what: &str, rolled: &[(&str, u64)], action: impl Future<Output = ()>) {
        assert_eq!(self.shop.rollouts(action).await, only(rolled), "{what}");
    }

    async fn run(&self, args: &[&str]) {
        self.shop.kubectl(args, &Value::Null).await;
    }

    /// A file of the demo, with images that the nodes have.
    fn manifest(&self, name: &str) -> String {
        let path = folder(&format!("examples/demo/{name}.yaml"));
        let mut text = fs::read_to_string(path).expect("a manifest");
        for workload in ["checkout", "catalog", "legacy", "probe"] {
            text = text.replace(&format!("image: {workload}:"), "image: app:");
        }
        // Another one than that before it.
        let text = text.replace("app:3", "app:1");
        let file = self.shop.ground.file(&format!("{name}.yaml"), &text);
        file.display().to_string()
    }
}
