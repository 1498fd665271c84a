//! The kit bites engines, too: one that breaks a rule is refused by a case that cites the rule, and the same engine
//! without its mistake passes.
//!
//! The driver is this binary, started again; which mistake its engine makes is in a variable of its environment. For the
//! table of rules, mutants and cases run it with `--nocapture`; with `TEST_MUTANTS_WHY=1` it says, too, what each case
//! found and how long it took, and `TEST_MUTANTS_ONLY=e12` tries only the mutants whose names begin so.

mod engine;
mod mutant;
#[path = "../mutation/mod.rs"]
mod mutation;

use std::env;
use std::path::Path;

use anyudf_conformance::{Capabilities, Capability, Case, Config, Report, read_cases, run};

use mutant::{Mutant, Mutation};
use mutation::{ROLE, Trial, every_rule_is_broken};

/// Not a test when started by the test: the driver.
#[test]
fn the_process_that_the_test_starts() {
    let Ok(role) = env::var(ROLE) else { return };
    let arguments = env::args().skip_while(|argument| argument != "--").skip(1);
    std::process::exit(engine::run(arguments, Mutant::named(&role)));
}

/// Runs one case, or all, against this binary as a driver whose engine has a mistake; `role` is the mistake's name.
async fn play(role: &str, cases: Vec<Case>, jobs: usize) -> Vec<Report> {
    let this = env::current_exe().expect("it has a path");
    // The test runner has a word of its own for standard output, which is the driver's for reports: they go to another
    // descriptor. And what the kit adds behind the arguments is, to it, names of further tests.
    let shell = ["-c", r#"exec "$@" 3>&1 >&2"#, "sh", "/usr/bin/env"].map(Into::into);
    let runner = ["the_process_that_the_test_starts", "--exact", "--nocapture", "--"].map(Into::into);
    let arguments = [format!("{ROLE}={role}").into(), this.into_os_string()];
    let arguments = shell.into_iter().chain(arguments).chain(runner);
    let mut capabilities = Capabilities::everything();
    capabilities.withdraw(Capability::Arrow);
    let config = Config { capabilities, cases, jobs, ..Config::new("/bin/sh", arguments) };
    run(config, |_| {}).await.expect("there is a case")
}

fn cases() -> Vec<Case> {
    read_cases(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/cases/engine"))).expect("they can be read")
}

#[test]
fn every_mutant_is_refused_by_a_case_that_cites_its_rule_and_the_right_engine_passes() {
    if env::var_os(ROLE).is_some() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let trial = Trial { what: "engine", cases: cases(), side_by_side: 12, play };
    runtime.expect("a runtime").block_on(trial.run(Mutation::ALL));
}

#[test]
fn every_rule_that_binds_an_engine_has_a_mutant() {
    every_rule_is_broken(Mutation::ALL, &['R', 'E'], 34..=34, 190);
}
