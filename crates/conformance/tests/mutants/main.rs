//! The kit bites: a worker that breaks a rule is refused by a case that cites the rule, and the same worker without its
//! mistake passes.
//!
//! The worker is this binary, started again; which mistake it makes is in a variable of its environment. For the table of
//! rules, mutants and cases run it with `--nocapture`; with `TEST_MUTANTS_WHY=1` it says, too, what each case found and
//! how long it took, and `TEST_MUTANTS_ONLY=r12` tries only the mutants whose names begin so.

mod bench;
mod mutant;
#[path = "../mutation/mod.rs"]
mod mutation;
mod worker;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyudf_conformance::{Capabilities, Case, Config, Report, read_cases, run};

use mutant::{Mutant, Mutation};
use mutation::{ROLE, Trial, every_rule_is_broken};

/// Not a test when started by the test: the worker.
#[test]
fn the_process_that_the_test_starts() {
    let Ok(role) = env::var(ROLE) else { return };
    let arguments = env::args().skip_while(|argument| argument != "--").skip(1);
    std::process::exit(worker::run(arguments, Mutant::named(&role)));
}

/// What starts this binary as a worker with a mistake, behind `/usr/bin/env`; `role` is the mistake's name.
fn worker_with(role: &str) -> Vec<OsString> {
    let this = env::current_exe().expect("it has a path");
    // To the test runner, what the kit adds behind these is names of further tests.
    let arguments = ["the_process_that_the_test_starts", "--exact", "--nocapture", "--"];
    [format!("{ROLE}={role}").into(), this.into_os_string()].into_iter().chain(arguments.map(Into::into)).collect()
}

/// Runs one case, or all, against this binary as a worker with a mistake.
async fn play(role: &str, cases: Vec<Case>, jobs: usize) -> Vec<Report> {
    let mut capabilities = Capabilities::everything();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mutants/capabilities.toml");
    capabilities.read(Path::new(file)).expect("it is a file of capabilities");
    // So that what is refused by silence is refused soon.
    let timeout = Duration::from_millis(2500);
    let config = Config { capabilities, cases, timeout, jobs, ..Config::new("/usr/bin/env", worker_with(role)) };
    run(config, |_| {}).await.expect("there is a case")
}

fn cases() -> Vec<Case> {
    read_cases(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/cases/worker"))).expect("they can be read")
}

#[test]
fn every_mutant_is_refused_by_a_case_that_cites_its_rule_and_the_right_worker_passes() {
    if env::var_os(ROLE).is_some() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let trial = Trial { what: "worker", cases: cases(), side_by_side: 16, play };
    runtime.expect("a runtime").block_on(trial.run(Mutation::ALL));
}

/// Groups E and D are the engine's.
#[test]
fn every_rule_of_a_worker_has_a_mutant() {
    every_rule_is_broken(Mutation::ALL, &['R', 'C', 'M', 'P', 'S'], 55.., 180);
}
