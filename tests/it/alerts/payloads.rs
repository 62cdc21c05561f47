//! What is sent, to the byte.

use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::{Answer, Delivery, FakeReceiver, SENT, config, receiver::Received, receiver_of};

const MESSAGE: &str = "changes in *login* of \"type\" *SECRET*";

/// What arrives at that URL, by way of a proxy, so that it can be anybody's.
async fn arrives(url: &str, variables: &[(&str, &str)]) -> Received {
    let proxy = FakeReceiver::that(&[Answer::Status(200)]).await;
    let through = [
        ("ALERT_WEBHOOK_URL", url),
        ("ALERT_WEBHOOK_PROXY", &*proxy.url("")),
    ];
    let config = config(&[&through, variables].concat());
    let delivery = Delivery::start(receiver_of(config));
    delivery.send(MESSAGE);
    assert_eq!(delivery.finish().await, SENT);
    proxy.only_one()
}

async fn expect(url: &str, sink: &str, content_type: &str, body: &str) {
    let received = arrives(url, &[("ALERT_SINK", sink)]).await;
    assert!(received.line.starts_with("POST "), "{}", received.line);
    assert_eq!(received.headers[CONTENT_TYPE], content_type, "{sink}");
    assert_eq!(received.body, body, "{sink}");
}

#[tokio::test]
async fn every_sink_gets_reloaders_body() {
    let text = r#"{"text":"changes in *login* of \"type\" *SECRET*"}"#;
    let slack = r#"{"attachments":[{"author_name":"Reloader","color":"good","text":"changes in *login* of \"type\" *SECRET*"}]}"#;
    let here = "http://hooks.example/x";
    expect(here, "slack", "application/json", slack).await;
    expect(here, "gchat", "application/json", text).await;
    let connector = "http://shop.webhook.office.com/x";
    expect(connector, "teams", "application/json", text).await;
    let raw = "changes in login of \"type\" SECRET";
    for sink in ["", "raw", "webhook"] {
        expect(here, sink, "text/plain", raw).await;
    }
}

#[tokio::test]
async fn a_workflow_of_teams_gets_an_adaptive_card() {
    let received = arrives("http://logic.example/x", &[("ALERT_SINK", "teams")]).await;
    assert_eq!(received.headers[CONTENT_TYPE], "application/json");
    let body: Value = serde_json::from_str(&received.body).unwrap();
    let card = json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.2",
                "body": [{ "type": "TextBlock", "text": MESSAGE, "wrap": true }],
            },
        }],
    });
    assert_eq!(body, card);
}

#[tokio::test]
async fn additional_info_comes_first_even_if_it_is_empty() {
    let raw = "changes in login of \"type\" SECRET";
    for (info, prefix) in [(" *a* \n", "a : "), ("", " : ")] {
        let received = arrives("http://hooks.example", &[("ALERT_ADDITIONAL_INFO", info)]).await;
        assert_eq!(received.body, format!("{prefix}{raw}"));
    }
}
