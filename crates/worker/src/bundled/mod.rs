//! The functions that every `anyudf` binary brings along: an example of each kind, and the test functions of rule S.
//!
//! | name | kind | what it is an example of |
//! |---|---|---|
//! | [`distance_miles`] | scalar | an ordinary function over rows; nulls in give nulls out |
//! | [`echo_batches`] | map | the smallest map: what comes in goes out, decoded and encoded again |
//! | [`explode_words`] | map | another number of rows out than in |
//! | [`generate_series`] | table | no input, options, output until it is cancelled |
//! | [`count_rows`] | aggregate | no batches out; the result is `FinishResponse.data` |
//!
//! The payload formats of rule S ([`echo`]) see bytes and decode nothing: they test engines, workers and transports.

pub mod count_rows;
pub mod distance_miles;
pub mod echo;
pub mod echo_batches;
pub mod explode_words;
pub mod generate_series;

use crate::worker::Worker;

/// The worker with all of them.
pub(crate) fn add_to(worker: Worker) -> Worker {
    worker
        .with(count_rows::definition())
        .with(distance_miles::definition())
        .with(echo_batches::definition())
        .with(explode_words::definition())
        .with(generate_series::definition())
        .with_format("echo", echo::open_echo)
        .with_format("echo/generate", echo::open_generate)
        .with_format("echo/sink", echo::open_sink)
        .with_format("echo/slow", echo::open_slow)
        .with_format("echo/hang", echo::open_hang)
}
