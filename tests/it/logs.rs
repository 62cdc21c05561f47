//! What is logged on one thread, for tests of what people read.

use std::{
    io,
    sync::{Arc, Mutex},
};

use restamp::runtime::telemetry::{self, LogFormat};
use tracing::{
    Dispatch,
    subscriber::{DefaultGuard, NoSubscriber, set_default},
};
use tracing_subscriber::{
    Layer,
    filter::filter_fn,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry,
    util::SubscriberInitExt,
};

/// Keeps what this thread logs until it is dropped.
pub struct Logs {
    text: Text,
    /// With a single subscriber, whether a place in the code logs is decided by the thread that comes
    /// there first: in another test, which logs to nobody.
    _other: Dispatch,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// From now on, what Restamp itself says.
    pub fn capture() -> Self {
        Self::of(|text| {
            let layer = fmt::layer()
                .with_ansi(false)
                .without_time()
                .with_writer(text)
                .with_filter(filter_fn(|event| event.target().starts_with("restamp")));
            registry().with(layer).set_default()
        })
    }

    /// From now on, all that can be seen with the finest filter, of libraries too.
    pub fn capture_all() -> Self {
        Self::of(|text| {
            let writer = move || text.clone();
            set_default(telemetry::subscriber(LogFormat::Json, "trace", writer).unwrap())
        })
    }

    fn of(capture: impl FnOnce(Text) -> DefaultGuard) -> Self {
        let text = Text::default();
        Self {
            _other: Dispatch::new(NoSubscriber::new()),
            _guard: capture(text.clone()),
            text,
        }
    }

    /// The lines so far that contain all of `words`.
    pub fn with(&self, words: &[&str]) -> Vec<String> {
        let text = self.text.0.lock().expect("no panic while it was locked");
        let text = String::from_utf8(text.clone()).expect("text");
        let wanted = |line: &&str| words.iter().all(|word| line.contains(word));
        text.lines().filter(wanted).map(str::to_owned).collect()
    }
}

impl<'a> MakeWriter<'a> for Text {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.0.lock().expect("no panic while it was locked");
        text.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
