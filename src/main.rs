//! The `bellwether` binary; everything it does is in the library.

use std::process::ExitCode;

/// Allocator of all but librdkafka. It asks the kernel for huge pages, which saves the detector a
/// tenth of its time: with many sites an event waits for memory, and for where memory is.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bellwether::cli::main()
}
