//! `cargo xtask chaos`: many callers on a few workers, while a monkey kills and stops these. The program is an example of
//! the crate `anyudf`, so that this one needs neither Arrow nor an engine.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs `arguments`: `[--release] [--seconds N] [--callers N] [--workers N] [--seed N]`.
///
/// # Errors
/// When it does not build, a call went wrong or never ended, or something was left behind.
pub fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    let (profile, arguments) = match arguments {
        ["--release", rest @ ..] => (&["--release"][..], rest),
        rest => (&[][..], rest),
    };
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--package", "anyudf", "--example", "chaos"]).args(profile).arg("--").args(arguments);
    let status = cargo.current_dir(root).status().context("running cargo")?;
    ensure!(status.success(), "chaos has found something ({status})");
    Ok(())
}
