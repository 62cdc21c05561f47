//! What the watcher has in Restamp's own namespace: its Lease, the key, notes about Jobs, and where Reloader's set-up is told.

use std::process::Command;

use serde_json::json;

use super::{Missed, Right, Roles, WATCHER, given::WATCHER_ROLE_AT_HOME, ground, until_metric};
use crate::{
    matrix::rows::{Followed, ROWS},
    support::{
        Ground, Shop,
        ground::{SYSTEM, restamp},
        replica::Replica,
        wait::until,
    },
};

const fn lease(verb: &'static str) -> Right {
    Right::new(
        WATCHER_ROLE_AT_HOME,
        verb,
        ("coordination.k8s.io", "leases"),
    )
}

const fn secrets(verb: &'static str) -> Right {
    Right::new(WATCHER_ROLE_AT_HOME, verb, ("", "secrets"))
}

const fn config_maps(verb: &'static str) -> Right {
    Right::new(WATCHER_ROLE_AT_HOME, verb, ("", "configmaps"))
}

pub(super) fn rights() -> Vec<Right> {
    let leases = ["create", "get", "update"].map(lease);
    [&leases[..], &["create", "delete"].map(secrets)].concat()
}

/// With `watcher.metaInfo` of the chart.
pub(super) const OF_META_INFO: [Right; 2] = [config_maps("patch"), config_maps("create")];

fn at_home(name: &str) -> String {
    format!("{name:?} in namespace {SYSTEM:?}")
}

#[tokio::test]
async fn what_is_missing_for_the_lease_or_the_key_is_named() {
    let Some(ground) = Ground::own("taking rights away").await else {
        return;
    };
    let roles = Roles::of(&ground, WATCHER).await;

    roles.all_but(lease("create")).await;
    let watcher = ground.watcher("no-lease").await;
    let missed = Missed::ever(&watcher, lease("create"));
    missed.until_told(&at_home(WATCHER)).await;
    assert_eq!(watcher.metric("restamp_leader").await, 0.0);

    roles.all_but(secrets("create")).await;
    until_metric(&watcher, "restamp_leader").await;
    let missed = Missed::ever(&watcher, secrets("create"));
    missed.until_not_ready(&at_home("restamp-key")).await;
    let get = super::workloads::SOURCES[1];
    roles.all_but(get).await;
    let missed = Missed::ever(&watcher, get);
    missed.until_not_ready(&at_home("restamp-key")).await;
    roles.all().await;
    Shop::stocked(&ground, "rights-key").await;

    roles.all_but(lease("update")).await;
    let missed = Missed::ever(&watcher, lease("update"));
    missed.until_told(&at_home(WATCHER)).await;
    until("it no longer leads", async || {
        match watcher.metric("restamp_leader").await {
            0.0 => Ok(()),
            leads => Err(leads),
        }
    })
    .await;
    roles.all_but(lease("get")).await;
    let missed = Missed::ever(&watcher, lease("get"));
    missed.until_told(&at_home(WATCHER)).await;
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
    let note =
        |uid: &Option<String>| at_home(&format!("restamp-job-{}", uid.as_ref().expect("a uid")));

    let uid = job.workload.get().await.metadata.uid;
    let missed = Missed::from_now_on(&watcher, secrets("create")).await;
    roles.all_but(secrets("create")).await;
    shop.set_password("two").await;
    missed.until_told(&note(&uid)).await;
    assert_eq!(job.workload.get().await.metadata.uid, uid, "not deleted");

    roles.all_but(secrets("delete")).await;
    let missed = Missed::ever(&watcher, secrets("delete"));
    missed.until_told(&note(&uid)).await;
}

/// Whoever uses it has the chart give the rights, in the namespace that is named.
#[tokio::test]
async fn a_set_up_that_may_not_be_told_is_named() {
    let (ground, _) = Ground::shared_with_watcher().await;
    let Shop { namespace, .. } = &Shop::empty(&ground, "rights-set-up", json!({})).await;
    let rules = [
        json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"] }),
        json!({
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["reloader-meta-info"], "verbs": ["patch"],
        }),
    ];
    let metadata = json!({ "name": WATCHER, "namespace": namespace });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules,
    });
    let file = ground.file(&format!("{namespace}.json"), &role.to_string());
    let file = file.to_str().expect("a path in UTF-8");
    ground.kubectl(&["create", "-f", file]).await;
    let (role, account) = (
        format!("--role={WATCHER}"),
        format!("--serviceaccount={SYSTEM}:{WATCHER}"),
    );
    let binding = [
        "create",
        "rolebinding",
        WATCHER,
        &role,
        &account,
        "-n",
        namespace,
    ];
    ground.kubectl(&binding).await;
    let roles = Roles::of(&ground, WATCHER).await;
    let kubeconfig = ground.kubeconfig_of(SYSTEM, WATCHER).await;
    let run = |name: &str| {
        let mut command = Command::new(restamp());
        command.args(["watcher", "--identity", name]);
        command.env("KUBECONFIG", &kubeconfig);
        command.env("RELOADER_NAMESPACE", namespace);
        Replica::run(command, &ground.new_log(name))
    };
    for right in OF_META_INFO {
        roles.all_but(right).await;
        let watcher = run(right.verb);
        let missed = Missed::ever(&watcher, right);
        missed
            .until_told(&format!(
                "\"reloader-meta-info\" in namespace {namespace:?}"
            ))
            .await;
        roles.all().await;
    }
    let _watcher = run("rich");
    until("it is told", async || {
        let found = ["get", "configmaps", "-n", namespace, "-o", "name"];
        let found = ground.kubectl(&found).await;
        found
            .contains("reloader-meta-info")
            .then_some(())
            .ok_or(found)
    })
    .await;
}
