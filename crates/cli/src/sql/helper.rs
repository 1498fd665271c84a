//! What helps while a statement is typed: when it is whole, and what a word may become.

use anyudf_datafusion::SqlNames;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Result};

/// The words of SQL that are worth a key.
const WORDS: &[&str] = &[
    "AND",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COPY",
    "COUNT",
    "CREATE",
    "CROSS JOIN",
    "CURRENT ROW",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXPLAIN ANALYZE",
    "EXTERNAL TABLE",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL JOIN",
    "GROUP BY",
    "HAVING",
    "ILIKE",
    "INNER JOIN",
    "INTERSECT",
    "INTERVAL",
    "IS NOT NULL",
    "IS NULL",
    "JOIN",
    "LEFT JOIN",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "OFFSET",
    "ORDER BY",
    "OVER",
    "PARTITION BY",
    "PRECEDING",
    "QUALIFY",
    "RIGHT JOIN",
    "SELECT",
    "SHOW TABLES",
    "TABLE",
    "THEN",
    "TRUE",
    "UNION",
    "UNION ALL",
    "USING",
    "VALUES",
    "VIEW",
    "WHEN",
    "WHERE",
    "WITH",
];

/// What the editor asks while somebody types.
#[derive(Default)]
pub(super) struct Helper {
    /// Of all that a statement may name.
    pub(super) names: SqlNames,
    files: FilenameCompleter,
}

/// Whether it is one of the prompt's own words, which end with the line.
pub(super) fn is_command(text: &str) -> bool {
    let text = text.trim();
    text.starts_with('\\') || matches!(text.trim_end_matches(';'), "exit" | "quit" | "help")
}

/// What the end of a text is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Statement,
    /// Text in single quotes, which begin here: a file perhaps.
    Quotes(usize),
    Name,
    LineComment,
    Comment,
}

/// Where a text ends.
#[derive(Clone, Copy, Debug)]
struct End {
    within: Within,
    /// Nothing but comments comes behind the last `;`, or at all.
    is_whole: bool,
}

impl End {
    fn of(text: &str) -> Self {
        use Within::*;
        let (mut end, mut letters) = (End { within: Statement, is_whole: true }, text.char_indices().peekable());
        while let Some((place, letter)) = letters.next() {
            let next = letters.peek().map(|(_, next)| *next);
            end.within = match (end.within, letter) {
                (Quotes(_), '\'') | (Name, '"') | (LineComment, '\n') => Statement,
                (Comment, '*') if next == Some('/') => {
                    letters.next();
                    Statement
                }
                (Statement, '-') if next == Some('-') => LineComment,
                (Statement, '/') if next == Some('*') => Comment,
                (Statement, '\'') => Quotes(place),
                (Statement, '"') => Name,
                (within, _) => within,
            };
            end.is_whole = match end.within {
                LineComment | Comment => end.is_whole,
                Quotes(_) | Name => false,
                Statement if letter == ';' => true,
                // The `/` of a comment that ends here is no part of it.
                Statement => end.is_whole && (letter.is_whitespace() || letter == '*' && next == Some('/')),
            };
        }
        end
    }
}

impl Validator for Helper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        let text = context.input();
        Ok(match is_command(text) || End::of(text).is_whole {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let typed = &line[..position];
        match End::of(typed).within {
            Within::Quotes(start) => {
                let (place, files) = self.files.complete_path(&typed[start..], typed.len() - start)?;
                Ok((start + place, files))
            }
            Within::LineComment | Within::Comment => Ok((position, Vec::new())),
            Within::Statement | Within::Name => Ok(self.complete_word(typed)),
        }
    }
}

impl Helper {
    fn complete_word(&self, typed: &str) -> (usize, Vec<Pair>) {
        let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.');
        let start = typed.char_indices().rev().take_while(|(_, letter)| is_part(*letter)).last();
        let start = start.map_or(typed.len(), |(place, _)| place);
        let word = &typed[start..];
        if word.is_empty() {
            return (start, Vec::new());
        }
        let begins = |name: &str| name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
        let functions = self.names.functions.iter().filter(|name| begins(name)).map(|name| format!("{name}("));
        let names = self.names.tables.iter().chain(&self.names.columns).filter(|name| begins(name)).cloned();
        // As it was begun.
        let is_lower = word.chars().all(|letter| !letter.is_uppercase());
        let spelled = |word: &&str| if is_lower { word.to_lowercase() } else { (*word).to_owned() };
        let words = WORDS.iter().filter(|word| begins(word)).map(spelled);
        let mut all: Vec<String> = names.chain(functions).chain(words).collect();
        all.sort();
        all.dedup();
        (start, all.into_iter().map(|name| Pair { display: name.clone(), replacement: name }).collect())
    }
}

impl Hinter for Helper {
    type Hint = String;
}

impl Highlighter for Helper {}

impl rustyline::Helper for Helper {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_whole_at_its_semicolon() {
        for (text, whole) in [
            ("", true),
            ("SELECT 1", false),
            ("SELECT 1;", true),
            ("SELECT 1;\n-- done\n", true),
            ("SELECT 1; -- done", true),
            ("/* none */", true),
            ("SELECT 1; ", true),
            ("SELECT ';", false),
            ("SELECT ';';", true),
            ("SELECT 'it''s';", true),
            ("SELECT \"a;", false),
            ("SELECT \"it's;\" FROM t;", true),
            ("SELECT 1 -- why;", false),
            ("SELECT 1 /* ; */", false),
            ("SELECT 1 /* ' */ ;", true),
            ("SELECT 1; SELECT", false),
        ] {
            assert_eq!(End::of(text).is_whole, whole, "{text}");
        }
    }

    #[test]
    fn words_become_what_there_is() {
        let names = SqlNames {
            functions: vec!["distance_miles".into(), "date_trunc".into()],
            tables: vec!["delays".into()],
            columns: vec!["delay".into(), "dest".into()],
        };
        let helper = Helper { names, ..Helper::default() };
        let completed = |typed: &str| {
            let (start, pairs) = helper.complete_word(typed);
            (start, pairs.into_iter().map(|pair| pair.replacement).collect::<Vec<_>>())
        };
        assert_eq!(completed("SELECT dis"), (7, vec!["distance_miles(".into(), "distinct".into()]));
        assert_eq!(completed("SELECT DEL"), (7, vec!["delay".into(), "delays".into()]));
        assert_eq!(completed("SEL"), (0, vec!["SELECT".into()]));
        assert_eq!(
            completed("SELECT f(é, de"),
            (13, vec!["delay".into(), "delays".into(), "desc".into(), "describe".into(), "dest".into()])
        );
        assert_eq!(completed("SELECT ").1, Vec::<String>::new());
    }
}
