//! The flags of the certificates that Restamp makes itself.

use clap::Args;

use super::not_empty;
use crate::{certificates::Times, stamp::duration::parse_duration, watcher::Managed};

/// The variable of the Secret with the serving certificate, the same for webhook and watcher.
pub(super) const CERT_SECRET: &str = "RESTAMP_CERT_SECRET";

/// What the webhook's certificates are looked after by.
#[derive(Args)]
pub(super) struct CertificateArgs {
    /// Make the webhook's certificates, and have this MutatingWebhookConfiguration trust them.
    #[arg(long, env = "RESTAMP_WEBHOOK_CONFIGURATION", value_name = "NAME", value_parser = not_empty)]
    webhook_configuration: Option<String>,
    /// The Secret for the serving certificate; that of the CA has -ca behind its name.
    #[arg(
        long,
        env = CERT_SECRET,
        value_name = "NAME",
        default_value = "restamp-webhook-tls",
        value_parser = not_empty
    )]
    cert_secret: String,
    /// For tests: how long a CA and a serving certificate last, and API servers and replicas take to learn of one.
    #[arg(long, value_parser = certificate_times, hide = true)]
    certificate_times: Option<Times>,
}

impl CertificateArgs {
    /// What the watcher looks after; nothing where it is not asked to.
    pub(super) fn managed(self) -> Option<Managed> {
        Some(Managed {
            configuration: self.webhook_configuration?,
            secret: self.cert_secret,
            times: self.certificate_times.unwrap_or_default(),
        })
    }
}

fn certificate_times(text: &str) -> Result<Times, String> {
    let times = text.split(',').map(parse_duration);
    let times = times.collect::<Result<Vec<_>, _>>();
    match times.map_err(|error| error.to_string())?[..] {
        [authority, serving, publish, adopt] => Ok(Times {
            authority,
            serving,
            publish,
            adopt,
        }),
        _ => Err("write four durations".to_owned()),
    }
}
