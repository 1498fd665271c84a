//! A worker for this crate's own tests: the bundled functions, served by the test binary, which is started again.

use std::env;
use std::process::ExitCode;

use anyudf_engine::WorkerCommand;

/// The variable that makes a worker of this binary.
const MODE: &str = "ANYUDF_TEST_WORKER";

/// Not a test when started by a test: the worker.
#[test]
fn the_worker_that_tests_start() {
    if env::var_os(MODE).is_none() {
        return;
    }
    // The flags of the test runner are unknown to a worker, and it ignores what it does not know (P1).
    let code = anyudf_worker::Worker::bundled().run_with(env::args_os().skip(1));
    // The test runner must not go on to say how the test went.
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

/// What starts it.
pub(crate) fn command() -> WorkerCommand {
    let program = env::current_exe().expect("this binary has a path");
    // What the launcher adds is, to the test runner, names of further tests.
    let arguments = ["test_worker::the_worker_that_tests_start", "--exact", "--nocapture", "--"];
    let mut command = WorkerCommand::new(program, arguments);
    command.environment.push((MODE.into(), "1".into()));
    command
}
