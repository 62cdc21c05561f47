//! Sources that are missing, incomplete, huge, binary, or too many; and a namespace that goes away.

use futures::{StreamExt, stream};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Namespace, Secret},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use restamp::stamp::annotations::{AUTO, CONFIG_MAP_RELOAD};
use serde_json::{Value, json};

use super::{WEB, assert_unharmed, rolled, shop, until_logged};
use crate::support::{
    Ground, Shop,
    rollouts::each,
    shop::{pod, web_pod},
    wait::until,
};

/// A megabyte is the most that the API server takes as the data of a source, names of keys included.
const HUGE: usize = (1 << 20) - 16;
const MANY: usize = 2000;
const AT_ONCE: usize = 32;

/// Writes a source so that it holds exactly `data` (and what else is in there).
async fn apply<K>(shop: &Shop, name: &str, data: Value)
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut object = data;
    object["apiVersion"] = json!(K::api_version(&()));
    object["kind"] = json!(K::kind(&()));
    object["metadata"] = json!({ "name": name });
    let api: Api<K> = Api::namespaced(shop.client.clone(), &shop.namespace);
    let params = PatchParams::apply("somebody").force();
    api.patch(name, &params, &Patch::Apply(object))
        .await
        .expect("it can be applied");
}

async fn with_template(name: &str, template: Value) -> Shop {
    let shop = Shop::open(&Ground::shared().await, name).await;
    shop.create_workload(WEB, json!({ AUTO: "true" }), template)
        .await;
    shop.until_recorded(&[WEB]).await;
    shop.until_quiet().await;
    shop
}

#[tokio::test]
async fn a_missing_required_source_is_told_and_followed_when_it_comes() {
    let mut template = web_pod();
    template["spec"]["volumes"][0]["configMap"]["optional"] = json!(true);
    let shop = with_template("bad-missing", template).await;
    let of_this = format!("{}/web", shop.namespace);
    until_logged(&[&of_this, "Secret/db does not exist"]).await;
    let arrive = async {
        shop.set_password("one").await;
        shop.set_config_map("app", &[("level", "info")]).await;
    };
    assert_eq!(shop.rollouts(arrive).await, rolled(0));
    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, rolled(1));
    let optional = shop.set_config_map("app", &[("level", "debug")]);
    assert_eq!(shop.rollouts(optional).await, rolled(1));

    let (_, watcher) = Ground::shared_with_watcher().await;
    let log = watcher.log();
    let about_optional =
        |line: &&str| line.contains(&of_this) && line.contains("ConfigMap/app does not exist");
    assert_eq!(
        log.lines().find(about_optional),
        None,
        "optional may be missing"
    );
    assert_unharmed().await;
}

#[tokio::test]
async fn a_missing_key_is_told_and_its_arrival_is_a_change() {
    let shop = with_template("bad-key", web_pod()).await;
    shop.set_config_map("app", &[("level", "info")]).await;
    shop.set_secret("db", &[("user", "app")]).await;
    let of_this = format!("{}/web", shop.namespace);
    until_logged(&[&of_this, "Secret/db has no key \"password\""]).await;
    shop.until_quiet().await;
    // Pods that wait for a key do start when it comes, but one that has started would not see it.
    let arrive = shop.set_password("one");
    assert_eq!(shop.rollouts(arrive).await, rolled(1));
    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, rolled(1));
    assert_unharmed().await;
}

#[tokio::test]
async fn a_source_of_a_megabyte_is_followed_to_the_last_byte() {
    let shop = shop("bad-huge", json!({ AUTO: "true" })).await;
    let (mut text, mut bytes) = ("x".repeat(HUGE), vec![0; HUGE]);
    apply::<ConfigMap>(&shop, "app", json!({ "data": { "level": text } })).await;
    shop.until_recorded(&[WEB]).await;
    shop.until_quiet().await;

    text.replace_range(HUGE - 1.., "y");
    let change = apply::<ConfigMap>(&shop, "app", json!({ "data": { "level": text } }));
    assert_eq!(shop.rollouts(change).await, rolled(1), "ConfigMap");
    for byte in [1, 2] {
        bytes[HUGE - 1] = byte;
        let data = json!({ "data": { "password": ByteString(bytes.clone()) } });
        let change = async {
            shop.delete_secret("db").await;
            apply::<Secret>(&shop, "db", data).await;
        };
        assert_eq!(shop.rollouts(change).await, rolled(1), "Secret");
    }
    assert_unharmed().await;
}

