//! What Reloader's variables say about alerts. Their names and meanings are Reloader's.

use std::{ffi::OsString, fmt};

use reqwest::Url;

const ON_RELOAD: &str = "ALERT_ON_RELOAD";
const WEBHOOK_URL: &str = "ALERT_WEBHOOK_URL";
const SINK: &str = "ALERT_SINK";
const WEBHOOK_PROXY: &str = "ALERT_WEBHOOK_PROXY";
const ADDITIONAL_INFO: &str = "ALERT_ADDITIONAL_INFO";

/// Every variable, with what it is for.
pub const VARIABLES: [(&str, &str); 5] = [
    (ON_RELOAD, "\"true\" sends an alert for each restart"),
    (WEBHOOK_URL, "where alerts are sent; a secret"),
    (SINK, "slack, teams or gchat; anything else: plain text"),
    (WEBHOOK_PROXY, "an HTTP proxy for alerts; a secret"),
    (ADDITIONAL_INFO, "what each alert begins with"),
];

/// Old Teams connectors are at such hosts; everything else of Teams is a workflow.
const TEAMS_CONNECTORS: &str = "webhook.office.com";

/// Where alerts go, and how they look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who receives them.
    pub url: Address,
    /// What the receiver understands.
    pub sink: Sink,
    /// What they go through.
    pub proxy: Option<Address>,
    /// What each begins with.
    pub info: Option<String>,
}

/// What a receiver understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// An incoming webhook of Slack.
    Slack,
    /// An Office 365 connector of Teams.
    TeamsConnector,
    /// A workflow of Teams.
    TeamsWorkflow,
    /// An incoming webhook of Google Chat.
    GoogleChat,
    /// Anything that takes plain text.
    Raw,
    /// Anything that takes JSON, which the message is.
    Json,
}

/// A URL that is a secret, since a token can be anywhere in it. What it prints is scheme and host.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

/// Why there can be no alerts although they are asked for. Says nothing of a value.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that is no text.
    #[error("{0} is not valid UTF-8")]
    NotText(&'static str),
    /// There is nowhere to send them.
    #[error(
        "{ON_RELOAD} is true, but {WEBHOOK_URL} is not set: set it to the URL that alerts are sent to"
    )]
    NoReceiver,
    /// A URL that cannot be read.
    #[error("{variable} is not a URL; write it as http://HOST/PATH or https://HOST/PATH")]
    NotAUrl {
        /// Whose value it is.
        variable: &'static str,
        /// What is wrong with it.
        #[source]
        cause: <Url as std::str::FromStr>::Err,
    },
    /// A URL of something else than HTTP.
    #[error("{0} has to begin with http:// or https://")]
    NotHttp(&'static str),
}

impl Config {
    /// Of who is told at `url`, which `flag` gives, in JSON.
    ///
    /// # Errors
    /// When that is none.
    pub fn webhook(flag: &'static str, url: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            url: Address::parse(flag, url.trim())?,
            sink: Sink::Json,
            proxy: None,
            info: None,
        })
    }

    /// Reads the variables; nothing if alerts are not asked for.
    ///
    /// # Errors
    /// When they are asked for and cannot be sent.
    pub fn read(
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Option<Self>, ConfigError> {
        if variable(ON_RELOAD).is_none_or(|value| value != "true") {
            return Ok(None);
        }
        let trimmed = |name| match variable(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text.trim().to_owned())),
            Some(Err(_)) => Err(ConfigError::NotText(name)),
        };
        let address = |name| {
            let text = trimmed(name)?.filter(|text| !text.is_empty());
            text.map(|text| Address::parse(name, &text)).transpose()
        };
        let url = address(WEBHOOK_URL)?.ok_or(ConfigError::NoReceiver)?;
        Ok(Some(Self {
            sink: Sink::of(&trimmed(SINK)?.unwrap_or_default(), &url),
            url,
            proxy: address(WEBHOOK_PROXY)?,
            info: trimmed(ADDITIONAL_INFO)?,
        }))
    }
}

impl Sink {
    fn of(name: &str, url: &Address) -> Self {
        match &*name.to_lowercase() {
            "slack" => Sink::Slack,
            "teams" if url.host().ends_with(TEAMS_CONNECTORS) => Sink::TeamsConnector,
            "teams" => Sink::TeamsWorkflow,
            "gchat" => Sink::GoogleChat,
            _ => Sink::Raw,
        }
    }
}

impl Address {
    fn parse(variable: &'static str, text: &str) -> Result<Self, ConfigError> {
        let url = Url::parse(text).map_err(|cause| ConfigError::NotAUrl { variable, cause })?;
        match url.scheme() {
            "http" | "https" => Ok(Self(url)),
            _ => Err(ConfigError::NotHttp(variable)),
        }
    }

    /// The whole URL: only for who sends something there.
    pub(super) fn secret(&self) -> &Url {
        &self.0
    }

    /// The host, which is no secret.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Whether it is reached over TLS.
    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.host())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
