//! `cargo xtask fuzz`: libFuzzer on the stable toolchain.
//!
//! Coverage instrumentation is an LLVM pass that a stable compiler runs when it is asked by name; only the address
//! sanitizer would need another toolchain.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

const TARGETS: [&str; 5] = ["messages", "exchange", "batches", "expression", "authority"];

const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Runs `arguments`: `[--seconds N] [TARGET ...]` or `TARGET FILE`.
///
/// # Errors
/// When the fuzzers do not build, an argument is unknown, or a fuzzer found something.
pub fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    if let [target, file] = arguments
        && TARGETS.contains(target)
        && Path::new(file).is_file()
    {
        let host = build(root)?;
        return fuzz(root, &host, target, &[(*file).into()]);
    }
    let (seconds, targets) = match arguments {
        ["--seconds", seconds, targets @ ..] => (seconds.parse().context("--seconds takes a number")?, targets),
        targets => (60u64, targets),
    };
    let targets = if targets.is_empty() { &TARGETS } else { targets };
    for target in targets {
        ensure!(TARGETS.contains(target), "there is no fuzz target `{target}`; there are {}", TARGETS.join(", "));
    }
    let host = build(root)?;
    for target in targets {
        let corpus = root.join("fuzz/corpus").join(target);
        let artifacts = root.join("fuzz/artifacts").join(target);
        std::fs::create_dir_all(&corpus)?;
        std::fs::create_dir_all(&artifacts)?;
        let options = [
            corpus.display().to_string(),
            format!("-artifact_prefix={}/", artifacts.display()),
            format!("-max_total_time={seconds}"),
            "-max_len=4096".into(),
            "-rss_limit_mb=2048".into(),
            "-timeout=10".into(),
            "-print_final_stats=1".into(),
            "-verbosity=0".into(),
        ];
        println!("fuzzing {target} for {seconds} s");
        fuzz(root, &host, target, &options)?;
    }
    Ok(())
}

/// Builds every target. Returns the host's triple.
fn build(root: &Path) -> Result<String> {
    let version = Command::new("rustc").arg("-vV").output().context("running rustc")?;
    let version = String::from_utf8(version.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    // With a target named, the flags do not reach build scripts, which could not be linked with them.
    let built = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--target", host, "--manifest-path"])
        .arg(root.join("fuzz/Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir(root))
        .env("RUSTFLAGS", INSTRUMENTATION)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()?;
    ensure!(built.success(), "the fuzzers do not build; a C++ compiler is needed for libFuzzer");
    Ok(host.into())
}

fn fuzz(root: &Path, host: &str, target: &str, options: &[String]) -> Result<()> {
    let program = target_dir(root).join(host).join("release").join(target);
    let corpus = root.join("fuzz/corpus").join(target);
    let status = Command::new(program).args(options).env("ANYUDF_FUZZ_CORPUS", corpus).status()?;
    if !status.success() {
        bail!("{target} found something ({status}); the input is in fuzz/artifacts/{target}/");
    }
    Ok(())
}

fn target_dir(root: &Path) -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into).join("fuzz")
}