#[tokio::test]
async fn binary_content_is_followed() {
    let template = pod(json!({ "envFrom": [
        { "secretRef": { "name": "key" } },
        { "configMapRef": { "name": "image" } },
    ] }));
    let shop = with_template("bad-binary", template).await;
    let set = async |last: u8| {
        let bytes = ByteString(vec![0xff, 0xfe, 0, 0xc3, last]);
        apply::<Secret>(&shop, "key", json!({ "data": { "k": bytes } })).await;
        apply::<ConfigMap>(&shop, "image", json!({ "binaryData": { "i": bytes } })).await;
    };
    set(1).await;
    shop.until_recorded(&[WEB]).await;
    shop.until_quiet().await;
    assert_eq!(shop.rollouts(set(1)).await, rolled(0), "the same bytes");
    assert_eq!(shop.rollouts(set(2)).await, rolled(1), "other bytes");
    assert_unharmed().await;
}

#[tokio::test]
async fn a_regex_that_matches_very_many_sources_is_told_and_followed() {
    let shop = Shop::open(&Ground::shared().await, "bad-many").await;
    let set = async |n: usize, value: &str| {
        let name = format!("many-{n}");
        shop.set_config_map(&name, &[("n", value)]).await;
    };
    stream::iter(0..MANY)
        .for_each_concurrent(AT_ONCE, |n| set(n, "one"))
        .await;
    let list = json!({ CONFIG_MAP_RELOAD: "many-.*" });
    shop.create_workload(WEB, list, pod(json!({}))).await;
    shop.until_recorded(&[WEB]).await;
    shop.until_quiet().await;
    let observed = shop.observed(WEB).await.expect("recorded");
    assert!(observed["folded"].is_string(), "{observed}");

    let one_more = shop.rollouts(set(MANY, "one")).await;
    assert_eq!(one_more, rolled(0), "one more source");
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    let label = apply_label(&shop, "many-7", label);
    assert_eq!(shop.rollouts(label).await, rolled(0), "a label");
    // So many take longer than the sentinels.
    let change = async |n: usize, value: &str| {
        let before = shop.observed(WEB).await;
        set(n, value).await;
        until("the change is recorded", async || {
            let now = shop.observed(WEB).await;
            if now == before { Err(now) } else { Ok(()) }
        })
        .await;
    };
    assert_eq!(shop.rollouts(change(7, "two")).await, rolled(1), "a change");
    assert_eq!(shop.rollouts(change(8, "two")).await, rolled(1), "another");
    assert_eq!(shop.rollouts(change(7, "one")).await, rolled(1), "and back");

    let told = shop.events(WEB, "InvalidAnnotation").await;
    let told: Vec<_> = told
        .iter()
        .filter(|text| text.contains("500 sources or more"))
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_unharmed().await;
}

async fn apply_label(shop: &Shop, name: &str, patch: Value) {
    let api: Api<ConfigMap> = Api::namespaced(shop.client.clone(), &shop.namespace);
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("it can be patched");
}

#[tokio::test]
async fn a_namespace_that_is_deleted_under_way_disturbs_nobody() {
    let ground = Ground::shared().await;
    let (gone, other) = tokio::join!(
        Shop::stocked(&ground, "bad-gone"),
        Shop::stocked(&ground, "bad-other")
    );
    let namespaces: Api<Namespace> = Api::all(gone.client.clone());
    let delete = async {
        gone.set_password("two").await;
        gone.set_config_map("app", &[("level", "debug")]).await;
        namespaces
            .delete(&gone.namespace, &DeleteParams::default())
            .await
            .expect("it can be deleted");
        other.set_password("two").await;
        until("the namespace is gone", async || {
            match namespaces.get_opt(&gone.namespace).await {
                Ok(None) => Ok(()),
                other => Err(other.is_ok()),
            }
        })
        .await;
    };
    assert_eq!(other.rollouts(delete).await, each(1));
    let log = Ground::shared_with_watcher().await.1.log();
    // That something is gone may be found out on the way; nothing else may go wrong.
    let trouble = |line: &&str| {
        line.contains(&gone.namespace)
            && line.contains("cannot")
            && !line.contains("it does not exist")
    };
    assert_eq!(log.lines().find(trouble), None);
    assert_unharmed().await;
}
