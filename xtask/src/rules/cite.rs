//! What a citation looks like: `R9`, `(C8)`, `R1, R2`, `R1-R3`.
//!
//! A letter of a group and one or two digits, with nothing around it that makes it part of something else. Spans between
//! backticks and fenced blocks are code, where `R2` may be anybody's type parameter, and are not read.

use std::fmt;

/// The groups of rules, in the order of the document.
const GROUPS: [char; 7] = ['R', 'C', 'M', 'P', 'E', 'D', 'S'];

/// A rule's number, such as `R9`. Ordered as the document is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) group: char,
    pub(super) number: u8,
}

impl Rule {
    /// Reads `R9`, and nothing but that: one letter, one or two digits, the first not zero.
    pub(super) fn parse(text: &str) -> Option<Rule> {
        let mut rest = text.chars();
        let group = rest.next().filter(|letter| GROUPS.contains(letter))?;
        let digits = rest.as_str();
        let plausible = matches!(digits.len(), 1 | 2) && !digits.starts_with('0');
        if !plausible || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        Some(Rule { group, number: digits.parse().ok()? })
    }

    fn rank(self) -> (usize, u8) {
        let group = GROUPS.iter().position(|group| *group == self.group);
        (group.expect("`parse` takes only letters of groups"), self.number)
    }
}

