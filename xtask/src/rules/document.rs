//! Which rules there are: the paragraphs of the document that start with a number in bold, `**R9.** Cancel ...`.

use anyhow::{Result, bail, ensure};

use super::cite::Rule;

/// A rule as the document has it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) rule: Rule,
    /// Its first sentence.
    pub(super) title: String,
}

/// The rules of the document, in its order.
///
/// # Errors
///
/// When there are none, or when a group does not count 1, 2, 3 and so on: numbers are cited elsewhere, so none may be
/// given twice or taken away.
pub(super) fn rules(document: &str) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for (index, line) in document.lines().enumerate() {
        let Some((number, text)) = line.strip_prefix("**").and_then(|line| line.split_once("**")) else { continue };
        let Some(rule) = Rule::parse(number.trim_end_matches('.')) else { continue };
        let before = entries.iter().rfind(|entry| entry.rule.group == rule.group).map_or(0, |entry| entry.rule.number);
        if rule.number != before + 1 {
            bail!("line {}: {rule} follows {}{before}; rules are numbered one by one", index + 1, rule.group);
        }
        entries.push(Entry { rule, title: first_sentence(text) });
    }
    ensure!(!entries.is_empty(), "no paragraph starts with a number in bold, such as **R1.**");
    Ok(entries)
}

/// What a line says up to the first full stop that is followed by a space; all of it when there is none.
fn first_sentence(line: &str) -> String {
    let line = line.trim();
    let end = line.find(". ").unwrap_or(line.trim_end_matches('.').len());
    line[..end].replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_paragraphs_that_start_with_a_bold_number() {
        let text = "# R\n\n**R1.** `Init` is first. More.\n\n**R2.** Chunks.\n**Note.** R3\n\n**C1.** No end\n";
        let rules = rules(text).expect("a list of rules");
        let shown: Vec<String> = rules.iter().map(|entry| format!("{} {}", entry.rule, entry.title)).collect();
        assert_eq!(shown, ["R1 Init is first", "R2 Chunks", "C1 No end"]);
    }

    #[test]
    fn numbers_are_given_once_and_without_gaps() {
        for (text, expected) in [
            ("**R1.** a\n**R3.** b", "line 2: R3 follows R1; rules are numbered one by one"),
            ("**R1.** a\n**R1.** b", "line 2: R1 follows R1; rules are numbered one by one"),
            ("**R2.** a", "line 1: R2 follows R0; rules are numbered one by one"),
            ("nothing", "no paragraph starts with a number in bold, such as **R1.**"),
        ] {
            assert_eq!(rules(text).expect_err("no list of rules").to_string(), expected);
        }
    }
}
