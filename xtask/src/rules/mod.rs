//! `cargo xtask rules`: each rule of `docs/protocol.md`, with the code and the tests that name it.
//!
//! A rule without a test is not implemented, so it fails the command, and so does a citation of a number that the
//! document does not have. What counts as a citation is said in [`cite`]; where it counts, in [`rust`] and [`python`]:
//! in comments, string literals, names of test functions, and `Rule::R9` in code. A citation is a test's when it lies in
//! a function or constant of test code: a module's introduction that lists numbers proves nothing.

mod cite;
mod document;
mod python;
mod report;
mod rust;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use cite::Rule;

/// Where the rules are written.
const DOCUMENT: &str = "docs/protocol.md";

/// Directories whose sources are searched.
const SOURCES: &[&str] = &["crates", "examples", "tests", "interop", "fuzz", "benches"];

/// Directories below them that hold no source of ours, or none that a person wrote.
const SKIPPED: &[&str] = &["target", "generated", "corpus", "artifacts", "node_modules", "__pycache__"];

/// One place that names a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Citation {
    rule: Rule,
    /// Relative to the root of the repository, with `/` between its parts.
    file: String,
    /// Counted from 1.
    line: usize,
    place: Place,
}

/// What a citation counts as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Code that keeps to the rule, or speaks of it.
    Code,
    /// A test: the name of the nearest enclosing function or constant.
    Test(String),
    /// Prose, or test code outside any function. It proves nothing, but its number must exist.
    Prose,
}

/// Prints the table of rules for the repository at `root`.
///
/// # Errors
///
/// When a rule has no test, when a citation has no rule, and when something cannot be read.
pub(crate) fn run(root: &Path) -> Result<()> {
    let text = fs::read_to_string(root.join(DOCUMENT)).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let rules = document::rules(&text).with_context(|| format!("{DOCUMENT} is not a list of rules"))?;
    let citations = scan(root)?;
    report::print(&rules, &citations)
}

/// Every citation in the repository's sources and documents, sorted.
fn scan(root: &Path) -> Result<Vec<Citation>> {
    let mut files = Vec::new();
    for directory in SOURCES.iter().chain(&["docs", "proto"]) {
        walk(&root.join(directory), &mut files)?;
    }
    for entry in fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))? {
        files.push(entry?.path());
    }
    files.sort();

    let mut sources = Vec::new();
    let mut citations = Vec::new();
    for file in files {
        let Some(extension @ ("rs" | "py" | "md" | "proto")) = file.extension().and_then(|e| e.to_str()) else {
            continue;
        };
        let extension = extension.to_owned();
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = relative(root, &file);
        match extension.as_str() {
            "rs" => sources.push((name, rust::scan(&text))),
            "py" => citations.extend(python::scan(&text).into_iter().filter_map(|found| found.cited_by(&name, true))),
            _ => citations.extend(cite::citations(&text).into_iter().map(|(line, rule)| Citation {
                rule,
                file: name.clone(),
                line: line + 1,
                place: Place::Prose,
            })),
        }
    }

    // Whether a file is a test may be said in another one: `#[cfg(test)] mod tests;`.
    let test_modules: BTreeSet<String> =
        sources.iter().flat_map(|(name, source)| source.test_modules.iter().map(|m| module_path(name, m))).collect();
    for (name, source) in sources {
        let test = is_test_file(&name, &test_modules);
        citations.extend(source.found.into_iter().filter_map(|found| found.cited_by(&name, test)));
    }
    citations.sort();
    citations.dedup();
    Ok(citations)
}

/// A citation as the scanner of one language found it, not knowing what kind of file it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    rule: Rule,
    /// Counted from 1.
    line: usize,
    /// The nearest enclosing function or constant.
    function: Option<String>,
    /// It lies in code that is compiled for tests only.
    test: bool,
    /// It is read from the name of a function, where it means nothing outside tests.
    name: bool,
}

