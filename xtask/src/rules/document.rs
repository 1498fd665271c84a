//! Which rules there are: the paragraphs of the document that start with a number in bold, `**R9.** Cancel ...`.

use anyhow::{Result, bail, ensure};

use super::cite::Rule;

/// A rule as the document has it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) rule: Rule,
    /// Its first sentence, cut when it is long.
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
    let lines: Vec<&str> = document.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let Some((number, text)) = line.strip_prefix("**").and_then(|line| line.split_once("**")) else { continue };
        let Some(rule) = Rule::parse(number.trim_end_matches('.')) else { continue };
        let before = entries.iter().rfind(|entry| entry.rule.group == rule.group).map_or(0, |entry| entry.rule.number);
        if rule.number != before + 1 {
            bail!("line {}: {rule} follows {}{before}; rules are numbered one by one", index + 1, rule.group);
        }
        let rest = lines[index + 1..].iter().take_while(|line| !line.trim().is_empty());
        let paragraph: Vec<&str> = std::iter::once(&text).chain(rest).copied().collect();
        entries.push(Entry { rule, title: title(&paragraph.join(" ")) });
    }
    ensure!(!entries.is_empty(), "no paragraph starts with a number in bold, such as **R1.**");
    Ok(entries)
}

/// What a paragraph says up to the first full stop that is followed by a space, without markup, in a line's length.
fn title(paragraph: &str) -> String {
    const LONGEST: usize = 100;

    let sentence = paragraph.trim();
    let sentence = &sentence[..sentence.find(". ").unwrap_or(sentence.trim_end_matches('.').len())];
    let plain = sentence.replace(['`', '*'], "");
    match plain.char_indices().nth(LONGEST) {
        None => plain,
        Some((end, _)) => {
            let words = plain[..end].rsplit_once(' ').map_or(&plain[..end], |(words, _)| words);
            format!("{words} …")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_paragraphs_that_start_with_a_bold_number() {
        let text = "# R\n\n**R1.** `Init` is\nfirst. More.\n\n**R2.** Chunks.\n\n**Note.** R3\n\n**C1.** No *end*\n";
        let rules = rules(text).expect("a list of rules");
        let shown: Vec<String> = rules.iter().map(|entry| format!("{} {}", entry.rule, entry.title)).collect();
        assert_eq!(shown, ["R1 Init is first", "R2 Chunks", "C1 No end"]);
    }

    #[test]
    fn long_titles_are_cut_between_words() {
        let rules = rules(&format!("**R1.** {}", "wörd ".repeat(40))).expect("a list of rules");
        assert_eq!(rules[0].title, format!("{}…", "wörd ".repeat(20)));
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
