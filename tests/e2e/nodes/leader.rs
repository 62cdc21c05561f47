//! The watcher that leads is killed, and another one takes over.

use futures::TryStreamExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{
    Api, ResourceExt,
    api::{WatchEvent, WatchParams},
};
use restamp::stamp::annotations::AUTO;
use serde_json::json;

use super::{processes::Processes, release::Release};
use crate::support::{
    Shop,
    ground::SYSTEM,
    rollouts::each,
    shop::{Name, pod},
    wait::until,
};

const LEASE: &str = "restamp-watcher";
const USERS: [Name<'static>; 2] = [("Deployment", "before"), ("Deployment", "after")];

/// Whoever uses what changes just before, or while nobody leads, is restarted once.
pub async fn dies(shop: &Shop, release: &Release<'_>, processes: &Processes) {
    for name in USERS {
        shop.set_secret(name.1, &[("n", "1")]).await;
        let env = json!({ "envFrom": [{ "secretRef": { "name": name.1 } }] });
        shop.create_workload(name, json!({ AUTO: "true" }), pod(env))
            .await;
    }
    shop.until_recorded(&USERS).await;
    shop.until_quiet().await;

    let leases: Api<Lease> = Api::namespaced(shop.client.clone(), SYSTEM);
    let lease = leases.get(LEASE).await.expect("a Lease");
    let leader = release.pod_of_holder(&holder(&lease)).await;
    let change = async {
        shop.set_secret("before", &[("n", "2")]).await;
        processes.kill(std::slice::from_ref(&leader)).await;
        shop.set_secret("after", &[("n", "2")]).await;
    };
    let change = shop.until_restamped(&USERS, change);
    let mut expected = each(0);
    expected.extend(USERS.map(|(kind, name)| (format!("{kind}/{name}"), 1)));
    assert_eq!(shop.rollouts(change).await, expected, "a leader dies");

    release.until_restarted_after_kill(&[leader]).await;
    was_taken_over_when_it_had_run_out(&leases, lease).await;
}

/// Nobody gave it back: the one who has it now has waited for it.
async fn was_taken_over_when_it_had_run_out(leases: &Api<Lease>, first: Lease) {
    let params = WatchParams::default().fields(&format!("metadata.name={LEASE}"));
    let version = first.resource_version().expect("a version");
    let history = until("somebody else leads", async || {
        // All that has happened to it since, and one more second.
        let events = leases.watch(&params.clone().timeout(1), &version).await;
        let events: Vec<_> = events
            .expect("a watch")
            .try_collect()
            .await
            .expect("events");
        let states = events.into_iter().map(|event| match event {
            WatchEvent::Modified(lease) => lease,
            other => panic!("{other:?}"),
        });
        let states: Vec<_> = states.collect();
        let is_other = |lease: &Lease| holder(lease) != holder(&first);
        states
            .iter()
            .any(is_other)
            .then_some(states.clone())
            .ok_or(states)
    })
    .await;
    let next = history
        .iter()
        .position(|lease| holder(lease) != holder(&first));
    let next = next.expect("somebody else leads");
    let last = if next == 0 {
        &first
    } else {
        &history[next - 1]
    };
    let (last, next) = (spec(last), spec(&history[next]));
    let waited = next
        .acquire_time
        .expect("a time")
        .0
        .duration_since(last.renew_time.expect("a time").0);
    let duration = last.lease_duration_seconds.expect("a duration");
    assert!(
        waited.as_secs() >= duration.into(),
        "{waited:?} of {duration} s"
    );
    println!("a leader was killed, and another one leads {waited:?} after its last word");
}

/// Empty if it was given back.
fn holder(lease: &Lease) -> String {
    spec(lease).holder_identity.unwrap_or_default()
}

fn spec(lease: &Lease) -> LeaseSpec {
    lease.spec.clone().expect("a spec")
}
