//! What is logged, and how it looks.

use clap::Args;

use crate::runtime::telemetry::LogFormat;

#[derive(Args)]
pub(super) struct LogArgs {
    /// How log lines look.
    #[arg(
        long,
        env = "RESTAMP_LOG_FORMAT",
        default_value = "text",
        global = true
    )]
    pub(super) log_format: LogFormat,
    /// What is logged: a level, or a filter such as restamp=debug.
    #[arg(long, env = "RESTAMP_LOG_LEVEL", default_value = "info", global = true, value_parser = log_level)]
    pub(super) log_level: String,
}

impl LogArgs {
    /// What is logged, with our names of levels in the place of Reloader's.
    pub(super) fn filter(&self) -> &str {
        match &*self.log_level.to_ascii_lowercase() {
            "warning" => "warn",
            "panic" | "fatal" => "error",
            _ => &self.log_level,
        }
    }
}

const LOG_LEVELS: [&str; 9] = [
    "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic", "off",
];

/// A word that is no level would be taken for a target, and nothing else be logged.
fn log_level(text: &str) -> Result<String, String> {
    let is_filter = text.is_empty() || text.contains(['=', ',']);
    if is_filter || LOG_LEVELS.contains(&&*text.to_ascii_lowercase()) {
        Ok(text.to_owned())
    } else {
        let levels = LOG_LEVELS.join(", ");
        Err(format!(
            "write one of {levels}, or a filter such as restamp=debug"
        ))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Logs {
        #[command(flatten)]
        logs: LogArgs,
    }

    fn parse(args: &[&str]) -> Result<LogArgs, clap::Error> {
        let args = ["restamp"].iter().chain(args);
        Ok(Logs::try_parse_from(args)?.logs)
    }

    #[test]
    fn what_is_no_level_stops_the_start() {
        for bad in ["inf", "verbose", "restamp"] {
            let error = parse(&[&format!("--log-level={bad}")]).err();
            let error = error.map(|error| error.to_string());
            assert!(error.unwrap().contains("write one of trace"), "{bad}");
        }
        parse(&["--log-level=info,restamp=debug"]).unwrap();
    }

    #[test]
    fn logs_are_set_as_for_reloader() {
        let format = parse(&["--log-format="]).unwrap().log_format;
        assert_eq!(format, LogFormat::Text);
        let levels = [
            ("Warning", "warn"),
            ("FATAL", "error"),
            ("restamp=debug", "restamp=debug"),
        ];
        for (said, filter) in levels {
            let logs = parse(&[&format!("--log-level={said}")]).unwrap();
            assert_eq!(logs.filter(), filter);
        }
    }
}
