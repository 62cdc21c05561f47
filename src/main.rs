//! The `restamp` program.

use std::process::ExitCode;

/// Wipes whatever is freed: payloads of Secrets pass through buffers of libraries that do not.
#[global_allocator]
static WIPING: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    restamp::cli::main()
}
