//! The kit bites engines, too: one that breaks a rule is refused by a case that cites the rule, and the same engine
//! without its mistake passes.
//!
//! The driver is this binary, started again; which mistake its engine makes is in a variable of its environment. For the
//! table of rules, mutants and cases run it with `--nocapture`; with `TEST_MUTANTS_WHY=1` it says, too, what each case
//! found and how long it took, and `TEST_MUTANTS_ONLY=e12` tries only the mutants whose names begin so.

mod engine;
mod mutant;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyudf_conformance::{Capabilities, Capability, Case, Config, Outcome, Report, read_cases, run};
use futures::StreamExt as _;
use futures::stream;

use mutant::{Mutant, Mutation};

/// Set for a process that the test starts: the name of its mutation, or that it makes no mistake.
const ROLE: &str = "TEST_MUTANT";
const RIGHT: &str = "right";

/// Mutations that are tried at the same time: most of the time is spent waiting.
const SIDE_BY_SIDE: usize = 12;

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

/// The first case that cites the mutation's rule and refuses it.
async fn refusal(mutation: Mutation, cases: &[Case], took: &BTreeMap<String, Duration>) -> Option<Report> {
    let mut citing: Vec<_> =
        cases.iter().filter(|case| case.rules.iter().any(|rule| rule == mutation.rule())).collect();
    // What must hold first, and of that what is quick.
    citing.sort_by_key(|case| (case.level, took.get(&case.name)));
    for case in citing {
        let fails = |report: &Report| report.outcome == Outcome::Fail;
        let refused = play(mutation.name(), vec![case.clone()], 1).await.into_iter().find(fails);
        // On a busy machine a case may fail for being late; then it refuses the right engine as well.
        if refused.is_some() && !play(RIGHT, vec![case.clone()], 1).await.iter().any(fails) {
            return refused;
        }
    }
    None
}

#[test]
fn every_mutant_is_refused_by_a_case_that_cites_its_rule_and_the_right_engine_passes() {
    if env::var_os(ROLE).is_some() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let why = env::var_os("TEST_MUTANTS_WHY").is_some();
        let cases = cases();
        let began = Instant::now();
        let right = play(RIGHT, cases.clone(), 4).await;
        if why {
            println!("-- the right engine took {:?}", began.elapsed());
            let mut slow: Vec<_> = right.iter().map(|report| (report.took, &report.case.name)).collect();
            slow.sort();
            for (took, name) in slow.iter().rev().take(20) {
                println!("   {took:?} {name}");
            }
        }
        let mut wrong = String::new();
        for report in right.iter().filter(|report| matches!(report.outcome, Outcome::Fail | Outcome::NotRun)) {
            let _ =
                writeln!(wrong, "the right engine: {} ({}): {}", report.case.name, report.case.level, report.detail);
        }
        let took = right.iter().map(|report| (report.case.name.clone(), report.took)).collect();
        // A case that refuses the right engine proves nothing of a wrong one.
        let held = |case: &Case| {
            let mut reports = right.iter().filter(|report| report.case.name == case.name);
            reports.all(|report| matches!(report.outcome, Outcome::Pass | Outcome::Choice))
        };
        let cases: Vec<_> = cases.into_iter().filter(held).collect();
        let only = env::var("TEST_MUTANTS_ONLY").unwrap_or_default();
        let chosen = Mutation::ALL.iter().copied().filter(|mutation| mutation.name().starts_with(&only));
        let refused = stream::iter(chosen).map(|mutation| {
            let (cases, took) = (&cases, &took);
            async move {
                let began = Instant::now();
                let report = refusal(mutation, cases, took).await;
                (mutation as usize, mutation, report, began.elapsed())
            }
        });
        let mut refused: Vec<_> = refused.buffer_unordered(SIDE_BY_SIDE).collect().await;
        refused.sort_by_key(|(number, ..)| *number);
        println!("{:<5}{:<56}case", "rule", "mutant");
        for (_, mutation, report, took) in &refused {
            let case = report.as_ref().map_or("NONE", |report| &report.case.name);
            println!("{:<5}{:<56}{case}", mutation.rule(), mutation.name());
            if let Some(report) = report.as_ref().filter(|_| why) {
                println!("      {took:.1?} {}: {}", report.case.level, report.detail);
            }
            if report.is_none() {
                let _ = writeln!(wrong, "{} is refused by no case that cites {}", mutation.name(), mutation.rule());
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
    });
}

/// A rule without a mistake that breaks it would be proved by nothing.
#[test]
fn every_rule_that_binds_an_engine_has_a_mutant() {
    let protocol = include_str!("../../protocol.md").lines();
    let rules = protocol.filter_map(|line| line.strip_prefix("**")?.split_once(".**")).map(|(rule, _)| rule);
    let rules: Vec<_> = rules.filter(|rule| rule.starts_with(['R', 'E'])).collect();
    assert_eq!(rules.len(), 34, "{rules:?}");
    let broken: Vec<_> = Mutation::ALL.iter().map(|mutation| mutation.rule()).collect();
    for rule in rules {
        assert!(broken.contains(&rule), "no mutation breaks {rule}");
    }
    assert!(broken.len() >= 190, "{} mutations", broken.len());
    let mut names: Vec<_> = Mutation::ALL.iter().map(|mutation| mutation.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), broken.len(), "two mutations have one name");
    for mutation in Mutation::ALL {
        let named = mutation.name().starts_with(&format!("{}-", mutation.rule().to_lowercase()));
        assert!(named, "{} breaks {}", mutation.name(), mutation.rule());
    }
}
