//! What the demo prints: plain text where no terminal reads it.

use std::{
    fmt::{Display, Write as _},
    io::{Write as _, stdin, stdout},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use crate::Result;

const LOG_LINES: usize = 25;
const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// Tells the story, and keeps what did not hold.
pub struct Teller {
    colors: bool,
    steps: u32,
    held: u32,
    step: String,
    failed: Vec<String>,
}

impl Teller {
    /// Nothing told yet.
    pub fn new(colors: bool) -> Self {
        Self {
            colors,
            steps: 0,
            held: 0,
            step: "setting up".to_owned(),
            failed: Vec::new(),
        }
    }

    /// What did not hold.
    pub fn failed(&self) -> &[String] {
        &self.failed
    }

    /// A heading.
    pub fn title(&self, text: &str) {
        print(format_args!("\n{}", self.paint(BOLD, text)));
    }

    /// The heading of the next step.
    pub fn step(&mut self, text: &str) {
        self.steps += 1;
        self.step = format!("{}. {text}", self.steps);
        self.title(&self.step);
    }

    /// What is done now.
    pub fn command(&self, text: &str) {
        self.line(&self.paint(CYAN, &format!("$ {text}")));
    }

    /// A line of whatever.
    pub fn line(&self, text: &str) {
        print(format_args!("   {text}"));
    }

    /// A claim: the revision of a workload, read before and after.
    pub fn revision(
        &mut self,
        name: &str,
        before: u64,
        after: u64,
        expected: u64,
        took: Option<Duration>,
    ) {
        let mut text = format!("{name:<10}revision {before} -> {after}");
        if let Some(took) = took {
            // Writing to a String does not fail.
            let _ = write!(text, "   new pods after {:.1} s", took.as_secs_f64());
        }
        let mark = if after == expected {
            self.held += 1;
            self.paint(GREEN, "ok")
        } else {
            let claim = format!("{}: {text}, expected {expected}", self.step);
            self.failed.push(claim);
            self.paint(RED, &format!("FAILED, expected {expected}"))
        };
        self.line(&format!("{text:<54}{mark}"));
    }

    /// How it went.
    pub fn summary(&self) {
        let all = self.failed.is_empty();
        let text = format!("{} claims held, {} failed", self.held, self.failed.len());
        self.title(&self.paint(if all { GREEN } else { RED }, &text));
    }

    /// Something went wrong that nothing was claimed about.
    pub fn broke_off(&mut self, error: &str) {
        self.failed
            .push(format!("{}: broke off: {error}", self.step));
    }

    /// Says what went wrong.
    pub fn failure(&self, text: &str) {
        print(format_args!("\n{}", self.paint(RED, text)));
    }

    /// Says what did not hold, and shows the end of the watcher's log.
    pub fn log_tail(&self, log: &str) {
        for claim in &self.failed {
            self.failure(&format!("FAILED: {claim}"));
        }
        let lines: Vec<_> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_LINES)..);
        self.title("The end of the watcher's log");
        for line in tail.unwrap_or_default() {
            self.line(line);
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colors {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Waits for the Enter key, or the end of the input.
pub async fn until_enter() -> Result<()> {
    let (pressed, wait) = oneshot::channel();
    // Not a thread of the runtime: it would keep the process from ending on Ctrl-C.
    thread::spawn(move || {
        let read = stdin().read_line(&mut String::new());
        // Nobody listens any more if the demo was ended otherwise.
        let _ = pressed.send(read);
    });
    wait.await??;
    Ok(())
}

/// A reader that went away is no reason to stop half way.
fn print(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}
