//! Reads and writes of sources and workloads, in the namespaces of users.

use kube::api::{Patch, PatchParams};
use restamp::cluster::kind::KINDS;
use serde_json::json;

use super::{Missed, Right, Roles, WATCHER, given::WATCHER_ROLE, ground, until_metric};
use crate::{
    matrix::rows::{Followed, ROWS, Row},
    support::{Ground, Shop, replica::Replica, rollouts::each, shop::WEB, wait::until},
};

pub(super) const SOURCES: [Right; 2] = [
    everywhere("get", ("", "configmaps")),
    everywhere("get", ("", "secrets")),
];
const EVENTS: Right = everywhere("create", ("", "events"));
/// Of Jobs, beside what is done with every kind.
const OF_JOBS: [Right; 2] = [
    everywhere("create", ("batch", "jobs")),
    everywhere("delete", ("batch", "jobs")),
];

const fn everywhere(verb: &'static str, resource: (&'static str, &'static str)) -> Right {
    Right::new(WATCHER_ROLE, verb, resource)
}

pub(super) fn rights() -> Vec<Right> {
    let kinds = KINDS
        .iter()
        .flat_map(|kind| ["get", "patch"].map(|verb| everywhere(verb, (kind.group, kind.plural))));
    kinds
        .chain(SOURCES)
        .chain([EVENTS])
        .chain(OF_JOBS)
        .collect()
}

/// A watcher on a cluster of its own, and a namespace with the sources of all rows.
struct Site {
    roles: Roles,
    watcher: Replica,
    shop: Shop,
}

impl Site {
    async fn open(ground: &Ground) -> Self {
        let roles = Roles::of(ground, WATCHER).await;
        let watcher = ground.leading_watcher("only").await;
        let shop = Shop::open(ground, "rights").await;
        shop.set_password("one").await;
        shop.set_config_map("app", &[("level", "info")]).await;
        Self {
            roles,
            watcher,
            shop,
        }
    }

    /// Takes a right away, and has it missed.
    async fn without(&self, right: Right) -> Missed<'_> {
        let missed = Missed::from_now_on(&self.watcher, right).await;
        self.roles.all_but(right).await;
        missed
    }

    /// An object, as errors have it.
    fn object(&self, name: &str) -> String {
        format!("{name:?} in namespace {:?}", self.shop.namespace)
    }
}

/// The rows of built-in kinds, each once.
fn rows() -> impl Iterator<Item = (&'static Row, &'static str, &'static str)> {
    KINDS.iter().map(|kind| {
        let mut rows = ROWS.iter().filter(|row| row.gvk.2 == kind.kind);
        (rows.next().expect("a row"), kind.group, kind.plural)
    })
}

#[tokio::test]
async fn what_may_not_be_patched_is_named_and_recorded_once_it_may() {
    let Some(ground) = ground("taking rights away").await else {
        return;
    };
    let site = Site::open(&ground).await;
    for (row, group, plural) in rows() {
        let missed = site.without(everywhere("patch", (group, plural))).await;
        let made = Followed::make(row, &site.shop).await;
        missed.until_told(&site.object(row.name)).await;
        site.roles.all().await;
        made.workload.until_recorded().await;
    }
    until_metric(&site.watcher, "restamp_writes_total{result=\"forbidden\"").await;
}

/// A workload is read after somebody else wrote it at the same time, and before a Job is made.
#[tokio::test]
async fn what_may_not_be_read_again_is_named_and_restarted_once_it_may() {
    let Some(ground) = ground("taking rights away").await else {
        return;
    };
    let site = Site::open(&ground).await;
    for (row, group, plural) in rows() {
        let made = Followed::make(row, &site.shop).await;
        made.workload.until_recorded().await;
        let missed = site.without(everywhere("get", (group, plural))).await;
        site.shop.set_password(plural).await;
        let object = site.object(row.name);
        tokio::select! {
            () = missed.until_told(&object) => {}
            () = write_on_and_on(&site.shop, &made) => {}
        }
        site.roles.all().await;
        until_current(&site.shop, row).await;
    }
}

async fn write_on_and_on(shop: &Shop, made: &Followed) {
    for n in 0.. {
        let labels = json!({ "metadata": { "labels": { "n": n.to_string() } } });
        let api = &made.workload.api;
        let patched = api
            .patch(
                made.row.name,
                &PatchParams::default(),
                &Patch::Merge(labels),
            )
            .await;
        patched.expect("it can be patched");
        if n % 200 == 199 {
            shop.set_password(&format!("{}-{n}", made.row.name)).await;
        }
    }
}

#[tokio::test]
async fn jobs_that_may_not_be_made_or_deleted_are_named_and_made_again_once_they_may() {
    let Some(ground) = ground("taking rights away").await else {
        return;
    };
    let site = Site::open(&ground).await;
    for (row, ..) in rows().filter(|(_, group, _)| *group == "batch") {
        let made = Followed::make(row, &site.shop).await;
        made.workload.until_recorded().await;
        for (n, right) in OF_JOBS.into_iter().enumerate() {
            if right.verb == "delete" && row.gvk.2 == "CronJob" {
                continue;
            }
            let missed = site.without(right).await;
            site.shop.set_password(&format!("{}-{n}", row.name)).await;
            // The name of one that a CronJob runs goes on.
            let name = format!("\"{}", row.name);
            missed.until_told(&name).await;
            site.roles.all().await;
            until_current(&site.shop, row).await;
        }
    }
}

#[tokio::test]
async fn sources_that_may_not_be_read_are_named_and_followed_once_they_may() {
    let Some(ground) = ground("taking rights away").await else {
        return;
    };
    let site = Site::open(&ground).await;
    site.shop.stock().await;
    site.shop.until_recorded(&WEB).await;
    site.shop.until_quiet().await;
    for (right, name) in SOURCES.into_iter().zip(["app", "db"]) {
        let missed = site.without(right).await;
        let change = async {
            match name {
                "app" => site.shop.set_config_map("app", &[("level", "debug")]).await,
                _ => site.shop.set_password("two").await,
            }
            missed.until_told(&site.object(name)).await;
            site.roles.all().await;
        };
        let change = site.shop.until_restamped(&WEB, change);
        assert_eq!(site.shop.rollouts(change).await, each(1), "{name}");
    }
    until_metric(
        &site.watcher,
        "restamp_source_reads_total{result=\"forbidden\"}",
    )
    .await;

    let missed = site.without(EVENTS).await;
    let change = site.shop.set_password("without an event");
    assert_eq!(site.shop.rollouts(change).await, each(1));
    let namespace = &site.shop.namespace;
    missed
        .until_told(&format!("in namespace {namespace:?}"))
        .await;
    until_metric(&site.watcher, "restamp_events_total{result=\"forbidden\"}").await;
}

async fn until_current(shop: &Shop, row: &Row) {
    until("it runs on what is live", async || {
        match shop.conclusion((row.gvk.2, row.name)).await {
            conclusion if conclusion == "Current" => Ok(()),
            conclusion => Err(conclusion),
        }
    })
    .await;
}
