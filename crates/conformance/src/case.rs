//! The cases: data in `cases/`, embedded, and which of them a run is about.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::capability::Capability;
use crate::engine::Dialogue;
use crate::error::Error;
use crate::script::Script;

/// How much a case weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The protocol demands it. A run passes only if all of these hold.
    Must,
    /// It is better so.
    Should,
    /// The protocol leaves it open, and a run says what was chosen.
    Choice,
}

impl Level {
    /// Its name in flags and reports.
    pub fn name(self) -> &'static str {
        match self {
            Level::Must => "must",
            Level::Should => "should",
            Level::Choice => "choice",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Level::Must, Level::Should, Level::Choice]
            .into_iter()
            .find(|level| level.name() == name)
            .ok_or_else(|| format!("there is no level `{name}`; there are: must, should, choice"))
    }
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Like a path: `execute/cancel/after-finish`.
    pub name: String,
    /// The rules of docs/protocol.md that it proves.
    pub rules: Vec<String>,
    /// How much it weighs.
    pub level: Level,
    /// What it is about, in a sentence.
    pub about: String,
    /// What the implementation must offer for it to be run.
    pub needs: BTreeSet<Capability>,
    /// How long it may take, when that is longer than usual.
    pub(crate) timeout: Option<Duration>,
    pub(crate) part: Part,
}

/// Which part the kit plays, and what it says.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// The engine's, to a worker under test.
    Engine(Script),
    /// The worker's, to an engine under test.
    Worker(Dialogue),
}

impl Case {
    /// Whether it is about an engine; otherwise it is about a worker.
    pub fn is_for_engines(&self) -> bool {
        matches!(self.part, Part::Worker(_))
    }
}

/// A file of cases, as it is written. docs/conformance.md says what each field means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Written>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    rules: Vec<String>,
    level: Level,
    about: String,
    #[serde(default)]
    needs: Vec<Capability>,
    timeout: Option<String>,
    /// What the driver of an engine is started for; a case for workers has none.
    scenario: Option<String>,
    script: String,
}

/// The files, by their names.
const WORKER: &[(&str, &str)] = &include!("../cases/worker/files.in");
const ENGINE: &[(&str, &str)] = &include!("../cases/engine/files.in");

/// The cases for workers, in the order in which they are run.
pub fn worker_cases() -> Vec<Case> {
    embedded("worker", WORKER)
}

/// The cases for engines, in the order in which they are run.
pub fn engine_cases() -> Vec<Case> {
    embedded("engine", ENGINE)
}

fn embedded(side: &str, files: &[(&str, &str)]) -> Vec<Case> {
    let read = |(file, text): &(&str, &str)| read(file, text).unwrap_or_else(|wrong| panic!("cases/{side}/{wrong}"));
    files.iter().flat_map(read).collect()
}

/// Cases of one's own: a file, or all files of a directory whose names end in `.toml`, in the order of their names.
///
/// # Errors
/// A file that can't be read, or is no file of cases; the text says where.
pub fn read_cases(path: &Path) -> Result<Vec<Case>, Error> {
    let unreadable = |path: &Path, error| Error::new(format!("cannot read {}", path.display()), error);
    let mut files = match fs::read_dir(path) {
        Ok(entries) => {
            let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
            let paths = paths.map_err(|error| unreadable(path, error))?;
            paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => vec![path.to_owned()],
        Err(error) => return Err(unreadable(path, error)),
    };
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, error))?;
        cases.extend(read(&file.display().to_string(), &text).map_err(Error::text)?);
    }
    Ok(cases)
}

fn read(file: &str, text: &str) -> Result<Vec<Case>, String> {
    let cases: File = toml::from_str(text).map_err(|error| format!("{file}: {error}"))?;
    let case = |written: Written| {
        let wrong = |why: String| format!("{file}: {}: {why}", written.name);
        let part = match &written.scenario {
            Some(scenario) => Dialogue::parse(scenario, &written.script).map(Part::Worker),
            None => Script::parse(&written.script).map(Part::Engine),
        };
        let part = part.map_err(wrong)?;
        let timeout = written.timeout.as_deref().map(crate::line::time).transpose().map_err(wrong)?;
        let mut needs: BTreeSet<_> = written.needs.into_iter().collect();
        needs.extend(match &part {
            Part::Engine(script) => &script.needs,
            Part::Worker(dialogue) => &dialogue.needs,
        });
        Ok(Case {
            name: written.name,
            rules: written.rules,
            level: written.level,
            about: written.about,
            needs,
            timeout,
            part,
        })
    };
    cases.case.into_iter().map(case).collect()
}

/// Which cases a run is about.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Patterns of names; without any it is all of them.
    pub run: Vec<String>,
    /// Patterns of names that are left out.
    pub skip: Vec<String>,
    /// Only those that weigh as much.
    pub level: Option<Level>,
}

impl Selection {
    /// Whether a case is one of them.
    pub fn holds(&self, case: &Case) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, &case.name));
        (self.run.is_empty() || any(&self.run))
            && !any(&self.skip)
            && self.level.is_none_or(|level| case.level <= level)
    }
}

/// Whether a pattern means a name. `*` stands for anything, and a whole part of a path for all that is below it.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    fn glob(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty() || name[0] == b'/',
            Some((b'*', rest)) => (0..=name.len()).any(|at| glob(rest, &name[at..])),
            Some((letter, rest)) => name.split_first().is_some_and(|(first, name)| first == letter && glob(rest, name)),
        }
    }
    glob(pattern.trim_end_matches('/').as_bytes(), name.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn patterns_mean_names() {
        for (pattern, name, means) in [
            ("execute/cancel", "execute/cancel/before-init", true),
            ("execute/cancel/", "execute/cancel/before-init", true),
            ("execute/can", "execute/cancel/before-init", false),
            ("execute/can*", "execute/cancel/before-init", true),
            ("*/before-*", "execute/cancel/before-init", true),
            ("before-init", "execute/cancel/before-init", false),
            ("*", "a", true),
        ] {
            assert_eq!(matches(pattern, name), means, "{pattern} {name}");
        }
    }

    /// All cases can be read, no two are the same by name, sentence or script, and each cites rules that exist.
    #[test]
    fn every_case_is_sound() {
        let cases = [worker_cases(), engine_cases()].concat();
        let rules = crate::rules::rules();
        let (mut names, mut abouts, mut scripts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for case in &cases {
            assert!(case.name.contains('/') && !case.name.contains(char::is_whitespace), "{}", case.name);
            assert!(!case.rules.is_empty(), "{} proves no rule", case.name);
            for rule in &case.rules {
                assert!(
                    rules.contains_key(rule.as_str()),
                    "{} cites {rule}, which docs/protocol.md does not have",
                    case.name
                );
            }
            assert!(names.insert(&case.name, ()).is_none(), "{} is there twice", case.name);
            let twin = abouts.insert(&case.about, &case.name);
            assert_eq!(twin, None, "{} is about the same", case.name);
            let script: Vec<_> = match &case.part {
                Part::Engine(script) => script.steps.iter().map(|step| format!("{:?}", step.act)).collect(),
                Part::Worker(dialogue) => {
                    let steps = dialogue.steps.iter().map(|step| format!("{:?}", step.act));
                    [dialogue.scenario.clone()].into_iter().chain(steps).collect()
                }
            };
            assert!(!script.is_empty(), "{} does nothing", case.name);
            let twin = scripts.insert(script, &case.name);
            assert_eq!(twin, None, "{} has the same script", case.name);
        }
    }
}
