//! Rust's tokens, as far as telling comments and strings from code takes.

/// What a token is. Numbers, lifetimes and characters are of no interest here and count as punctuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// With its markers.
    Comment,
    /// A string literal of any kind: what is between its quotes.
    Str,
    Ident,
    Punct,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
    /// The line it starts on, counted from 1.
    pub(super) line: usize,
}

/// The tokens of `source`. What does not lex, such as a string without an end, is one token to the end of the file.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (kind, text, length) = next(rest, first);
        if let Some(kind) = kind {
            tokens.push(Token { kind, text, line });
        }
        line += rest[..length].bytes().filter(|byte| *byte == b'\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// The first token of `rest`, which starts with `first`: its kind (none for white space), its text, and its length in
/// bytes with all quotes.
fn next(rest: &str, first: char) -> (Option<TokenKind>, &str, usize) {
    if first.is_whitespace() {
        return (None, "", first.len_utf8());
    }
    if rest.starts_with("//") {
        let length = rest.find('\n').unwrap_or(rest.len());
        return (Some(TokenKind::Comment), &rest[..length], length);
    }
    if rest.starts_with("/*") {
        let length = block_comment(rest);
        return (Some(TokenKind::Comment), &rest[..length], length);
    }
    if first == '"' {
        let (text, length) = string(rest);
        return (Some(TokenKind::Str), text, length);
    }
    if first == '\'' {
        let length = character_or_lifetime(rest);
        return (Some(TokenKind::Punct), &rest[..length], length);
    }
    if first.is_ascii_digit() {
        let length = word(rest);
        return (Some(TokenKind::Punct), &rest[..length], length);
    }
    if first.is_alphabetic() || first == '_' {
        let length = word(rest);
        let (prefix, literal) = rest.split_at(length);
        let (text, behind) = match prefix {
            "b" | "c" if literal.starts_with('"') => string(literal),
            "b" if literal.starts_with('\'') => ("", character_or_lifetime(literal)),
            "r" | "br" | "cr" => match raw_string(literal) {
                Some(found) => found,
                // `r#fn` is an identifier; the keyword inside it must not be taken for one.
                None if literal.starts_with('#') => {
                    let length = length + 1 + word(&literal[1..]);
                    return (Some(TokenKind::Punct), &rest[..length], length);
                }
                None => return (Some(TokenKind::Ident), prefix, length),
            },
            _ => return (Some(TokenKind::Ident), prefix, length),
        };
        return (Some(TokenKind::Str), text, length + behind);
    }
    let length = first.len_utf8();
    (Some(TokenKind::Punct), &rest[..length], length)
}

fn word(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

/// The length of a block comment, in which others may be nested.
fn block_comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The inside of a string that starts with `"`, and its length with both quotes.
fn string(rest: &str) -> (&str, usize) {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return (&rest[1..at], at + 1),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    (&rest[1..], rest.len())
}

/// The inside of a raw string whose prefix was just read, and its length; nothing when there is none.
fn raw_string(rest: &str) -> Option<(&str, usize)> {
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    let inside = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", &rest[..hashes]);
    let length = inside.find(&end).unwrap_or(inside.len());
    Some((&inside[..length], (hashes + 1 + length + end.len()).min(rest.len())))
}

/// The length of what starts with a single quote.
fn character_or_lifetime(rest: &str) -> usize {
    let inside = &rest[1..];
    let mut chars = inside.chars();
    match chars.next() {
        Some('\\') => {
            // The escaped character may itself be a quote.
            let escaped = chars.next().map_or(0, char::len_utf8);
            let from = 2 + escaped;
            rest[from..].find('\'').map_or(rest.len(), |end| from + end + 1)
        }
        Some(c) if chars.next() == Some('\'') => 1 + c.len_utf8() + 1,
        _ => 1 + word(inside),
    }
}
