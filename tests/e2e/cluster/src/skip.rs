//! What a test cannot show where it runs.

use std::{
    fmt::Display,
    io::{Write, stderr},
    thread,
};

/// Says that this test, or a part of it, is skipped, and why. Test programs keep to themselves what a test that passes
/// prints by macros, so this does not.
pub fn skipped(why: impl Display) {
    let test = thread::current();
    let test = test.name().unwrap_or("a test");
    // Nobody listens if this fails.
    writeln!(stderr(), "skipped in {test}: {why}").ok();
}
