//! The ConfigMap in which the set-up is told.

use std::collections::BTreeMap;

use restamp::cluster::meta_info::{NAME, publish};
use serde_json::json;

use crate::fake_api::{FakeApi, key};

#[tokio::test]
async fn what_others_have_written_beside_the_set_up_stays() {
    let api = FakeApi::default();
    let told = |text: &str| BTreeMap::from([("buildInfo".to_owned(), text.to_owned())]);
    publish(&api.client(), "tools", told("1")).await.unwrap();
    let name = key("configmaps", "tools", NAME);
    let mut made = api.get(&name).unwrap();
    let label = "reloader.stakater.com/meta-info";
    assert_eq!(made["metadata"]["labels"], json!({ label: "reloader" }));
    made["metadata"]["labels"]["team"] = json!("a");
    made["data"]["more"] = json!("b");
    api.put("kubectl", &made);
    publish(&api.client(), "tools", told("2")).await.unwrap();
    let now = api.get(&name).unwrap();
    assert_eq!(now["data"], json!({ "buildInfo": "2", "more": "b" }));
    assert_eq!(
        now["metadata"]["labels"],
        json!({ label: "reloader", "team": "a" })
    );
}
