//! What a run says: for people, and for machines.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::json;

use crate::case::Case;
use crate::rules::rules;
use crate::run::{Outcome, Report};

/// Whether a screen has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// A terminal.
    On,
    /// A file, a pipe.
    Off,
}

impl Colours {
    fn paint(self, outcome: Outcome, text: &str) -> String {
        let colour = match outcome {
            Outcome::Pass | Outcome::Choice => "32",
            Outcome::Fail => "31;1",
            Outcome::Skip => "2",
            Outcome::NotRun => "33",
        };
        match self {
            Colours::On => format!("\x1b[{colour}m{text}\x1b[0m"),
            Colours::Off => text.to_owned(),
        }
    }
}

/// One case, for people: a line, and if it failed the dialogue, what was expected, and the rule's text.
pub fn for_people(report: &Report, colours: Colours, trace: bool) -> String {
    let Report { case, outcome, detail, .. } = report;
    let (word, outcome) = match (outcome, report.known) {
        (Outcome::Fail, true) => ("known", Outcome::NotRun),
        (Outcome::Pass | Outcome::Choice, true) => ("FIXED", Outcome::NotRun),
        (Outcome::Fail, false) if report.counts() => ("FAIL", Outcome::Fail),
        (Outcome::Fail, false) => ("weak", Outcome::NotRun),
        (other, _) => (other.name(), *other),
    };
    let mut text = colours.paint(outcome, &format!("{word:<7}"));
    let _ = write!(text, " {}", case.name);
    match outcome {
        Outcome::Skip | Outcome::Choice => {
            let _ = write!(text, ": {detail}");
        }
        _ if report.outcome == Outcome::Skip => {}
        _ => {
            let _ = write!(text, " ({} ms)", report.took.as_millis());
        }
    }
    text.push('\n');
    let failed = report.outcome == Outcome::Fail;
    if failed {
        let _ = writeln!(text, "    {}: {}", case.level, case.about);
        let _ = writeln!(text, "    {detail}");
        if let Some((number, step)) = &report.step {
            let _ = writeln!(text, "    found by line {number} of its script: {step}");
        }
    }
    if (failed || trace) && !report.transcript.is_empty() {
        let _ = writeln!(text, "    the dialogue, in ms:");
        for (at, line) in &report.transcript {
            let _ = writeln!(text, "    {:>8.1}  {line}", at.as_secs_f64() * 1e3);
        }
    }
    if failed {
        let rules = rules();
        for rule in &case.rules {
            let _ = writeln!(text, "    {rule}: {}", rules.get(rule.as_str()).map_or("", String::as_str));
        }
        text.push('\n');
    }
    text
}

/// One case, for machines: one JSON object on a line.
pub fn for_machines(report: &Report) -> String {
    let Report { case, outcome, detail, took, .. } = report;
    let object = json!({
        "case": case.name,
        "rules": case.rules,
        "level": case.level.name(),
        "outcome": outcome.name(),
        "detail": detail,
        "ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    });
    object.to_string()
}

/// The end of a run, for people.
pub fn summary(reports: &[Report]) -> String {
    let count = |wanted: &dyn Fn(&Report) -> bool| reports.iter().filter(|report| wanted(report)).count();
    let outcome = |outcome: Outcome| count(&|report: &Report| report.outcome == outcome);
    let failing = count(&|report: &Report| report.counts() && report.outcome == Outcome::Fail);
    let mut text = format!(
        "{} cases: {} hold, {} fail ({failing} of them musts), {} choices, {} skipped",
        reports.len(),
        outcome(Outcome::Pass),
        outcome(Outcome::Fail),
        outcome(Outcome::Choice),
        outcome(Outcome::Skip),
    );
    let not_run = outcome(Outcome::NotRun);
    if not_run > 0 {
        let _ = write!(text, ", {not_run} not run");
    }
    let known = count(&|report| report.known && report.outcome == Outcome::Fail);
    if known > 0 {
        let _ = write!(text, "; {known} failures are known");
    }
    text.push('\n');
    for report in reports.iter().filter(|report| report.known && report.outcome == Outcome::Pass) {
        let _ = writeln!(text, "{} holds, and is listed as failing", report.case.name);
    }
    text
}

/// The whole run as JUnit has it.
///
/// # Errors
/// Those of writing.
pub fn junit(reports: &[Report], out: &mut impl Write) -> io::Result<()> {
    let count = |outcomes: &[Outcome]| reports.iter().filter(|report| outcomes.contains(&report.outcome)).count();
    let (failures, skipped) = (count(&[Outcome::Fail]), count(&[Outcome::Skip, Outcome::NotRun]));
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuite name="anyudf conformance" tests="{}" failures="{failures}" skipped="{skipped}">"#,
        reports.len()
    )?;
    for report in reports {
        let (group, name) = report.case.name.rsplit_once('/').unwrap_or(("", &report.case.name));
        let time = report.took.as_secs_f64();
        write!(out, r#"  <testcase classname="{}" name="{}" time="{time:.3}""#, escaped(group), escaped(name))?;
        match report.outcome {
            Outcome::Pass | Outcome::Choice => writeln!(out, "/>")?,
            Outcome::Fail => {
                let dialogue = for_people(report, Colours::Off, false);
                let (message, text) = (escaped(&report.detail), escaped(&dialogue));
                writeln!(out, r#"><failure message="{message}">{text}</failure></testcase>"#)?;
            }
            Outcome::Skip | Outcome::NotRun => {
                writeln!(out, r#"><skipped message="{}"/></testcase>"#, escaped(&report.detail))?;
            }
        }
    }
    writeln!(out, "</testsuite>")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            // XML has no place for them.
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A line of a list: name, level, rules, what it is about.
pub fn listed(case: &Case) -> String {
    let needs: Vec<_> = case.needs.iter().map(|need| need.name()).collect();
    let needs = if needs.is_empty() { String::new() } else { format!(" [needs {}]", needs.join(", ")) };
    format!("{:<44} {:<6} {:<16} {}{needs}", case.name, case.level.name(), case.rules.join(" "), case.about)
}
