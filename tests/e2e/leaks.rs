//! P6: what Secrets hold is nowhere to be found, neither in what Restamp says nor in its memory.

use std::process::{Command, Stdio};

use base64::{Engine, engine::general_purpose::STANDARD};
use restamp::stamp::annotations::AUTO;
use restamp_test_cluster::process::spawn_tied;
use serde_json::{Value, json};

use crate::support::{
    Ground, Shop, memory,
    replica::Replica,
    shop::{WEB, web_pod, workload},
    wait::until,
};

/// What a Secret holds: a text again and again, so that no piece of it is overlooked.
#[derive(Clone, Copy)]
struct Payload(&'static str);

/// Of 15 bytes, so that their base64 repeats as well.
const USED: [Payload; 2] = [Payload("used-7Kq2Wm9Xp4"), Payload("next-3Zt8Rb5Yc6")];
const UNUSED: [Payload; 2] = [Payload("idle-5Hn1Jd8Lf2"), Payload("rest-9Gv4Sk7Ua3")];

impl Payload {
    fn text(self) -> String {
        self.0.repeat(6)
    }

    /// It, and its base64 wherever it begins.
    fn forms(self) -> Vec<String> {
        assert_eq!(self.0.len(), 15);
        let turned = |by| STANDARD.encode([&self.0[by..], &self.0[..by]].concat());
        vec![self.0.to_owned(), turned(0), turned(1), turned(2)]
    }
}

fn forms(payloads: &[Payload]) -> Vec<String> {
    payloads
        .iter()
        .flat_map(|payload| payload.forms())
        .collect()
}

/// Memory that is freed and not wiped may be overwritten by chance: that of one Secret often is, that of so
/// many is not.
const UNRELATED: usize = 40;

fn secret(name: &str, payload: Payload) -> Value {
    let text = payload.text();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
        "data": { "password": STANDARD.encode(&text) },
        "stringData": { "plain": text },
    })
}

/// As people do it, so that the annotation of the last apply holds all of it, too.
async fn apply_secret(shop: &Shop, name: &str, payload: Payload) {
    let object = secret(name, payload);
    shop.kubectl(&["apply", "-f", "-"], &object).await;
}

async fn apply_unrelated(shop: &Shop, payload: Payload) {
    let items = (0..UNRELATED).map(|n| secret(&format!("unrelated-{n}"), payload));
    let items: Vec<_> = items.collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    shop.kubectl(&["apply", "-f", "-"], &list).await;
}

/// Everything that Restamp says about a namespace.
async fn all_said(shop: &Shop, processes: [&Replica; 2]) -> String {
    let mut said = String::new();
    for process in processes {
        said += &process.log();
        said += &process.http("/metrics").await.expect("metrics").1;
    }
    for (kind, name) in WEB {
        let workload = format!("{kind}/{name}");
        for output in ["text", "json"] {
            let args = ["explain", &workload, "-n", &shop.namespace, "-o", output];
            let kubeconfig = shop.ground.kubeconfig();
            let (_, out, err) = shop.ground.restamp(kubeconfig, &args).await;
            assert!(out.contains("Current"), "{out}{err}");
            said += &(out + &err);
        }
    }
    let objects = "events,deployments,statefulsets,daemonsets,controllerrevisions";
    let args = ["get", objects, "-o", "json"];
    said + &shop.kubectl(&args, &Value::Null).await.out
}

async fn work(shop: &Shop) {
    shop.set_config_map("app", &[("level", "info")]).await;
    apply_secret(shop, "db", USED[0]).await;
    apply_unrelated(shop, UNUSED[0]).await;
    for name in WEB {
        let object = workload(name, &json!({ AUTO: "true" }), &web_pod());
        shop.kubectl(&["apply", "-f", "-"], &object).await;
    }
    shop.until_quiet().await;
    apply_secret(shop, "db", USED[1]).await;
    apply_unrelated(shop, UNUSED[1]).await;
    shop.until_quiet().await;
    for (kind, name) in WEB {
        let workload = format!("{kind}/{name}");
        shop.kubectl(&["rollout", "restart", &workload], &Value::Null)
            .await;
    }
    shop.until_quiet().await;
}

/// The search finds what a process holds that was told it.
async fn assert_found_where_it_is(payload: Payload) {
    let mut holder = Command::new("sh");
    holder.args(["-c", "read -r held; read -r end"]);
    holder.stdin(Stdio::piped());
    let mut holder = spawn_tied(holder).expect("a shell");
    let mut stdin = holder.stdin.take().expect("a pipe");
    let held = format!("{}\n", STANDARD.encode(payload.text()));
    std::io::Write::write_all(&mut stdin, held.as_bytes()).expect("it listens");
    until("the shell holds it", async || {
        let found = memory::find(holder.id(), &payload.forms());
        if found.is_empty() {
            Err("not found")
        } else {
            Ok(())
        }
    })
    .await;
    drop(stdin);
    holder.wait().expect("it ends");
}

#[tokio::test]
async fn p6_what_secrets_hold_is_not_said_and_leaves_memory() {
    let Some((ground, first, webhook)) = Ground::own_with_both("looking for leaks").await else {
        return;
    };
    assert_found_where_it_is(UNUSED[0]).await;
    let shop = Shop::injected_on(&ground, "leaks").await;
    work(&shop).await;
    // One that lists what is there, rather than being told.
    let watcher = ground.watcher("second").await;
    watcher.until_ready().await;
    first.stop().await;
    watcher.until_leading().await;
    shop.until_quiet().await;
    apply_secret(&shop, "db", USED[0]).await;
    shop.until_quiet().await;

    let processes = [&watcher, &webhook.replica];
    let said = all_said(&shop, processes).await;
    assert!(said.contains(&shop.namespace));
    for form in forms(&[USED, UNUSED].concat()) {
        assert!(!said.contains(&form), "{form} in {said}");
    }
    let found = memory::find(watcher.id(), std::slice::from_ref(&shop.namespace));
    assert!(!found.is_empty(), "it knows its workloads");
    let found = memory::find(webhook.replica.id(), &forms(&UNUSED));
    assert_eq!(found, [""; 0], "the webhook never asks for it");

    // The watch that it came by lasts a minute.
    until(
        "nothing of it is left in the watcher's memory",
        async || {
            // Of what is digested, pieces may be left on a thread's stack, which nobody wipes.
            match memory::find(watcher.id(), &forms(&UNUSED)) {
                found if found.is_empty() => Ok(()),
                found => Err(found),
            }
        },
    )
    .await;
}
