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

use super::api_server::put_key;
use crate::{
    fake_api::{Effect, FakeApi},
    logs::Logs,
    watcher::{HOME, installation_key, until},
};

struct Follower {
    keyring: CurrentKeyring,
    readiness: Readiness,
    _task: JoinHandle<()>,
}

impl Follower {
    fn start(api: &FakeApi) -> Self {
        let keyring = CurrentKeyring::default();
        let readiness = Readiness::default();
        let follow = keyring
            .clone()
            .follow(api.client(), HOME.to_owned(), readiness.clone());
        Self {
            keyring,
            readiness,
            _task: tokio::spawn(follow),
        }
    }

    async fn with_key(api: &FakeApi) -> Self {
        put_key(api);
        let follower = Self::start(api);
        follower.until_known().await;
        follower
    }

    async fn until_known(&self) {
        until("the key is known", || self.keyring.get().is_some()).await;
    }

    fn key(&self) -> Arc<Keyring> {
        self.keyring.get().expect("a key")
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
async fn the_key_is_read_as_soon_as_the_watcher_has_made_it_and_is_never_made_here() {
    let api = FakeApi::default();
    let follower = Follower::start(&api);
    let missing = follower.readiness.missing();
    assert_eq!(missing, ["installation key: not read yet"]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(follower.readiness.missing(), Vec::<String>::new());
    assert!(follower.keyring.get().is_none());
    assert!(api.get(&installation_key()).is_none());
    let began = Instant::now();
    put_key(&api);
    follower.until_known().await;
    assert!(began.elapsed() <= Duration::from_millis(1100));
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_said_once() {
    let api = FakeApi::default();
    put_key(&api);
    api.fail("get", &installation_key(), 1000, Effect::Refused(403));
    let logs = Logs::capture();
    let follower = Follower::start(&api);
    sleep(Duration::from_secs(60)).await;
    let why = "grant this right in a Role or ClusterRole";
    let said = logs.with(&["cannot read the installation key"]);
    assert_eq!(said.len(), 1);
    assert!(said[0].contains(why), "{said:?}");
    assert!(follower.keyring.get().is_none());
    api.heal();
    follower.until_known().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_too_short_is_not_used() {
    let api = FakeApi::default();
    put_key(&api);
    rotate(&api, 31);
    let (logs, follower) = (Logs::capture(), Follower::start(&api));
    sleep(Duration::from_secs(60)).await;
    assert!(follower.keyring.get().is_none());
    let why = [
        "cannot read the installation key",
        r#"Secret restamp-system/restamp-key holds no usable"#,
        "put 32 random bytes there",
    ];
    assert_eq!(logs.with(&why).len(), 1);
    let key = stored(&api)["key"].as_str().unwrap().to_owned();
    assert_eq!(logs.with(&[&key]), Vec::<String>::new());
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
        let follower = Follower::with_key(&api).await;
        let before = follower.key();
        api.fail("get", &installation_key(), 1000, effect);
        rotate(&api, 32);
        let logs = Logs::capture();
        for _ in 0..60 {
            sleep(Duration::from_secs(10)).await;
            assert_eq!(follower.key(), before, "{effect:?}");
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
    let follower = Follower::with_key(&api).await;
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
    let follower = Follower::with_key(&api).await;
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
async fn a_deleted_key_stays_in_use_until_there_is_another() {
    let api = FakeApi::default();
    let follower = Follower::with_key(&api).await;
    let before = follower.key();
    api.delete(&installation_key());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(follower.key(), before);
    assert!(api.get(&installation_key()).is_none());
}
