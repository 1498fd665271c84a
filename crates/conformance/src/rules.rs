//! The text of each rule, for those who read a failure.

use std::collections::BTreeMap;

/// docs/protocol.md, which is linked into this crate so that it is packaged with it.
const PROTOCOL: &str = include_str!("../protocol.md");

/// Every rule by its number, such as `R9`.
pub(crate) fn rules() -> BTreeMap<&'static str, String> {
    let mut rules = BTreeMap::new();
    for paragraph in PROTOCOL.split("\n\n") {
        let Some((number, text)) = paragraph.strip_prefix("**").and_then(|rest| rest.split_once(".**")) else {
            continue;
        };
        let is_rule = number.len() >= 2
            && number.starts_with(|letter: char| letter.is_ascii_uppercase())
            && number[1..].chars().all(|digit| digit.is_ascii_digit());
        if is_rule {
            let words: Vec<_> = text.split_whitespace().collect();
            rules.insert(number, words.join(" "));
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_a_text() {
        let rules = rules();
        assert!(rules.len() > 70, "{}", rules.len());
        assert!(rules["R9"].starts_with("`Cancel` is sent at most once"), "{}", rules["R9"]);
    }
}
