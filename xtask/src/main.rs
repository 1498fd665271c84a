//! The chores of this repository that are programs: `cargo xtask codegen`, `cargo xtask rules`, `cargo xtask fuzz`,
//! `cargo xtask chaos`.

mod chaos;
mod codegen;
mod fuzz;
mod rules;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  codegen           compile proto/ and write the generated files
  codegen --check   fail when a generated file is not what proto/ gives
  rules             print each rule of docs/protocol.md with the code and the tests that name it;
                    fail on a rule without a test and on a number that does not exist
  fuzz [--seconds N] [TARGET ...]
                    build the fuzzers and run each for N seconds (60); fail on a finding
  fuzz TARGET FILE  run one input again
  chaos [--release] [--seconds N] [--callers N] [--workers N] [--seed N]
                    callers on a dispatcher whose workers are killed, stopped and hang; fail on a wrong
                    answer, a call without an end, or anything left behind
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["codegen"] => codegen::write(&root()),
        ["codegen", "--check"] => codegen::check(&root()),
        ["rules"] => rules::run(&root()),
        ["fuzz", ref rest @ ..] => fuzz::run(&root(), rest),
        ["chaos", ref rest @ ..] => chaos::run(&root(), rest),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace: the directory above this package.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("xtask lies in the workspace").to_path_buf()
}
