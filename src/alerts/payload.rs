//! What a receiver is sent. Bodies and content types are Reloader's, but for workflows of Teams.

use serde_json::{Value, json};

use super::config::{Config, Sink};

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its media type.
    pub content_type: &'static str,
    /// Its text.
    pub body: String,
}

impl Payload {
    /// The message as the receiver understands it.
    pub fn new(config: &Config, message: &str) -> Self {
        let text = match &config.info {
            Some(info) => format!("{info} : {message}"),
            None => message.to_owned(),
        };
        match config.sink {
            Sink::Slack => Self::json(&json!({
                "attachments": [{ "author_name": "Reloader", "color": "good", "text": text }],
            })),
            Sink::TeamsConnector | Sink::GoogleChat => Self::json(&json!({ "text": text })),
            Sink::TeamsWorkflow => Self::json(&adaptive_card(&text)),
            Sink::Json => Self {
                content_type: "application/json",
                body: text,
            },
            Sink::Raw => Self {
                content_type: "text/plain",
                body: text.replace('*', ""),
            },
        }
    }

    fn json(body: &Value) -> Self {
        Self {
            content_type: "application/json",
            body: body.to_string(),
        }
    }
}

/// What the trigger "When a Teams webhook request is received" takes.
fn adaptive_card(text: &str) -> Value {
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.2",
                "body": [{ "type": "TextBlock", "text": text, "wrap": true }],
            },
        }],
    })
}
