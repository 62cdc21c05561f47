//! How the webhook comes by the installation key, and keeps it.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use restamp::{
    runtime::admin::Readiness,
    stamp::digest::{KeyId, Keyring},
    webhook::CurrentKeyring,
};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    fake_api::{Effect, FakeApi},
    logs::Logs,
    watcher::{HOME, ambient, installation_key, until},
};

struct Follower {
    keyring: CurrentKeyring,
    readiness: Readiness,
    task: JoinHandle<()>,
}

impl Follower {
    fn start(api: &FakeApi) -> Self {
        let (keyring, readiness) = (CurrentKeyring::default(), Readiness::default());
        let follow =
            keyring
                .clone()
                .follow(api.client(), HOME.to_owned(), ambient(), readiness.clone());
        Self {
            keyring,
            readiness,
            task: tokio::spawn(follow),
        }
    }

    async fn ready(api: &FakeApi) -> Self {
        let follower = Self::start(api);
        follower.until_ready().await;
        follower
    }

    async fn until_ready(&self) {
        until("it is ready", || {
            self.readiness.missing().is_empty() && self.keyring.get().is_some()
        })
        .await;
    }

    fn key(&self) -> Arc<Keyring> {
        self.keyring.get().expect("a key")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn previous_id(keyring: &Keyring) -> Option<&KeyId> {
    keyring.previous.as_ref().map(|key| key.id())
}

fn stored(api: &FakeApi) -> Value {
    api.get(&installation_key()).expect("a key")["data"].clone()
}

/// Puts a key of `length` bytes in the place of the one that is there, which becomes the previous one.
fn rotate(api: &FakeApi, length: usize) {
    api.edit("admin", &installation_key(), |secret| {
        let old = secret["data"]["key"].take();
        secret["data"] = json!({ "key": STANDARD.encode(vec![9; length]), "previous-key": old });
    });
}

#[tokio::test(start_paused = true)]
async fn who_comes_first_makes_the_key_and_the_others_take_it() {
    let api = FakeApi::default();
    let followers = [(); 3].map(|()| Follower::start(&api));
    assert!(followers[0].keyring.get().is_none());
    for follower in &followers {
        follower.until_ready().await;
        assert_eq!(follower.key(), followers[0].key());
        assert!(follower.key().previous.is_none());
    }
    let made = STANDARD
        .decode(stored(&api)["key"].as_str().unwrap())
        .unwrap();
    assert_eq!(made.len(), 32);
}

#[tokio::test(start_paused = true)]
async fn the_process_says_what_it_waits_for_and_why() {
    let api = FakeApi::default();
    api.fail("get", &installation_key(), 1000, Effect::Refused(403));
    let logs = Logs::capture();
    let follower = Follower::start(&api);
    let why = r#"installation key: may not get secrets "restamp-key" in namespace "restamp-system": grant this right"#;
    until("it says why", || {
        let missing = follower.readiness.missing();
        missing.len() == 1 && missing[0].starts_with(why)
    })
    .await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(logs.with(&["cannot read the installation key"]).len(), 1);
    assert!(follower.keyring.get().is_none());
    api.heal();
    let began = Instant::now();
    follower.until_ready().await;
    assert!(began.elapsed() <= Duration::from_millis(1100));
}

#[tokio::test(start_paused = true)]
async fn before_the_first_answer_it_is_not_read_yet() {
    let api = FakeApi::default();
    api.fail("get", &installation_key(), 1, Effect::NoAnswer);
    let follower = Follower::start(&api);
    let missing = || follower.readiness.missing();
    until("it waits", || {
        missing() == ["installation key: not read yet"]
    })
    .await;
    until("it says why", || {
        missing().len() == 1 && missing()[0].contains("no answer within 10s")
    })
    .await;
    follower.until_ready().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_too_short_is_not_used() {
    let api = FakeApi::default();
    drop(Follower::ready(&api).await);
    rotate(&api, 31);
    let (logs, follower) = (Logs::capture(), Follower::start(&api));
    until("it says why", || {
        let missing = follower.readiness.missing();
        missing
            .iter()
            .any(|why| why.contains(r#"Secret restamp-system/restamp-key holds no usable "key""#))
    })
    .await;
    assert!(follower.keyring.get().is_none());
    assert_eq!(
        logs.with(&[
            "cannot read the installation key",
            "put 32 random bytes there"
        ])
        .len(),
        1
    );
    assert_eq!(
        logs.with(&[stored(&api)["key"].as_str().unwrap()]),
        Vec::<String>::new()
    );
}

#[tokio::test(start_paused = true)]
async fn outages_leave_the_key_as_it_is() {
    for effect in [
        Effect::Refused(500),
        Effect::AnswerLost,
        Effect::NoAnswer,
        Effect::Refused(403),
    ] {
        let api = FakeApi::default();
        let follower = Follower::ready(&api).await;
        let before = follower.key();
        api.fail("get", &installation_key(), 1000, effect);
        rotate(&api, 32);
        let logs = Logs::capture();
        for _ in 0..60 {
            sleep(Duration::from_secs(10)).await;
            assert_eq!(follower.key(), before, "{effect:?}");
            assert_eq!(
                follower.readiness.missing(),
                Vec::<String>::new(),
                "{effect:?}"
            );
        }
        assert_eq!(
            logs.with(&["cannot read the installation key"]).len(),
            1,
            "{effect:?}"
        );
        api.heal();
        until("the new key is used", || follower.key() != before).await;
        assert!(follower.key().find(before.current.id()).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn an_unusable_key_leaves_the_one_before_it_in_use() {
    let api = FakeApi::default();
    let follower = Follower::ready(&api).await;
    let before = follower.key();
    rotate(&api, 1);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(follower.key(), before);
    rotate(&api, 40);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(follower.key(), before, "the previous key is unusable now");
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_used_within_seconds_and_the_old_one_understood() {
    let api = FakeApi::default();
    let logs = Logs::capture();
    let follower = Follower::ready(&api).await;
    let before = follower.key();
    rotate(&api, 32);
    let began = Instant::now();
    until("the new key is used", || follower.key() != before).await;
    assert!(began.elapsed() <= Duration::from_secs(11));
    let after = follower.key();
    assert_eq!(previous_id(&after), Some(before.current.id()));
    assert_eq!(logs.with(&["using installation key"]).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_key_is_made_again_and_the_one_in_use_stays_known() {
    let api = FakeApi::default();
    let follower = Follower::ready(&api).await;
    let (before, secret) = (follower.key(), stored(&api)["key"].clone());
    api.delete(&installation_key());
    until("there is a key again", || follower.key() != before).await;
    assert_eq!(stored(&api)["previous-key"], secret);
    assert_eq!(previous_id(&follower.key()), Some(before.current.id()));
}
