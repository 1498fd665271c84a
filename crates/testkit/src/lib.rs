//! Scripted peers for the tests of anyudf: what they say is a line of text, and what they heard is another.
//!
//! A dialogue is a line of words. `>` is what the engine says and `<` what the worker says, so a worker's script waits
//! for the first kind and sends the second:
//!
//! ```text
//! > init < init > data < data:7 > finish < finish
//! ```

mod script;
mod worker;

pub use script::{Step, parse};
pub use worker::ScriptedWorker;
