//! Functions that live in worker processes, called from the SQL of DataFusion.

mod register;

mod worker;

mod function;

mod signature;

mod lift;

mod node;

mod planner;

mod exec;

mod relation;

#[cfg(feature = "files")]
mod files;

mod error;

pub use error::Error;
#[cfg(feature = "files")]
pub use files::{Rows, SqlError, SqlSession, Statement};
pub use lift::LiftWorkerCalls;
pub use planner::WorkerPlanner;
pub use register::{RegisterWorker, RegisteredWorker};
pub use worker::WorkerOptions;
