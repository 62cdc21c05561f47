//! Who receives alerts, and one try to reach it.

use std::{error::Error, sync::Arc, time::Duration};

use reqwest::{
    Client, Proxy, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
    redirect::Policy,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::time::timeout;

use super::{config::Config, payload::Payload};

/// How long things take at most.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// One try, from its first packet to the status of the answer.
    pub one_try: Duration,
    /// The pause after the first try, before chance; each one after that is twice as long.
    pub retry: Duration,
    /// No pause is longer, whatever the receiver asks for.
    pub longest: Duration,
    /// What is left of the queue once we were asked to stop.
    pub farewell: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            one_try: Duration::from_secs(10),
            retry: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            farewell: Duration::from_secs(3),
        }
    }
}

/// Who receives alerts.
#[derive(Clone)]
pub struct Receiver {
    /// Where it is, and what it understands.
    pub config: Config,
    /// How patient we are with it.
    pub pauses: Pauses,
    http: Client,
}

/// Why nothing can be sent to a receiver at all.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// There is nothing to check the certificate of an HTTPS server with.
    #[error(
        "alerts over https need CA certificates to check the receiver's with: install some, or set SSL_CERT_FILE"
    )]
    NoAuthorities(#[source] rustls::Error),
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client for alerts")]
    NoClient(#[source] reqwest::Error),
}

/// How a try failed. Says nothing of a URL.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It took too long.
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// There is no connection, or it broke.
    #[error("cannot reach it: {0}")]
    Unreachable(String),
    /// An answer that is no success.
    #[error("it answered {status}")]
    Refused {
        /// Which one.
        status: StatusCode,
        /// When to come back, if it says so.
        retry_after: Option<Duration>,
    },
}

impl Receiver {
    /// One whose certificate is checked against the authorities that this machine trusts.
    ///
    /// # Errors
    /// When nothing could ever be sent.
    pub fn new(config: Config) -> Result<Self, ReceiverError> {
        let tls = tls(&config).map_err(ReceiverError::NoAuthorities)?;
        Self::with_tls(config, tls)
    }

    /// One that is reached over TLS like that.
    ///
    /// # Errors
    /// When nothing could ever be sent.
    pub fn with_tls(config: Config, tls: ClientConfig) -> Result<Self, ReceiverError> {
        let http =
            client(&config, tls).map_err(|error| ReceiverError::NoClient(error.without_url()))?;
        Ok(Self {
            config,
            pauses: Pauses::default(),
            http,
        })
    }

    /// Tries once to deliver.
    pub(super) async fn post(&self, payload: &Payload) -> Result<(), Failure> {
        let request = self
            .http
            .post(self.config.url.secret().clone())
            .header(CONTENT_TYPE, payload.content_type)
            .body(payload.body.clone());
        match timeout(self.pauses.one_try, request.send()).await {
            Err(_) => Err(Failure::NoAnswer(self.pauses.one_try)),
            Ok(Err(error)) => Err(Failure::Unreachable(root_cause(&error.without_url()))),
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(Failure::Refused {
                status: answer.status(),
                retry_after: retry_after(&answer),
            }),
        }
    }
}

impl Failure {
    /// Whether another try may end better.
    pub fn may_pass(&self) -> bool {
        match self {
            Failure::NoAnswer(_) | Failure::Unreachable(_) => true,
            Failure::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
        }
    }

    /// How long the receiver wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Refused { retry_after, .. } => *retry_after,
            Failure::NoAnswer(_) | Failure::Unreachable(_) => None,
        }
    }
}

/// The variables that name a proxy for everything are none of ours, as in Reloader. A redirect would
/// hand the message to somebody whom nobody named.
fn client(config: &Config, tls: ClientConfig) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("restamp/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        // Alerts are rare: nothing is gained by a connection that stays open.
        .pool_max_idle_per_host(0)
        .no_proxy();
    match &config.proxy {
        Some(proxy) => builder.proxy(Proxy::all(proxy.secret().clone())?).build(),
        None => builder.build(),
    }
}

/// Whoever uses plain HTTP needs no authorities, and an image without them will do.
fn tls(config: &Config) -> Result<ClientConfig, rustls::Error> {
    let addresses = [Some(&config.url), config.proxy.as_ref()];
    let uses_tls = addresses.into_iter().flatten().any(|it| it.is_https());
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = if uses_tls {
        builder.with_platform_verifier()?
    } else {
        builder.with_root_certificates(RootCertStore::empty())
    };
    Ok(builder.with_no_client_auth())
}

/// The last cause says what is wrong; those before it say where in the library.
fn root_cause(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), root_cause)
}

/// In seconds; a date would need the wall clock, and no receiver that we know sends one.
fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}
