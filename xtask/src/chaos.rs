//! `cargo xtask chaos`: many callers on a few workers, while a monkey kills and stops these. The program is an example of
//! the crate `anyudf`, so that this one needs neither Arrow nor an engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs `arguments`: `[--release] [--seconds N] [--callers N] [--workers N] [--seed N]`.
///
/// # Errors
/// When it does not build, or found something, which it has printed: a wrong answer, a call without an end, an error that
/// nothing explains which was done to its worker, too many workers, trouble without the monkey, or something left behind.
pub fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    let (options, profile, arguments) = match arguments {
        ["--release", rest @ ..] => (&["--release"][..], "release", rest),
        rest => (&[][..], "debug", rest),
    };
    // With the whole workspace, dependencies have the features that the tests have built them with already. `cargo run`
    // takes one package only, and would compile a second time.
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--workspace", "--example", "chaos"]).args(options);
    let built = cargo.current_dir(root).status().context("running cargo")?;
    ensure!(built.success(), "chaos does not build");
    let target = root.join(std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from));
    let program = target.join(profile).join("examples").join("chaos");
    let status = Command::new(&program).args(arguments).status().with_context(|| program.display().to_string())?;
    ensure!(status.success(), "chaos has found something, or was not understood ({status})");
    Ok(())
}
