//! Citations in Python sources: the interop test. Everything there is test code.
//!
//! As in [`rust`](super::rust), what stands above a function (comments, decorators) is about it; a citation belongs to
//! the nearest `def` around it by indentation.

use std::mem;

use super::Found;
use super::cite::{self, Rule};

/// Reads a Python source file.
pub(super) fn scan(source: &str) -> Vec<Found> {
    let mut scanner = Scanner::default();
    // The quotes of a string that runs over lines.
    let mut open: Option<&str> = None;
    for (index, line) in source.lines().enumerate() {
        let within_string = open.is_some();
        let (code, prose) = split(line, &mut open);
        if !within_string {
            scanner.enter(&code, index + 1);
        }
        for rule in cite::citations_in_line(&prose) {
            // A comment line or a decorator waits for the function below it.
            if !within_string && (code.trim().is_empty() && line.trim_start().starts_with('#') || is_decorator(&code)) {
                scanner.waiting.push((index + 1, rule));
            } else {
                scanner.cite(index + 1, rule, false);
            }
        }
    }
    scanner.settle();
    scanner.found
}

#[derive(Default)]
struct Scanner {
    found: Vec<Found>,
    /// The functions around the present line: indentation and name.
    functions: Vec<(usize, String)>,
    waiting: Vec<(usize, Rule)>,
}

impl Scanner {
    /// Takes in the code of a line: functions end where the indentation does, and begin with `def`.
    fn enter(&mut self, code: &str, line: usize) {
        let trimmed = code.trim();
        if trimmed.is_empty() {
            return;
        }
        let indentation = code.len() - code.trim_start().len();
        // The closing bracket of a signature or a call may stand at the margin and ends nothing.
        if !trimmed.starts_with([')', ']', '}']) {
            self.functions.retain(|(outer, _)| *outer < indentation);
        }
        if is_decorator(code) {
            return;
        }
        match trimmed.strip_prefix("async ").unwrap_or(trimmed).trim_start().strip_prefix("def ") {
            Some(definition) => {
                let name: String =
                    definition.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let cited = cite::in_function_name(&name);
                self.functions.push((indentation, name));
                self.settle();
                for rule in cited {
                    self.cite(line, rule, true);
                }
            }
            None => self.settle(),
        }
    }

    fn settle(&mut self) {
        for (line, rule) in mem::take(&mut self.waiting) {
            self.cite(line, rule, false);
        }
    }

    fn cite(&mut self, line: usize, rule: Rule, name: bool) {
        let function = self.functions.last().map(|(_, name)| name.clone());
        self.found.push(Found { rule, line, function, test: true, name });
    }
}

fn is_decorator(code: &str) -> bool {
    code.trim_start().starts_with('@')
}

/// Splits a line into its code, with strings and comments taken out, and its prose: their text.
///
/// `open` holds the quotes of a string that is still open, from the line before and for the line behind.
fn split(line: &str, open: &mut Option<&'static str>) -> (String, String) {
    let (mut code, mut prose) = (String::new(), String::new());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if let Some(quotes) = *open {
            if let Some(behind) = rest.strip_prefix(quotes) {
                *open = None;
                prose.push(' ');
                rest = behind;
                continue;
            }
            let length =
                first.len_utf8() + if first == '\\' { rest[1..].chars().next().map_or(0, char::len_utf8) } else { 0 };
            prose.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        if first == '#' {
            prose.push_str(rest);
            break;
        }
        if let Some(quotes) = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| rest.starts_with(quotes)) {
            *open = Some(quotes);
            // Something stands here: a line of nothing but a string is not a blank one.
            code.push('"');
            rest = &rest[quotes.len()..];
            continue;
        }
        code.push(first);
        rest = &rest[first.len_utf8()..];
    }
    // Only a string in triple quotes runs over lines.
    if open.is_some_and(|quotes| quotes.len() == 1) {
        *open = None;
    }
    (code, prose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        let shown = scan(source).into_iter().map(|Found { rule, line, function, .. }| {
            format!("{rule}@{line}{}", function.map(|function| format!("={function}")).unwrap_or_default())
        });
        assert_eq!(shown.collect::<Vec<_>>().join(" "), expected, "in:\n{source}");
    }

    #[test]
    fn comments_and_strings_cite() {
        check(
            "'''R1'''\ndef a():\n    \"\"\"R2\n\n    R3\n    \"\"\"\n    x = R4  # R5\n",
            "R1@1 R2@3=a R3@5=a R5@7=a",
        );
        check("x = 'it\\'s R1' + \"# R2\"\n", "R1@1 R2@1");
    }

    #[test]
    fn a_citation_belongs_to_the_function_around_it() {
        check(
            "def a(\n    x,\n):\n    'R1'\n    def b():\n        'R2'\n    'R3'\n'R4'\n",
            "R1@4=a R2@6=b R3@7=a R4@8",
        );
        check("class A:\n    async def b(self):\n        # R1\n        pass\n", "R1@3=b");
    }

    #[test]
    fn what_stands_above_a_function_is_about_it() {
        check(
            "# R1\n@case('R2')\ndef a():\n    pass\n\n# R3\ndef b():\n    pass\n# R4\nX = 1\n",
            "R1@1=a R2@2=a R3@6=b R4@9",
        );
    }

    #[test]
    fn names_of_functions_cite() {
        check("def test_r9_c4_late():\n    pass\n", "R9@1=test_r9_c4_late C4@1=test_r9_c4_late");
    }
}
