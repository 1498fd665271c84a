//! `echo_batches`: an example of the smallest map function. The benchmark's mode `arrow` runs it.

use crate::closures::map;
use crate::definition::{Definition, Volatility};

/// The function: every batch comes back, decoded and encoded again.
pub fn definition() -> Definition {
    map("echo_batches")
        .returns_input()
        .help("every batch as it came, decoded and encoded again")
        .version(env!("CARGO_PKG_VERSION"))
        .over(|batch, out| out.emit(batch))
        .volatility(Volatility::Immutable)
}