impl Found {
    /// What this is in `file`; `test_file` says that all of the file is test code.
    fn cited_by(self, file: &str, test_file: bool) -> Option<Citation> {
        let place = match (self.test || test_file, self.function) {
            (true, Some(function)) => Place::Test(function),
            (true, None) => Place::Prose,
            (false, _) if self.name => return None,
            (false, _) => Place::Code,
        };
        Some(Citation { rule: self.rule, file: file.to_owned(), line: self.line, place })
    }
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !directory.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&&*name) {
                walk(&entry.path(), files)?;
            }
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn relative(root: &Path, file: &Path) -> String {
    let path = file.strip_prefix(root).unwrap_or(file);
    path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The path, without extension, of the module `name` that `file` declares out of line.
fn module_path(file: &str, name: &str) -> String {
    let (directory, stem) = file.rsplit_once('/').unwrap_or(("", file));
    match stem.trim_end_matches(".rs") {
        "lib" | "main" | "mod" => format!("{directory}/{name}"),
        stem => format!("{directory}/{stem}/{name}"),
    }
}

/// Whether everything in `file` is test code: it lies in a directory of tests, or in a module only tests have.
fn is_test_file(file: &str, test_modules: &BTreeSet<String>) -> bool {
    let parts: Vec<&str> = file.split('/').collect();
    let (_, directories) = parts.split_last().expect("split yields at least one part");
    if directories.contains(&"tests") && !directories.contains(&"src") {
        return true;
    }
    let mut path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    loop {
        if test_modules.contains(path) {
            return true;
        }
        match path.rsplit_once('/') {
            Some((above, _)) => path = above,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_live_in_tests_and_in_modules_declared_for_tests() {
        let modules = BTreeSet::from([
            module_path("crates/grpc/src/lib.rs", "harness"),
            module_path("crates/grpc/src/driver.rs", "tests"),
            module_path("crates/grpc/src/authority/mod.rs", "tests"),
        ]);
        for test in [
            "crates/protocol/tests/contract.rs",
            "crates/protocol/tests/support/mod.rs",
            "tests/whole.rs",
            "crates/grpc/src/harness.rs",
            "crates/grpc/src/harness/mod.rs",
            "crates/grpc/src/harness/peer.rs",
            "crates/grpc/src/driver/tests.rs",
            "crates/grpc/src/authority/tests.rs",
        ] {
            assert!(is_test_file(test, &modules), "{test} is a test");
        }
        for code in ["crates/grpc/src/driver.rs", "crates/grpc/src/tests.rs", "crates/testkit/src/lib.rs"] {
            assert!(!is_test_file(code, &modules), "{code} is no test");
        }
    }

    #[test]
    fn a_repository_is_scanned_whole() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let put = |path: &str, text: &str| {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().expect("a directory")).expect("made");
            fs::write(file, text).expect("written");
        };
        put("crates/a/src/lib.rs", "// R1\nfn a() {}\n#[cfg(test)]\nmod tests;\n");
        put("crates/a/src/tests.rs", "#[test]\nfn r2_works() {}\n");
        put("crates/a/tests/b.rs", "//! R3\nfn helper() { /* R4 */ }\n");
        put("crates/a/src/generated/c.rs", "// R5\n");
        put("interop/test_d.py", "def test_e():\n    '''R6'''\n");
        put("docs/protocol.md", "R7\n");
        put("README.md", "R8\n");
        put("crates/a/data.txt", "R9\n");

        let found: Vec<(String, Place)> =
            scan(root.path()).expect("scanned").into_iter().map(|c| (c.rule.to_string(), c.place)).collect();
        let test = |name: &str| Place::Test(name.to_owned());
        let expected = [
            ("R1", Place::Code),
            ("R2", test("r2_works")),
            ("R3", Place::Prose),
            ("R4", test("helper")),
            ("R6", test("test_e")),
            ("R7", Place::Prose),
            ("R8", Place::Prose),
        ];
        assert_eq!(found, expected.map(|(rule, place)| (rule.to_owned(), place)));
    }
}