impl Ord for Rule {
    fn cmp(&self, other: &Rule) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Rule {
    fn partial_cmp(&self, other: &Rule) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{}", self.group, self.number))
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The citations in prose: comments, string literals, documents. Each with its line, counted from 0.
pub(super) fn citations(prose: &str) -> Vec<(usize, Rule)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in prose.lines().enumerate() {
        if is_fence(line) {
            fenced = !fenced;
        } else if !fenced {
            found.extend(citations_in_line(line).into_iter().map(|rule| (number, rule)));
        }
    }
    found
}

/// Whether a line of Markdown opens or closes a block of code. Comment markers in front of it are passed over.
pub(super) fn is_fence(line: &str) -> bool {
    line.trim_start_matches(['/', '!', '*', '#', ' ', '\t']).starts_with("```")
}

/// The citations in one line of prose.
pub(super) fn citations_in_line(line: &str) -> Vec<Rule> {
    let text: Vec<char> = without_code(line).chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or(' ');
    let mut found = Vec::new();
    let mut index = 0;
    while index < text.len() {
        let start = index;
        let back = |by: usize| start.checked_sub(by).map_or(' ', at);
        let end = word_end(&text, start);
        index = end.max(start + 1);
        let Some(first) = Rule::parse(&text[start..end].iter().collect::<String>()) else { continue };
        if !may_precede(back(1), back(2)) || !may_follow(at(end), at(end + 1)) || in_hex_dump(&text, start, end) {
            continue;
        }
        match range_end(&text, end, first) {
            Some((last, after)) => {
                found.extend((first.number..=last).map(|number| Rule { group: first.group, number }));
                index = after;
            }
            None => found.push(first),
        }
    }
    found
}

/// Blanks out what stands between backticks; columns stay where they are.
fn without_code(line: &str) -> String {
    let mut parts = line.split('`').peekable();
    let mut kept = String::with_capacity(line.len());
    let mut code = false;
    while let Some(part) = parts.next() {
        // A last backtick without a partner opens nothing.
        if code && parts.peek().is_some() {
            kept.extend(part.chars().map(|_| '\u{7f}'));
        } else {
            kept.push_str(part);
        }
        if parts.peek().is_some() {
            kept.push('\u{7f}');
        }
        code = !code;
    }
    kept
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The end of the run of word characters that starts at `start`; `start` itself when there is none.
fn word_end(text: &[char], start: usize) -> usize {
    start + text[start..].iter().take_while(|c| is_word(**c)).count()
}

/// Words are taken whole, so what precedes one is no word character; these make it an escape, a lifetime, a type's
/// argument, a placeholder, a path or a part of a compound.
fn may_precede(before: char, second: char) -> bool {
    match before {
        '\\' | '{' | '<' | '\'' | '$' | '%' | '@' | '&' | '.' | '-' => false,
        ':' => second != ':',
        _ => true,
    }
}

/// `R2::new`, `R2<T>` and `C1.5` are code and numbers. A full stop that ends a sentence is fine.
fn may_follow(after: char, second: char) -> bool {
    match after {
        '<' | '>' | '}' | '%' | '@' => false,
        ':' => second != ':',
        '.' => !is_word(second),
        _ => true,
    }
}

/// `0A C8 07`: a pair beside pairs of hexadecimal digits that are no citations themselves is a byte.
fn in_hex_dump(text: &[char], start: usize, end: usize) -> bool {
    let is_byte = |word: &[char]| {
        word.len() == 2
            && word.iter().all(char::is_ascii_hexdigit)
            && word.iter().any(|c| c.is_ascii_digit() || c.is_ascii_uppercase())
            && Rule::parse(&word.iter().collect::<String>()).is_none()
    };
    let before = text[..start].rsplit(|c| c.is_whitespace()).find(|word| !word.is_empty());
    let after = text[end..].split(|c| c.is_whitespace()).find(|word| !word.is_empty());
    before.is_some_and(is_byte) || after.is_some_and(is_byte)
}

/// Reads the second half of `R1-R3`, `R1-3` or `R1 to R3`: the last number, and where it ends.
fn range_end(text: &[char], from: usize, first: Rule) -> Option<(u8, usize)> {
    let dash = |c: &char| matches!(c, '-' | '\u{2013}');
    let start = match text.get(from..) {
        Some([c, ..]) if dash(c) => from + 1,
        Some([' ', 't', 'o', ' ', ..]) => from + 4,
        _ => return None,
    };
    let end = word_end(text, start);
    let word: String = text[start..end].iter().collect();
    let last = match Rule::parse(&word) {
        Some(last) if last.group == first.group => last.number,
        Some(_) => return None,
        // "R1 to 3" may be about anything.
        None if text[from] == ' ' => return None,
        None => Rule::parse(&format!("{}{word}", first.group))?.number,
    };
    (last > first.number).then_some((last, end))
}

/// The rules that the name of a test function starts with: `r9_cancel_at_most_once`, `test_c3_c4_late_cancel`.
///
/// Only the leading words count, so that `writes_s3` cites nothing.
pub(super) fn in_function_name(name: &str) -> Vec<Rule> {
    let words = name.strip_prefix("test_").unwrap_or(name).split('_');
    words
        .map_while(|word| Rule::parse(&word.to_ascii_uppercase()).filter(|_| word.starts_with(char::is_lowercase)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let found: Vec<String> = citations_in_line(line).iter().map(Rule::to_string).collect();
        assert_eq!(found.join(" "), expected, "in {line:?}");
    }

    #[test]
    fn citations_are_found_alone_in_lists_and_in_ranges() {
        check("R9", "R9");
        check("// R9: cancel at most once.", "R9");
        check("got DataRequest before InitResponse (R5)", "R5");
        check("(R8, R12; C8) and E5.", "R8 R12 C8 E5");
        check("rules R1-R3, C1–C2 and M1-3", "R1 R2 R3 C1 C2 M1 M2 M3");
        check("from P1 to P3", "P1 P2 P3");
        check("E3/E4", "E3 E4");
        check("**S6.** text", "S6");
        check("R99 does not exist, and that is for others to say", "R99");
    }

    #[test]
    fn what_only_looks_like_a_citation_is_none() {
        check("P256, E100, R007, R0, C123", "");
        check("AR1 R1x R1_a _R1 0xC8 U+00E9 1E5 SHA1", "");
        check(r"\xC3 \u{E9} {R9} %E2 $C1 &R1", "");
        check("`R2` and `impl<R1, R2>` and Foo<C1> and R2::new, C1.5", "");
        check("bytes 0A C8 07 and FF C3", "");
        check("r9 is lower case", "");
        check("AES-C1, x.R2, 'C1", "");
    }

    #[test]
    fn words_around_a_citation_do_not_hide_it() {
        check("must be C8 as is", "C8");
        check("R9's text, and C4's", "R9 C4");
        check("see (R5).", "R5");
        check("R1, C2, E3", "R1 C2 E3");
        check("an open ` backtick before R3", "R3");
        check("`code` R4 `code`", "R4");
    }

    #[test]
    fn what_is_no_range_is_its_first_number() {
        check("R3-R1", "R3");
        check("R1-C3", "R1");
        check("R3-4", "R3 R4");
        check("R3-day", "R3");
        check("from R1 to 3 places", "R1");
    }

    #[test]
    fn fences_are_skipped() {
        let found = citations("R1\n/// ```\n/// struct R2;\n/// ```\nR3\n");
        assert_eq!(found.iter().map(|(line, rule)| format!("{line} {rule}")).collect::<Vec<_>>(), ["0 R1", "4 R3"]);
    }

    #[test]
    fn function_names_cite_with_their_leading_words() {
        let cited = |name| in_function_name(name).iter().map(Rule::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(cited("r9_cancel_at_most_once"), "R9");
        assert_eq!(cited("c3_c4_late_cancel"), "C3 C4");
        assert_eq!(cited("test_p8_any_authority"), "P8");
        assert_eq!(cited("r9"), "R9");
        assert_eq!(cited("writes_s3"), "");
        assert_eq!(cited("p256_key"), "");
        assert_eq!(cited("R9_shouting"), "");
    }

    #[test]
    fn rules_are_ordered_as_the_document_is() {
        let mut rules: Vec<Rule> =
            ["S1", "R10", "E1", "C1", "R9"].iter().filter_map(|text| Rule::parse(text)).collect();
        rules.sort();
        assert_eq!(format!("{rules:?}"), "[R9, R10, C1, E1, S1]");
    }
}
