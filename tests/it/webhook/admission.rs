//! Writes of workloads while the API server does not answer as it should.

use std::time::Duration;

use restamp::{
    stamp::{
        annotations::{OBSERVED, STAMP},
        reason::Reason,
    },
    webhook::CurrentKeyring,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Webhook,
    api_server::{follow_key, review},
    reviews::{shop, web},
};
use crate::{
    fake_api::{Effect, FakeApi},
    logs::Logs,
    watcher::{config_map, deployment, installation_key, name, secret},
};

/// The stamp and the memory.
pub fn own(object: &Value) -> (&Value, &Value) {
    let template = &object["spec"]["template"]["metadata"];
    (
        &template["annotations"][STAMP],
        &object["metadata"]["annotations"][OBSERVED],
    )
}

/// Another image, and none of our annotations: what somebody sends who knows nothing of Restamp.
pub fn next_image() -> Value {
    let mut web = web();
    web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:2");
    web
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_holds_up_no_write() {
    let second = Duration::from_secs(1);
    let cases = [
        (Effect::NoAnswer, second, "no_answer"),
        (
            Effect::AnswerLate(Duration::from_secs(2)),
            second,
            "no_answer",
        ),
        (Effect::AnswerLost, Duration::ZERO, "failed"),
        (Effect::Refused(500), Duration::ZERO, "refused"),
        (Effect::Refused(429), Duration::ZERO, "refused"),
        (Effect::Refused(403), Duration::ZERO, "forbidden"),
    ];
    for (effect, takes, result) in cases {
        let (api, webhook) = shop().await;
        let stored = webhook.admit(&web(), None).await.object;
        api.put("kubectl", &secret("login", "two"));
        api.fail("get", &name("secrets", "login"), 2, effect);
        let (logs, began) = (Logs::capture(), Instant::now());

        let created = webhook.admit(&web(), None).await;
        assert!(!created.patched, "{effect:?}: {created:?}");

        let updated = webhook.admit(&next_image(), Some(&stored)).await;
        assert_eq!(own(&updated.object), own(&stored), "{effect:?}");
        assert_eq!(webhook.admissions(Reason::Unreadable), 2, "{effect:?}");

        assert_eq!(began.elapsed(), 2 * takes, "{effect:?}");
        assert_eq!(webhook.reads(result), 2, "{effect:?}");
        let said = logs.with(&[
            "not stamped; the watcher will see to it",
            "Deployment shop/web",
        ]);
        assert_eq!(said.len(), 2, "{effect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_named_in_the_log() {
    let (api, webhook) = shop().await;
    let logs = Logs::capture();
    api.fail("get", &name("secrets", "login"), 1, Effect::Refused(403));
    webhook.admit(&web(), None).await;
    let right = r#"may not get secrets "login" in namespace "shop": grant this right"#;
    let escaped = right.replace('"', "\\\"");
    let said = logs.with(&["not stamped"]);
    assert!(
        said[0].contains(right) || said[0].contains(&escaped),
        "{said:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_not_there_is_recorded_as_absent() {
    let (_, webhook) = shop().await;
    let object = deployment("web", &["login", "later"], &[]);
    let admitted = webhook.admit(&object, None).await;
    let observed = own(&admitted.object).1.as_str().unwrap();
    let observed: Value = serde_json::from_str(observed).unwrap();
    assert!(observed["sources"]["Secret/login"]["digest"].is_string());
    let absent = &observed["sources"]["Secret/later"];
    assert!(
        absent.is_object() && absent["digest"].is_null(),
        "{observed}"
    );
    assert!(
        admitted.warnings[0].contains("Secret/later does not exist"),
        "{admitted:?}"
    );
    assert_eq!(webhook.admissions(Reason::Deployed), 1);
    assert_eq!(webhook.reads("ok"), 2);
}

/// A Deployment with that many sources, all of which exist.
async fn with_sources(count: usize) -> (FakeApi, Webhook, Value) {
    let (api, webhook) = shop().await;
    let names: Vec<_> = (0..count).map(|n| format!("source-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        api.put("kubectl", &config_map(name, "one"));
    }
    let object = deployment("web", &[], &names);
    (api, webhook, object)
}

#[tokio::test(start_paused = true)]
async fn one_source_that_cannot_be_read_gives_up_the_stamp() {
    let (api, webhook, object) = with_sources(5).await;
    let stored = webhook.admit(&object, None).await.object;
    for failing in 0..5 {
        let failing = name("configmaps", &format!("source-{failing}"));
        api.fail("get", &failing, 2, Effect::Refused(500));
        assert!(!webhook.admit(&object, None).await.patched);
        let mut next = object.clone();
        next["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:2");
        let updated = webhook.admit(&next, Some(&stored)).await.object;
        assert_eq!(own(&updated), own(&stored));
    }
}

#[tokio::test(start_paused = true)]
async fn sources_are_read_side_by_side() {
    for (count, takes) in [(5, 400), (16, 400), (20, 800)] {
        let (api, webhook, object) = with_sources(count).await;
        for n in 0..count {
            let late = Effect::AnswerLate(Duration::from_millis(400));
            api.fail("get", &name("configmaps", &format!("source-{n}")), 1, late);
        }
        let began = Instant::now();
        webhook.admit(&object, None).await;
        assert_eq!(began.elapsed(), Duration::from_millis(takes), "{count}");
        assert_eq!(webhook.admissions(Reason::Deployed), 1, "{count}");
    }
}

/// The API server then asks again, with what was answered.
#[tokio::test(start_paused = true)]
async fn a_source_that_a_later_webhook_adds_is_part_of_the_stamp() {
    let (api, webhook) = shop().await;
    api.put("kubectl", &secret("added", "one"));
    let first = webhook.admit(&web(), None).await.object;
    let mut object = first.clone();
    let container = object.pointer_mut("/spec/template/spec/containers/0");
    let sources = container.unwrap()["envFrom"].as_array_mut().unwrap();
    sources.push(json!({ "secretRef": { "name": "added" } }));
    let again = webhook.admit(&object, None).await.object;
    let (stamp, observed) = own(&again);
    assert_ne!(stamp, own(&first).0);
    let observed: Value = serde_json::from_str(observed.as_str().unwrap()).unwrap();
    assert_eq!(observed["stamp"], *stamp);
    assert!(observed["sources"]["Secret/added"]["digest"].is_string());
    assert!(
        !webhook.admit(&again, None).await.patched,
        "asked once more"
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_key_nothing_is_stamped_and_nothing_lost() {
    let (api, with_key) = shop().await;
    let stored = with_key.admit(&web(), None).await.object;
    let webhook = Webhook::new(&api, CurrentKeyring::default());
    let (logs, began) = (Logs::capture(), Instant::now());
    api.forget_calls();
    let created = webhook.admit(&web(), None).await;
    assert!(!created.patched);
    let updated = webhook.admit(&next_image(), Some(&stored)).await.object;
    assert_eq!(own(&updated), own(&stored));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(api.calls(), []);
    assert_eq!(webhook.admissions(Reason::Unreadable), 2);
    let said = logs.with(&["not stamped: there is no installation key yet"]);
    assert_eq!(said.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_and_a_second_question_get_the_same_answer() {
    let (_, webhook) = shop().await;
    let stored = webhook.admit(&web(), None).await.object;
    for review in [review(&web(), None), review(&next_image(), Some(&stored))] {
        let mut dry = review.clone();
        dry["request"]["dryRun"] = json!(true);
        let answer = webhook.post(review.to_string()).await.body;
        assert_eq!(webhook.post(dry.to_string()).await.body, answer);
        assert_eq!(webhook.post(review.to_string()).await.body, answer);
    }
}

#[tokio::test(start_paused = true)]
async fn asked_again_about_its_own_answer_it_changes_nothing() {
    let (_, webhook) = shop().await;
    let stored = webhook.admit(&web(), None).await.object;
    assert!(!webhook.admit(&stored, None).await.patched);
    let next = webhook.admit(&next_image(), Some(&stored)).await.object;
    assert!(!webhook.admit(&next, Some(&stored)).await.patched);
}

#[tokio::test(start_paused = true)]
async fn what_restamp_writes_passes_untouched() {
    let (api, webhook) = shop().await;
    let stored = webhook.admit(&web(), None).await.object;
    api.forget_calls();
    let mut moved = review(&next_image(), Some(&stored));
    moved["request"]["options"]["fieldManager"] = json!("restamp");
    assert_eq!(webhook.ask(&moved).await.get("patch"), None);
    assert_eq!(webhook.admissions(Reason::OwnWrite), 1);
    assert_eq!(api.calls(), []);
    for manager in ["restamp-webhook", "Restamp", ""] {
        moved["request"]["options"]["fieldManager"] = json!(manager);
        assert!(webhook.ask(&moved).await["patch"].is_string(), "{manager}");
    }
    moved["request"]["options"] = Value::Null;
    assert!(webhook.ask(&moved).await["patch"].is_string());
}

#[tokio::test(start_paused = true)]
async fn while_a_key_is_rotated_old_stamps_are_understood() {
    let (api, before) = shop().await;
    let stored = before.admit(&web(), None).await.object;
    api.edit("admin", &installation_key(), |secret| {
        let old = secret["data"]["key"].take();
        let new = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        secret["data"] = json!({ "key": new, "previous-key": old });
    });
    let after = Webhook::new(&api, follow_key(&api).await);
    let parts = |object: &Value| {
        let stamp = own(object).0.as_str().unwrap().to_owned();
        let parts: Vec<_> = stamp.split('.').map(str::to_owned).collect();
        (parts[1].clone(), parts[3].clone())
    };
    let old_key = parts(&stored).0;

    // A replica that knows the new key, and then one that does not yet.
    let newer = after.admit(&next_image(), Some(&stored)).await;
    assert_eq!(newer.warnings, Vec::<String>::new());
    assert_ne!(parts(&newer.object).0, old_key);
    assert_eq!(parts(&newer.object).1, "2");
    let older = before.admit(&web(), Some(&newer.object)).await;
    assert_eq!(parts(&older.object), (old_key, "3".to_owned()));
    assert_eq!(older.warnings, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_for_a_namespace_that_the_api_server_does_not_ask_about() {
    let (api, webhook) = shop().await;
    for namespace in [
        "restamp-system",
        "kube-system",
        "",
        "shop/secrets/x?y=",
        "..",
    ] {
        let mut asked = review(&web(), None);
        asked["request"]["namespace"] = json!(namespace);
        api.forget_calls();
        let answer = webhook.post(asked.to_string()).await;
        assert_eq!(answer.status, 200, "{namespace:?}");
        assert!(!answer.text().contains("patch"), "{namespace:?}");
        assert_eq!(api.calls(), [], "{namespace:?}");
    }
}
