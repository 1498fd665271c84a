//! The dispatcher over real worker processes: this very binary, started again as a worker (D1-D13).

mod closing;
mod crowd;
mod engines;
mod faults;
mod hanging;
mod limits;
mod sharing;
mod support;
