//! Logs, on standard error.

use std::io::IsTerminal;

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{ParseError, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people. Reloader's default is the empty word.
    #[value(alias = "")]
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging. `filter` is in the syntax of `tracing-subscriber`'s `EnvFilter`, such as `info` or
/// `restamp=debug`.
///
/// # Errors
/// When the filter cannot be parsed.
pub fn init(format: LogFormat, filter: &str) -> Result<(), ParseError> {
    subscriber(format, filter, std::io::stderr)?.init();
    Ok(())
}

/// Logs to `writer`.
///
/// # Errors
/// When the filter cannot be parsed.
pub fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    writer: W,
) -> Result<impl Subscriber + Send + Sync, ParseError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(filter)?;
    let writer = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer = match format {
        LogFormat::Text => writer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => writer.json().flatten_event(true).boxed(),
    };
    // The client libraries log answers that they cannot decode, whole; those may be Secrets. No filter
    // of the user's can switch that on.
    let no_payloads = filter_fn(|event| !event.target().starts_with("kube"));
    let layer = layer.with_filter(no_payloads).with_filter(filter);
    Ok(tracing_subscriber::registry().with(layer))
}
