//! The table of rules, and the verdict on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::{Result, bail};

use super::document::Entry;
use super::{Citation, Place};

/// Prints the table of `rules`.
///
/// # Errors
///
/// When a rule has no test, and when a citation has no rule.
pub(super) fn print(rules: &[Entry], citations: &[Citation]) -> Result<()> {
    let (table, faults) = table(rules, citations);
    print!("{table}");
    if !faults.is_empty() {
        bail!("rules and citations do not agree\n  {}", faults.join("\n  "));
    }
    Ok(())
}

/// The table as text, and what is wrong with it.
fn table(rules: &[Entry], citations: &[Citation]) -> (String, Vec<String>) {
    let mut text = String::new();
    let mut untested = Vec::new();
    let mut tested = 0;
    for Entry { rule, title } in rules {
        // Files with the lines of code, and with the functions of tests, in them.
        let mut code: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        let mut tests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for citation in citations.iter().filter(|citation| citation.rule == *rule) {
            match &citation.place {
                Place::Code => _ = code.entry(&citation.file).or_default().insert(citation.line),
                Place::Test(function) => _ = tests.entry(&citation.file).or_default().insert(function),
                Place::Prose => {}
            }
        }

        line(&mut text, format_args!("{rule:<4} {title}"));
        for (file, lines) in code {
            let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
            line(&mut text, format_args!("       code  {file}:{}", lines.join(",")));
        }
        for (file, functions) in &tests {
            for function in functions {
                line(&mut text, format_args!("       test  {file}::{function}"));
            }
        }
        match tests.is_empty() {
            false => tested += 1,
            true => {
                line(&mut text, format_args!("       NO TEST"));
                untested.push(rule.to_string());
            }
        }
    }

    let mut faults = Vec::new();
    if !untested.is_empty() {
        let untested = untested.join(", ");
        faults.push(format!("no test names {untested}; name a rule in the test that proves it"));
    }
    let known: BTreeSet<_> = rules.iter().map(|entry| entry.rule).collect();
    for Citation { rule, file, line, .. } in citations.iter().filter(|citation| !known.contains(&citation.rule)) {
        faults.push(format!("{file}:{line} names {rule}, which does not exist; if it is no rule, set it in backticks"));
    }
    line(&mut text, format_args!("\n{} rules, {tested} of them tested", rules.len()));
    (text, faults)
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::super::cite::Rule;
    use super::*;

    fn citation(rule: &str, line: usize, place: Place) -> Citation {
        Citation { rule: Rule::parse(rule).expect("a rule"), file: "a.rs".to_owned(), line, place }
    }

    fn entries(rules: &[&str]) -> Vec<Entry> {
        let entry = |rule: &&str| Entry { rule: Rule::parse(rule).expect("a rule"), title: format!("about {rule}") };
        rules.iter().map(entry).collect()
    }

    #[test]
    fn the_table_shows_code_and_tests() {
        let test = |name: &str| Place::Test(name.to_owned());
        let citations = [
            citation("R1", 3, Place::Code),
            citation("R1", 5, Place::Code),
            citation("R1", 8, test("works")),
            citation("R1", 9, test("works")),
            citation("D1", 2, Place::Code),
        ];
        let (text, faults) = table(&entries(&["R1", "D1"]), &citations);
        assert_eq!(
            text,
            "R1   about R1\n       code  a.rs:3,5\n       test  a.rs::works\n\
             D1   about D1\n       code  a.rs:2\n       NO TEST\n\
             \n2 rules, 1 of them tested\n"
        );
        assert_eq!(faults, ["no test names D1; name a rule in the test that proves it"]);
    }

    #[test]
    fn a_rule_without_a_test_and_a_number_without_a_rule_are_faults() {
        let citations =
            [citation("R1", 3, Place::Code), citation("R2", 4, Place::Prose), citation("R9", 7, Place::Code)];
        let (_, faults) = table(&entries(&["R1", "R2"]), &citations);
        assert_eq!(
            faults,
            [
                "no test names R1, R2; name a rule in the test that proves it",
                "a.rs:7 names R9, which does not exist; if it is no rule, set it in backticks",
            ]
        );
    }
}
