//! One line of a script, as words.

use std::time::Duration;

use crate::value::Value;

/// The words of a line, taken from the left. A word is what stands between spaces; quotes keep spaces, and `key="a b"` is
/// one word.
#[derive(Debug)]
pub(crate) struct Words<'a> {
    words: std::vec::IntoIter<&'a str>,
}

impl<'a> Words<'a> {
    pub(crate) fn of(line: &'a str) -> Result<Self, String> {
        Ok(Words { words: split(line)?.into_iter() })
    }

    /// The next word, if there is one.
    pub(crate) fn next(&mut self) -> Option<&'a str> {
        self.words.next()
    }

    /// The next word, which the line must have.
    pub(crate) fn word(&mut self, what: &str) -> Result<&'a str, String> {
        self.next().ok_or_else(|| format!("{what} is missing at the end"))
    }

    pub(crate) fn peek(&self) -> Option<&'a str> {
        self.words.as_slice().first().copied()
    }

    /// Takes the next word if it is this one.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        if found {
            self.next();
        }
        found
    }

    /// The next word as a value.
    pub(crate) fn value(&mut self, what: &str) -> Result<Value, String> {
        Value::parse(self.word(what)?)
    }

    /// The next word as a time.
    pub(crate) fn time(&mut self, what: &str) -> Result<Duration, String> {
        time(self.word(what)?)
    }

    /// The next word as a number.
    pub(crate) fn number<N: std::str::FromStr>(&mut self, what: &str) -> Result<N, String> {
        number(self.word(what)?)
    }

    /// Nothing may be left.
    pub(crate) fn end(mut self) -> Result<(), String> {
        match self.next() {
            None => Ok(()),
            Some(word) => Err(format!("what is `{word}`?")),
        }
    }
}

/// `key=value` in two, or a word without a value.
pub(crate) fn pair(word: &str) -> (&str, Option<&str>) {
    match word.split_once('=') {
        Some((key, value)) if !key.starts_with('"') => (key, Some(value)),
        _ => (word, None),
    }
}

/// `200ms`, `5s`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time: 200ms, 5s");
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1000),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    count.checked_mul(unit).map(Duration::from_millis).ok_or_else(wrong)
}

pub(crate) fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("`{text}` is no number that can be here"))
}

/// `"text"` as text.
pub(crate) fn text(word: &str) -> Result<String, String> {
    match Value::parse(word)? {
        Value::Text(bytes) => String::from_utf8(bytes.into()).map_err(|_| format!("{word} is no UTF-8")),
        _ => Err(format!("`{word}` is not in quotes")),
    }
}

/// A line without the comment behind it: what follows ` #` outside of quotes.
pub(crate) fn uncommented(line: &str) -> &str {
    let (mut quoted, mut escaped, mut before) = (false, false, ' ');
    for (at, letter) in line.char_indices() {
        if letter == '#' && !quoted && before.is_whitespace() {
            return line[..at].trim();
        }
        quoted ^= letter == '"' && !escaped;
        escaped = quoted && letter == '\\' && !escaped;
        before = letter;
    }
    line.trim()
}

fn split(line: &str) -> Result<Vec<&str>, String> {
    let (mut words, mut from, mut quoted, mut escaped) = (Vec::new(), None, false, false);
    for (at, letter) in line.char_indices() {
        let space = letter.is_whitespace() && !quoted;
        match (from, space) {
            (None, false) => from = Some(at),
            (Some(start), true) => {
                words.push(&line[start..at]);
                from = None;
            }
            _ => {}
        }
        quoted ^= letter == '"' && !escaped;
        escaped = quoted && letter == '\\' && !escaped;
    }
    if quoted {
        return Err("a quote is not closed".into());
    }
    words.extend(from.map(|start| &line[start..]));
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_spaces() {
        let words: Vec<_> = split(r#"  > init conf.a="b c \" d"  "e f" x"#).expect("it is fine");
        assert_eq!(words, [">", "init", r#"conf.a="b c \" d""#, r#""e f""#, "x"]);
        assert!(split(r#"a "b"#).is_err());
        assert_eq!(pair("a=\"b=c\""), ("a", Some("\"b=c\"")));
        assert_eq!(pair("\"b=c\""), ("\"b=c\"", None));
    }

    #[test]
    fn comments_end_outside_of_quotes() {
        for (line, is) in [
            ("tell  # now", "tell"),
            ("# all of it", ""),
            (r#"reports error says="item #3" # a comment"#, r#"reports error says="item #3""#),
            ("> data#1", "> data#1"),
        ] {
            assert_eq!(uncommented(line), is);
        }
    }

    #[test]
    fn times_have_units() {
        assert!(time("99999999999999999s").is_err());
        assert_eq!(time("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(time("5s"), Ok(Duration::from_secs(5)));
        assert!(time("5").is_err() && time("s").is_err() && time("-1s").is_err());
    }
}
