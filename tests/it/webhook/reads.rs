//! Which payloads are requested: those of sources that the workload selects, when its pods start anew.

use restamp::stamp::{
    annotations::{AUTO, CONFIG_MAP_AUTO, IGNORE, SEARCH, SECRET_EXCLUDE, SECRET_RELOAD},
    reason::Reason,
};
use serde_json::{Value, json};

use super::{
    Webhook,
    admission::{next_image, own},
    api_server::review,
    reviews::{shop, web},
};
use crate::{
    fake_api::FakeApi,
    logs::Logs,
    watcher::{config_map, deployment, secret},
};

/// A Deployment with these annotations, whose pods take Secrets `login` and `other` and ConfigMap `pages`.
fn annotated(annotations: &Value) -> Value {
    let mut object = deployment("web", &["login", "other"], &["pages"]);
    object["metadata"]["annotations"] = annotations.clone();
    object
}

async fn full_shop() -> (FakeApi, Webhook) {
    let (api, webhook) = shop().await;
    for name in ["other", "unused", "named"] {
        api.put("kubectl", &secret(name, "one"));
    }
    api.put("kubectl", &config_map("pages", "one"));
    (api, webhook)
}

fn read(api: &FakeApi) -> Vec<String> {
    let calls = api.calls();
    assert!(
        calls
            .iter()
            .all(|call| call.verb == "get" && !call.metadata)
    );
    let mut names: Vec<_> = calls
        .iter()
        .map(|call| {
            format!(
                "{}/{}/{}",
                call.key.namespace, call.key.resource, call.key.name
            )
        })
        .collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn only_what_the_workload_selects_is_read_and_once() {
    let cases: [(Value, &[&str]); 8] = [
        (
            json!({ AUTO: "true" }),
            &["configmaps/pages", "secrets/login", "secrets/other"],
        ),
        (
            json!({ AUTO: "true", SECRET_EXCLUDE: "login" }),
            &["configmaps/pages", "secrets/other"],
        ),
        (json!({ CONFIG_MAP_AUTO: "true" }), &["configmaps/pages"]),
        (json!({ SECRET_RELOAD: "login" }), &["secrets/login"]),
        (
            json!({ SECRET_RELOAD: "named,absent" }),
            &["secrets/absent", "secrets/named"],
        ),
        (json!({ SECRET_RELOAD: "un.*" }), &[]),
        (json!({ SEARCH: "true" }), &[]),
        (json!({ AUTO: "false" }), &[]),
    ];
    for (annotations, expected) in cases {
        let (api, webhook) = full_shop().await;
        webhook.admit(&annotated(&annotations), None).await;
        let expected: Vec<_> = expected.iter().map(|it| format!("shop/{it}")).collect();
        assert_eq!(read(&api), expected, "{annotations}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_says_ignore_is_read_but_not_recorded() {
    let (api, webhook) = full_shop().await;
    let mut ignored = secret("other", "one");
    ignored["metadata"]["annotations"] = json!({ IGNORE: "true" });
    api.put("kubectl", &ignored);
    let admitted = webhook
        .admit(&annotated(&json!({ AUTO: "true" })), None)
        .await;
    let observed = own(&admitted.object).1.as_str().unwrap();
    assert!(
        observed.contains("Secret/login") && !observed.contains("Secret/other"),
        "{observed}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_where_no_pod_starts_anew() {
    let (api, webhook) = full_shop().await;
    let stored = webhook.admit(&web(), None).await.object;
    api.forget_calls();
    let mut scaled = web();
    scaled["spec"]["replicas"] = json!(7);
    let mut opted_out = next_image();
    opted_out["metadata"]["annotations"] = json!({});
    let cases = [
        (stored.clone(), Reason::Untouched),
        (web(), Reason::CarriedOver),
        (scaled, Reason::CarriedOver),
        (opted_out.clone(), Reason::CarriedOver),
    ];
    for (object, reason) in cases {
        let before = webhook.admissions(reason);
        webhook.admit(&object, Some(&stored)).await;
        assert_eq!(webhook.admissions(reason), before + 1, "{reason}");
    }
    webhook.admit(&opted_out, None).await;
    assert_eq!(webhook.admissions(Reason::NotOptedIn), 1);
    assert_eq!(api.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn sources_are_those_of_the_namespace_that_the_api_server_names() {
    let (api, webhook) = full_shop().await;
    let mut asked = review(&web(), None);
    asked["request"]["namespace"] = json!("elsewhere");
    let response = webhook.ask(&asked).await;
    assert_eq!(read(&api), ["elsewhere/secrets/login"]);
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("elsewhere/web: Secret/login does not exist"),
        "{warning}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_payload_is_answered_counted_or_logged() {
    let (api, webhook) = shop().await;
    let value = "bGVha2VkLXBheWxvYWQ=";
    for (other, reason) in [
        ("", Reason::Deployed),
        ("hunter2-is-no-base64", Reason::Unreadable),
    ] {
        let logs = Logs::capture();
        let mut login = secret("login", "one");
        login["data"] = json!({ "value": value, "other": other });
        api.put("kubectl", &login);
        let answer = webhook.post(review(&web(), None).to_string()).await;
        let metrics = String::from_utf8(webhook.metrics.registry.render().unwrap()).unwrap();
        for text in [answer.text(), &metrics, &logs.with(&[]).join("\n")] {
            for payload in [value, "leaked-payload", "hunter2"] {
                assert!(!text.contains(payload), "{text}");
            }
        }
        assert_eq!(webhook.admissions(reason), 1);
    }
}
