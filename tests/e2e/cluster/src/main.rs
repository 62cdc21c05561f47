//! Builds and runs the Kubernetes cluster that Restamp's end-to-end tests and demo use.

mod binaries;
mod cache;
mod cli;
mod compile;
mod components;
mod events;
mod exec;
mod layout;
mod nodes;
mod ports;
mod probe;
mod progress;
mod scratch;
mod supervisor;
mod toolchain;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            progress::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
