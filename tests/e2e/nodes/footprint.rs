//! What the pods of Restamp use, next to what the chart asks for them.

use std::time::Instant;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{DynamicObject, ListParams, PartialObjectMeta, PostParams},
};
use restamp::stamp::annotations::{AUTO, OBSERVED};
use serde_json::json;

use super::{processes::Processes, release::Release};
use crate::support::{
    Ground, Shop,
    shop::{pod, workload},
    wait::until,
};

const SECRETS: usize = 2000;
const WORKLOADS: usize = 500;
/// Of each Secret, in bytes.
const SIZE: usize = 4096;
const AT_ONCE: usize = 16;
/// In bytes.
const MI: f64 = (1 << 20) as f64;
/// How often what a process ever had resident is in its limit, since clusters are larger than this one.
const ROOM: f64 = 4.0;
const NANO_PER_MILLI: f64 = 1e6;

/// Secrets, and workloads that use some of them, and all of them one ConfigMap. They have no pods.
pub async fn crowd(ground: &Ground) -> Shop {
    let shop = Shop::injected_on(ground, "crowd").await;
    let content = "x".repeat(SIZE);
    let began = Instant::now();
    at_once(SECRETS, async |n| {
        shop.set_secret(&format!("s-{n}"), &[("content", &content)])
            .await;
    })
    .await;
    shop.set_config_map("common", &[("n", "1")]).await;
    at_once(WORKLOADS, async |n| {
        let env = json!({ "envFrom": [
            { "secretRef": { "name": format!("s-{n}") } },
            { "configMapRef": { "name": "common" } },
        ] });
        let name = format!("w-{n}");
        let mut object = workload(("Deployment", &name), &json!({ AUTO: "true" }), &pod(env));
        object["spec"]["replicas"] = json!(0);
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        let made = shop.workloads("Deployment");
        let made = made.create(&PostParams::default(), &object).await;
        made.expect("it can be created");
    })
    .await;
    until_all(&shop, |it| it.annotations().contains_key(OBSERVED)).await;
    println!(
        "{SECRETS} Secrets and {WORKLOADS} workloads after {:?}",
        began.elapsed()
    );
    shop
}

/// Every workload of a crowd is rolled out.
pub async fn roll_out(crowd: &Shop) {
    let began = Instant::now();
    crowd.set_config_map("common", &[("n", "2")]).await;
    until_all(crowd, |it| it.metadata.generation == Some(2)).await;
    println!("{WORKLOADS} rollouts after {:?}", began.elapsed());
}

async fn at_once(count: usize, make: impl AsyncFn(usize)) {
    let made = stream::iter(0..count).map(|n| make(n));
    made.buffer_unordered(AT_ONCE).collect::<()>().await;
}

async fn until_all(crowd: &Shop, is_so: impl Fn(&PartialObjectMeta<DynamicObject>) -> bool) {
    let api = crowd.workloads("Deployment");
    let params = ListParams::default();
    until("all workloads are so", async || {
        let all = api.list_metadata(&params).await.expect("a list").items;
        let ours = all.iter().filter(|it| it.name_any().starts_with("w-"));
        match ours.filter(|it| is_so(it)).count() {
            WORKLOADS => Ok(()),
            count => Err(count),
        }
    })
    .await;
}

/// Checks the memory of every pod against what is asked for it, and prints it.
pub async fn memory(release: &Release<'_>, processes: &Processes, when: &str) {
    println!("{when}:");
    for pod in release.all_pods().await {
        let name = pod.name_any();
        // The most that its process ever had resident, in kB.
        let peak = r#"busybox awk '/VmHWM/ { print $2 }' "/proc/$id/status""#;
        let peak: f64 = processes.each(&pod, peak).await.trim().parse().expect("kB");
        let peak = peak * 1024.0 / MI;
        let counted = &release.counted(&pod).await["memory"]["workingSetBytes"];
        let working_set = counted.as_f64().expect("bytes") / MI;
        let used = format!("{name}: peak {peak:.1} Mi, working set {working_set:.1} Mi");
        println!("  {used}");
        let [requested, limit] = ["requests", "limits"].map(|of| asked(&pod, of, "memory", "Mi"));
        assert!(peak < limit / ROOM, "near its limit of {limit} Mi: {used}");
        assert!(working_set < requested, "more than {requested} Mi: {used}");
    }
}

/// Waits until every pod has as little to do as is asked for it, which is what clusters are planned by.
pub async fn at_rest(release: &Release<'_>) {
    for pod in release.all_pods().await {
        let requested = asked(&pod, "requests", "cpu", "m");
        let used = until("it is at rest", async || {
            let counted = &release.counted(&pod).await["cpu"]["usageNanoCores"];
            let used = counted.as_f64().ok_or(f64::NAN)? / NANO_PER_MILLI;
            if used < requested {
                Ok(used)
            } else {
                Err(used)
            }
        })
        .await;
        println!("  {}: {used:.1} m at rest", pod.name_any());
    }
}

/// What is asked for a pod, in that unit.
fn asked(pod: &Pod, of: &str, resource: &str, unit: &str) -> f64 {
    let pod = serde_json::to_value(pod).expect("an object");
    let quantity = &pod["spec"]["containers"][0]["resources"][of][resource];
    let number = quantity.as_str().and_then(|text| text.strip_suffix(unit));
    let number = number.and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("{quantity} is not in {unit}"))
}
