//! `anyudf new`: writes a crate with a worker that builds, runs and tests at once.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::failure::{Failure, Result, unprinted};

/// What is written. The functions are compiled and tested as part of our own tests.
const LIB: &str = include_str!("../templates/worker/src/lib.rs");
const MAIN: &str = include_str!("../templates/worker/src/main.rs.in");
const PROCESS: &str = include_str!("../templates/worker/tests/process.rs.in");
const CARGO_TOML: &str = include_str!("../templates/worker/Cargo.toml.in");
const README: &str = include_str!("../templates/worker/README.md.in");

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  anyudf new my-worker && cd my-worker && cargo build
  anyudf functions --worker target/debug/my-worker")]
pub(crate) struct NewArguments {
    /// The name of the worker, which is a directory to be made; or the path of one
    path: PathBuf,

    /// Where the crate `anyudf` is, for one that is not from crates.io
    #[arg(long, value_name = "DIRECTORY")]
    anyudf: Option<PathBuf>,
}

/// Runs `anyudf new`.
pub(crate) fn new(arguments: &NewArguments) -> Result {
    let path = &arguments.path;
    let name = name(path)?;
    let from = source(arguments.anyudf.as_deref())?;
    let cargo_toml = CARGO_TOML
        .replace("{anyudf}", &dependency(&from, &["worker"]))
        .replace("{testing}", &dependency(&from, &["worker", "engine"]));
    let files = [
        ("Cargo.toml", fill(&cargo_toml, name)),
        ("README.md", fill(README, name)),
        (".gitignore", "/target\n".to_owned()),
        ("src/lib.rs", LIB.to_owned()),
        ("src/main.rs", fill(MAIN, name)),
        ("tests/process.rs", fill(PROCESS, name)),
    ];
    // Fails when it is there already: nothing of anybody's is written over.
    fs::create_dir(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::usage(format_args!("{} is there already; choose another name", path.display()))
        }
        _ => Failure::usage(format_args!("{} can't be made: {error}", path.display())),
    })?;
    for part in ["src", "tests"] {
        fs::create_dir(path.join(part)).with_context(|| format!("can't write in {}", path.display()))?;
    }
    for (file, text) in files {
        let file = path.join(file);
        fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
    }
    let shown = path.display();
    let mut out = io::stdout().lock();
    let text = format!(
        "{shown} is a worker with two functions, in src/lib.rs. Try it:\n  cd {shown} && cargo test && cargo build\n  \
         anyudf functions --worker target/debug/{name}\n"
    );
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(unprinted)
}

/// The name of the crate: the last part of the path.
fn name(path: &Path) -> Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_good = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter));
    match name {
        _ if !is_good => Err(Failure::usage(format_args!(
            "`{name}` is no name for a crate; use small letters, digits, - and _, and begin with a letter"
        ))),
        "anyudf" | "test" | "core" | "std" | "alloc" => {
            Err(Failure::usage(format_args!("`{name}` is the name of another crate; choose one of your own")))
        }
        // It is written in programs as it stands.
        _ if KEYWORDS.split_whitespace().any(|word| word == name) => {
            Err(Failure::usage(format_args!("`{name}` is a word of Rust itself; choose another")))
        }
        name => Ok(name),
    }
}

/// Rust's own words, those to come included.
const KEYWORDS: &str = "
    abstract as async await become box break const continue crate do dyn else enum extern false final fn for gen if impl in
    let loop macro match mod move mut override priv pub ref return self static struct super trait true try type typeof
    unsafe unsized use virtual where while yield";

/// Where the crate has anyudf from.
fn source(directory: Option<&Path>) -> Result<String> {
    Ok(match directory {
        None => format!("version = \"{}\"", env!("CARGO_PKG_VERSION")),
        Some(directory) => {
            let directory = directory.canonicalize();
            let directory =
                directory.map_err(|error| Failure::usage(format_args!("--anyudf is not there: {error}")))?;
            if !directory.join("Cargo.toml").is_file() {
                let directory = directory.display();
                return Err(Failure::usage(format_args!("--anyudf: there is no crate in {directory}")));
            }
            // Quoted as TOML does, which for a path is as Rust does.
            format!("path = {:?}", directory.display().to_string())
        }
    })
}

/// What the crate says of its dependency.
fn dependency(source: &str, features: &[&str]) -> String {
    format!("{{ {source}, default-features = false, features = {features:?} }}")
}

fn fill(template: &str, name: &str) -> String {
    template.replace("{name}", name).replace("{crate}", &name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_of_crates() {
        for good in ["w", "my-worker", "w_2", "some/place/my-worker"] {
            name(Path::new(good)).expect(good);
        }
        for bad in ["", "/", "..", "My-Worker", "2w", "a b", "a\"b", "é", "-w", "anyudf", "std", "match"] {
            assert!(matches!(name(Path::new(bad)), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn the_dependency_is_on_this_release_or_on_a_directory() {
        let released = source(None).expect("a version");
        assert!(released.contains(concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"")), "{released}");
        let here = source(Some(Path::new(env!("CARGO_MANIFEST_DIR")))).expect("a crate");
        assert!(here.contains("path = \"/"), "{here}");
        assert!(source(Some(Path::new("/nowhere"))).is_err());
        assert!(dependency(&here, &["worker", "engine"]).ends_with(r#"features = ["worker", "engine"] }"#));
    }
}
