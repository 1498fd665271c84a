//! SQL over functions of a real worker process.

mod calls;
mod failures;
mod places;
mod relations;
mod same;
mod support;
mod trips;
mod worker;
