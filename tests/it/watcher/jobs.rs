//! Jobs, which are made again: what has to happen at a moment that only a simulated API server can hold.

use std::time::Duration;

use serde_json::json;

use super::{HOME, World, deployment, name, secret, until};
use crate::fake_api::{Effect, key};

#[tokio::test(start_paused = true)]
async fn one_that_finishes_between_the_decision_and_its_deletion_stays() {
    let mut job = deployment("import", &["login"], &[]);
    (job["apiVersion"], job["kind"]) = (json!("batch/v1"), json!("Job"));
    let world = World::with(&[secret("login", "one"), job]).await;
    let import = name("jobs", "import");
    let uid = || world.api.get(&import).unwrap()["metadata"]["uid"].clone();
    let before = uid();
    let note = key(
        "secrets",
        HOME,
        &format!("restamp-job-{}", before.as_str().unwrap()),
    );
    let late = Effect::AnswerLate(Duration::from_secs(3));
    world.api.fail("create", &key("secrets", HOME, ""), 1, late);
    world.api.put("kubectl", &secret("login", "two"));
    until("what is to be made is written down", || {
        world.api.get(&note).is_some()
    })
    .await;
    world.api.edit("kube-controller-manager", &import, |job| {
        job["status"] = json!({ "conditions": [{ "type": "Complete", "status": "True" }] });
    });
    world.quiet().await;
    assert_eq!(world.count("delete", "jobs", "import"), 1);
    assert_eq!(uid(), before);
    assert_eq!(world.api.get(&note), None);
}
