//! Kinds of workload beside one another, and such as have no template of their own.

use std::time::Duration;

use restamp::{
    cluster::kind::Kinds,
    stamp::annotations::{AUTO, OBSERVED, SECRET_RELOAD},
};
use serde_json::json;
use tokio::time::sleep;

use super::{World, deployment, name, secret, until};
use crate::fake_api::FakeApi;

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_leaves_one_of_the_same_name_alone() {
    let api = FakeApi::default();
    api.put("kubectl", &secret("login", "one"));
    api.put("kubectl", &deployment("web", &["login"], &[]));
    let mut kinds = Kinds::default();
    let given = "example.com/v1/deployments/Deployment=spec.template";
    kinds.add(given.parse().unwrap());
    let world = World::following(&api, kinds).await;
    world.until_recorded().await;
    world.quiet().await;
    // It has been looked for a few times by then.
    sleep(Duration::from_secs(120)).await;
    api.put("kubectl", &secret("login", "two"));
    world.until_rolled("web", 1).await;
}

/// As an Argo Rollout that takes the template of a Deployment, or of a kind that is given with a wrong path.
#[tokio::test(start_paused = true)]
async fn what_has_no_template_of_its_own_is_left_alone() {
    let annotations = json!({ AUTO: "true", SECRET_RELOAD: "login" });
    let mut without = deployment("without", &[], &[]);
    without["metadata"]["annotations"] = annotations.clone();
    without["spec"] = json!({ "workloadRef": { "name": "web" } });
    let mut with = deployment("with", &[], &[]);
    with["metadata"]["annotations"] = annotations;
    let api = FakeApi::default();
    for object in [&secret("login", "one"), &without, &with] {
        api.put("kubectl", object);
    }
    let world = World::start(&api).await;
    let recorded = |workload| {
        let object = api.get(&name("deployments", workload)).unwrap();
        object["metadata"]["annotations"][OBSERVED].is_string()
    };
    until("the other one is recorded", || recorded("with")).await;
    api.put("kubectl", &secret("login", "two"));
    world.until_rolled("with", 1).await;
    world.quiet().await;
    let now = api.get(&name("deployments", "without")).unwrap();
    assert_eq!(now["spec"], without["spec"]);
    assert!(!recorded("without"));
}

/// The right to list Secrets is for the notes about Jobs, and not given where these are ignored.
#[tokio::test(start_paused = true)]
async fn where_jobs_are_ignored_no_notes_about_them_are_looked_for() {
    for ignored in [false, true] {
        let api = FakeApi::default();
        api.put("kubectl", &secret("login", "one"));
        api.put("kubectl", &deployment("web", &["login"], &[]));
        let mut kinds = Kinds::default();
        if ignored {
            kinds.ignore("jobs");
        }
        let world = World::following(&api, kinds).await;
        world.until_recorded().await;
        world.quiet().await;
        let calls = api.calls().into_iter();
        let notes = calls
            .filter(|call| call.verb == "list" && call.key.resource == "secrets" && !call.metadata);
        assert_eq!(notes.count() > 0, !ignored);
    }
}
