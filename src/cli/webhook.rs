//! `restamp webhook`: its flags.

use std::{path::PathBuf, sync::Arc};

use clap::Args;

use super::{
    AdminArgs, Failure, certificates::CERT_SECRET, counting, listen, not_empty, policy::PolicyArgs,
    settings,
};
use crate::{
    cluster::client,
    runtime::{ambient::Ambient, metrics::WebhookMetrics, shutdown},
    webhook::{self, CertificateSource, Listeners},
};

#[derive(Args)]
pub(super) struct WebhookArgs {
    /// Where admission reviews are received, over HTTPS.
    #[arg(
        long,
        env = "RESTAMP_LISTEN",
        default_value = "0.0.0.0:9443",
        value_name = "ADDR"
    )]
    listen: String,
    /// The folder with the serving certificate, in tls.crt and tls.key; it may change at any time.
    #[arg(
        long,
        env = "RESTAMP_CERT_DIR",
        default_value = "/etc/restamp/tls",
        value_name = "DIR"
    )]
    cert_dir: PathBuf,
    /// The Secret with the serving certificate, in the place of a folder: read by the API, in Restamp's own namespace.
    #[arg(
        long,
        env = CERT_SECRET,
        value_name = "NAME",
        value_parser = not_empty,
        conflicts_with = "cert_dir"
    )]
    cert_secret: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// Runs the webhook until it is asked to stop.
pub(super) async fn run(args: WebhookArgs, namespace: String) -> Result<(), Failure> {
    let (kinds, policy) = (args.policy.kinds(), Arc::new(settings(&args.policy)));
    let (shutdown, metrics) = (shutdown::on_signal()?, WebhookMetrics::new()?);
    let client = client::connect(counting(&metrics.requests)).await?;
    let listeners = Listeners {
        webhook: listen("--listen", &args.listen).await?,
        admin: listen("--admin-listen", &args.admin.admin_listen).await?,
    };
    let settings = webhook::Settings {
        namespace,
        kinds,
        policy,
        certificate: match args.cert_secret {
            Some(name) => CertificateSource::Secret(name),
            None => CertificateSource::Folder(args.cert_dir),
        },
        now: Ambient::default().now,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %listeners.webhook.local_addr()?,
        admin = %listeners.admin.local_addr()?,
        "starting webhook"
    );
    webhook::run(client, settings, metrics, listeners, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}
