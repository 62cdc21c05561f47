//! What people see on standard error while they wait.

use std::{
    fmt::Display,
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

const SHOWN_LINES: usize = 20;
const PLAIN_INTERVAL: Duration = Duration::from_secs(20);

/// Says something to the user. That nobody listens is no reason to fail.
pub(crate) fn say(text: impl Display) {
    writeln!(stderr(), "{text}").ok();
}

/// As much of a log as people read.
pub(crate) fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let first = lines.len().saturating_sub(SHOWN_LINES);
    lines.get(first..).unwrap_or_default().join("\n")
}

/// A step that takes minutes: one line kept up to date on a terminal, a line now and then elsewhere.
pub(crate) struct Progress {
    label: String,
    started: Instant,
    shown: Instant,
    terminal: bool,
}

impl Progress {
    pub(crate) fn start(label: String) -> Self {
        let now = Instant::now();
        Self {
            label,
            started: now,
            shown: now,
            terminal: stderr().is_terminal(),
        }
    }

    pub(crate) fn show(&mut self, state: impl Display) {
        let line = format!("{}: {state}, {}", self.label, clock(self.started.elapsed()));
        if self.terminal {
            write!(stderr(), "\r\x1b[2K{line}").ok();
        } else if self.shown.elapsed() >= PLAIN_INTERVAL {
            self.shown = Instant::now();
            say(line);
        }
    }

    pub(crate) fn finish(self, what: &str) {
        self.clear();
        let took = clock(self.started.elapsed());
        say(format_args!("{}: {what} in {took}", self.label));
    }

    /// Makes room for something else to be said.
    pub(crate) fn clear(&self) {
        if self.terminal {
            write!(stderr(), "\r\x1b[2K").ok();
        }
    }
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 60 {
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{:02}s", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_readable() {
        assert_eq!(clock(Duration::from_secs(7)), "7s");
        assert_eq!(clock(Duration::from_secs(130)), "2m10s");
        assert_eq!(clock(Duration::from_secs(600)), "10m00s");
    }
}
