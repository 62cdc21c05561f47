//! What the watcher has in Restamp's own namespace: its Lease, the key, and notes about Jobs.

use super::{Right, Roles, WATCHER, ground, until_logged};
use crate::{
    matrix::rows::{Followed, ROWS},
    support::{Ground, Shop, ground::SYSTEM, wait::until},
};

const LEASES: &str = "leases.coordination.k8s.io";

pub(super) fn rights() -> Vec<Right> {
    let leases = ["create", "get", "update"].map(|verb| (verb, "coordination.k8s.io", "leases"));
    let secrets = ["create", "list", "delete"].map(|verb| (verb, "", "secrets"));
    [leases, secrets].concat()
}

fn may_not(verb: &str, resource: &str, name: &str) -> String {
    format!("may not {verb} {resource} {name:?} in namespace {SYSTEM:?}: grant this right")
}

#[tokio::test]
async fn what_is_missing_for_the_lease_or_the_key_is_named() {
    let Some(ground) = Ground::own("taking rights away").await else {
        return;
    };
    let roles = Roles::of(&ground, WATCHER).await;
    let lease = |verb| (verb, "coordination.k8s.io", "leases");

    roles.all_but(lease("create")).await;
    let watcher = ground.watcher("no-lease").await;
    until_logged(&watcher, &may_not("create", LEASES, WATCHER)).await;
    assert_eq!(watcher.metric("restamp_leader").await, 0.0);

    roles.all_but(("create", "", "secrets")).await;
    watcher.until_leading().await;
    until_logged(&watcher, &may_not("create", "secrets", "restamp-key")).await;
    roles.all_but(("get", "", "secrets")).await;
    until_logged(&watcher, &may_not("get", "secrets", "restamp-key")).await;
    roles.all().await;
    Shop::stocked(&ground, "rights-key").await;

    roles.all_but(lease("update")).await;
    until_logged(&watcher, &may_not("update", LEASES, WATCHER)).await;
    until("it no longer leads", async || {
        match watcher.metric("restamp_leader").await {
            0.0 => Ok(()),
            leads => Err(leads),
        }
    })
    .await;
    roles.all_but(lease("get")).await;
    until_logged(&watcher, &may_not("get", LEASES, WATCHER)).await;
    roles.all().await;
    watcher.until_leading().await;
}

#[tokio::test]
async fn notes_about_jobs_that_may_not_be_kept_are_named() {
    let Some(ground) = ground("taking rights away").await else {
        return;
    };
    let roles = Roles::of(&ground, WATCHER).await;
    let watcher = ground.leading_watcher("only").await;
    let shop = Shop::open(&ground, "rights-notes").await;
    shop.set_password("one").await;
    let row = ROWS.iter().find(|row| row.gvk.2 == "Job").expect("a row");
    let job = Followed::make(row, &shop).await;
    job.workload.until_recorded().await;
    let note = |uid: Option<String>| format!("restamp-job-{}", uid.expect("a uid"));

    let uid = job.workload.get().await.metadata.uid;
    roles.all_but(("create", "", "secrets")).await;
    shop.set_password("two").await;
    until_logged(&watcher, &may_not("create", "secrets", &note(uid.clone()))).await;
    assert_eq!(job.workload.get().await.metadata.uid, uid, "not deleted");

    roles.all_but(("delete", "", "secrets")).await;
    until_logged(&watcher, &may_not("delete", "secrets", &note(uid))).await;
    watcher.stop().await;

    roles.all_but(("list", "", "secrets")).await;
    let watcher = ground.watcher("next").await;
    let told = format!("may not list secrets in namespace {SYSTEM:?}: grant this right");
    until_logged(&watcher, &told).await;
}
