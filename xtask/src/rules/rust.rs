//! Citations in Rust sources, each with the function it lies in and whether that is a test's.
//!
//! No parser: a lexer that tells comments and strings from code, and a stack of brackets. That is enough to know the
//! nearest function, to give doc comments and attributes to the item below them, and to see `#[test]` and
//! `#[cfg(test)]`, and it goes on working inside macros.

use std::mem;

use super::Found;
use super::cite::{self, Rule};
use lexer::{Token, TokenKind as Kind};

mod lexer;

/// What one file holds.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) found: Vec<Found>,
    /// Names of the modules that the file declares with `#[cfg(test)] mod name;`.
    pub(super) test_modules: Vec<String>,
}

/// Reads a Rust source file.
pub(super) fn scan(source: &str) -> Source {
    let tokens = lexer::tokens(source);
    let mut scanner = Scanner { frames: vec![Frame::default()], ..Scanner::default() };
    let mut index = 0;
    while index < tokens.len() {
        index = scanner.take(&tokens, index);
    }
    scanner.settle();
    scanner.source
}

/// An open bracket, or the file: what is known of the code in it, and of the item being read in it.
#[derive(Default)]
struct Frame {
    /// The nearest function or constant around this bracket.
    function: Option<String>,
    test: bool,
    /// The function or constant whose body has not begun yet, or whose initializer has not ended.
    item: Option<String>,
    /// The item being read is marked as a test's.
    item_test: bool,
    /// Citations above an item, before it is known which: doc comments and attributes.
    waiting: Vec<(usize, Rule)>,
}

#[derive(Default)]
struct Scanner {
    /// Never empty: the first frame is the file.
    frames: Vec<Frame>,
    source: Source,
    /// Inside a fenced block of a doc comment.
    fenced: bool,
    /// The line of the last token that was no comment: a comment behind it belongs to what is before it.
    last_line: usize,
}

impl Scanner {
    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the frame of the file is never popped")
    }

    /// Takes in the token at `index`, or several that belong together; returns the index of the next one.
    fn take(&mut self, tokens: &[Token<'_>], index: usize) -> usize {
        let Token { kind, text, line } = tokens[index];
        let after = |by: usize| tokens.get(index + by).map_or((Kind::Punct, ""), |token| (token.kind, token.text));
        if kind == Kind::Comment {
            self.comment(text, line);
            return index + 1;
        }
        let mut next = index + 1;
        match (kind, text) {
            (Kind::Str, _) => self.cite_prose(text, line),
            (Kind::Punct, "#") if matches!(after(1).1, "[") || (after(1).1 == "!" && after(2).1 == "[") => {
                next = self.attribute(tokens, index);
            }
            (Kind::Punct, "{") => {
                // What waits here is about a type, a module or an implementation, none of which is a function.
                self.cite_waiting();
                self.open();
            }
            (Kind::Punct, "(" | "[") => self.open(),
            (Kind::Punct, "}") => {
                self.close();
                self.settle();
            }
            (Kind::Punct, ")" | "]") => self.close(),
            (Kind::Punct, ";") => self.settle(),
            (Kind::Ident, "fn") if after(1).0 == Kind::Ident => {
                let (name, line) = (after(1).1, tokens[index + 1].line);
                self.begin(name);
                for rule in cite::in_function_name(name) {
                    self.cite(rule, line, true);
                }
                next = index + 2;
            }
            (Kind::Ident, "const" | "static") if starts_item(tokens, index) => {
                let at = if after(1).1 == "mut" { 2 } else { 1 };
                if after(at).0 == Kind::Ident && !matches!(after(at).1, "fn" | "unsafe" | "async" | "extern") {
                    self.begin(after(at).1);
                }
            }
            (Kind::Ident, "mod") if after(2).1 == ";" && self.frames.len() == 1 && self.frame().item_test => {
                self.source.test_modules.push(after(1).1.to_owned());
            }
            (Kind::Ident, "Rule") if after(1).1 == ":" && after(2).1 == ":" => {
                if let Some(rule) = Rule::parse(after(3).1) {
                    self.cite(rule, line, false);
                }
            }
            _ => {}
        }
        self.last_line = tokens[next - 1].line;
        next
    }

    fn open(&mut self) {
        let above = self.frame();
        let frame = Frame {
            function: above.item.clone().or_else(|| above.function.clone()),
            test: above.test || above.item_test,
            ..Frame::default()
        };
        self.frames.push(frame);
    }

    fn close(&mut self) {
        self.settle();
        // A closing bracket too many is somebody's syntax error; the compiler will say so.
        if self.frames.len() > 1 {
            self.frames.pop();
        }
    }

    /// The item being read has a name: what was written above it is about it.
    fn begin(&mut self, name: &str) {
        self.frame().item = Some(name.to_owned());
        self.cite_waiting();
    }

    /// The item being read is over. What waits for one was about none.
    fn settle(&mut self) {
        self.frame().item = None;
        self.cite_waiting();
        self.frame().item_test = false;
    }

    fn cite_waiting(&mut self) {
        for (line, rule) in mem::take(&mut self.frame().waiting) {
            self.cite(rule, line, false);
        }
    }

    /// Notes a citation where the scanner stands.
    fn cite(&mut self, rule: Rule, line: usize, name: bool) {
        let frame = self.frame();
        let function = frame.item.clone().or_else(|| frame.function.clone());
        let test = frame.test || frame.item_test;
        self.source.found.push(Found { rule, line, function, test, name });
    }

    fn cite_prose(&mut self, prose: &str, first: usize) {
        for (offset, rule) in cite::citations(prose) {
            self.cite(rule, first + offset, false);
        }
    }

    fn comment(&mut self, text: &str, first: usize) {
        let inner = text.starts_with("//!") || text.starts_with("/*!");
        let trailing = self.last_line == first && !text.starts_with("///");
        for (offset, line) in text.lines().enumerate() {
            if cite::is_fence(line) {
                self.fenced = !self.fenced;
                continue;
            }
            if self.fenced && text.starts_with("//") && !text.starts_with("///") && !inner {
                // An ordinary comment ends the doc comment, and a block that was not closed with it.
                self.fenced = false;
            }
            if self.fenced {
                continue;
            }
            for rule in cite::citations_in_line(line) {
                if inner || trailing || self.frame().item.is_some() {
                    self.cite(rule, first + offset, false);
                } else {
                    self.frame().waiting.push((first + offset, rule));
                }
            }
        }
    }

    /// Takes in `#[...]` or `#![...]`, which starts at `index`; returns the index behind it.
    fn attribute(&mut self, tokens: &[Token<'_>], index: usize) -> usize {
        let inner = tokens[index + 1].text == "!";
        let start = index + if inner { 2 } else { 1 };
        let mut depth = 0usize;
        let mut words = Vec::new();
        let mut path_end = None;
        for (index, token) in tokens.iter().enumerate().skip(start) {
            match (token.kind, token.text) {
                (Kind::Punct, "[" | "(" | "{") => depth += 1,
                (Kind::Punct, "]" | ")" | "}") => depth -= 1,
                (Kind::Ident, word) => words.push(word),
                (Kind::Str, prose) => {
                    let line = token.line;
                    let cited = cite::citations(prose).into_iter().map(|(offset, rule)| (line + offset, rule));
                    self.frame().waiting.extend(cited);
                }
                _ => {}
            }
            if depth > 1 && path_end.is_none() {
                path_end = words.last().copied();
            }
            if depth == 0 {
                let name = path_end.or(words.last().copied());
                let cfg_test = words.first() == Some(&"cfg") && words.contains(&"test") && !words.contains(&"not");
                if cfg_test && inner {
                    self.frame().test = true;
                } else if cfg_test || name == Some("test") {
                    self.frame().item_test = true;
                }
                return index + 1;
            }
        }
        tokens.len()
    }
}

/// Whether the `const` or `static` at `index` starts an item, rather than a generic parameter or a pointer.
fn starts_item(tokens: &[Token<'_>], index: usize) -> bool {
    let before = tokens[..index].iter().rfind(|token| token.kind != Kind::Comment);
    before.is_none_or(|token| matches!(token.text, ";" | "{" | "}" | "]" | ")" | "pub"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each citation as `rule@line`, then `=function` when there is one and `!` when it is a test's.
    #[track_caller]
    fn check(source: &str, expected: &str) {
        let mut shown = Vec::new();
        for Found { rule, line, function, test, name } in scan(source).found {
            if name && !test {
                continue;
            }
            let function = function.map(|function| format!("={function}")).unwrap_or_default();
            shown.push(format!("{rule}@{line}{function}{}", if test { "!" } else { "" }));
        }
        assert_eq!(shown.join(" "), expected, "in:\n{source}");
    }

    #[test]
    fn comments_and_strings_cite_and_code_does_not() {
        check("// R1\nfn a() { let r2 = R2; let s = \"R3\"; /* R4\nR5 */ }", "R1@1=a R3@2=a R4@2=a R5@3=a");
        check("fn f<R1, C1>(x: R1) -> C1 { R2::new() }", "");
        check("let a = Rule::R7; let b = Other::R8; let c = violation::Rule::C1;", "R7@1 C1@1");
        check(
            r##"fn a() { r#"R1"#; b"R2"; br"R3"; c"R4"; 'R'; '\''; "\"R5"; r#fn; }"##,
            "R1@1=a R2@1=a R3@1=a R4@1=a R5@1=a",
        );
        check("fn a<'R1>(x: &'R1 str) {} // R2", "R2@1");
        check("/* a /* R1 */ R2 */ fn b() {}", "R1@1=b R2@1=b");
    }

    #[test]
    fn what_stands_above_an_item_is_about_it() {
        check(
            "/// R1\n#[doc = \"R2\"]\n// R3\npub(crate) async fn a(x: u8) {}\n// R4\nstruct B;",
            "R1@1=a R2@2=a R3@3=a R4@5",
        );
        check("mod a {\n//! R1\n/// R2\nstruct S { /// R3\n x: u8 }\n /// R4\n fn f() {} }", "R1@2 R2@3 R3@4 R4@6=f");
        check("fn a() { x(); } // R1\nfn b() { y(); // R2\n z() }", "R1@1 R2@2=b");
        check("match x { A => 1, // R1\n B => 2, // R2\n }", "R1@1 R2@2");
    }

    #[test]
    fn the_nearest_function_is_named() {
        check("fn a() { fn b() { \"R1\"; } \"R2\"; } \"R3\"", "R1@1=b R2@1=a R3@1");
        check("impl A { fn a(x: [u8; 4]) { let f = |y| { \"R1\" }; } }", "R1@1=a");
        check("trait T { /// R1\n fn a(); /// R2\n fn b(); }", "R1@1=a R2@2=b");
        check("trait T {\n/// R1\nfn a();\n/// R2\nfn b(); }", "R1@2=a R2@4=b");
        check("fn a(f: fn(u8) -> u8) { \"R1\"; }", "R1@1=a");
    }

    #[test]
    fn constants_name_what_is_in_them() {
        check(
            "/// R1\nconst CASES: &[Case] = &[Case { text: \"R2\" }, Case { text: \"R3\" }];\n\"R4\"",
            "R1@1=CASES R2@2=CASES R3@2=CASES R4@3",
        );
        check("const fn a() { \"R1\"; }", "R1@1=a");
        check("fn a<const N: usize>() { \"R1\"; }", "R1@1=a");
        check("static mut A: *const u8 = x(\"R1\");", "R1@1=A");
    }

    #[test]
    fn tests_are_told_from_code() {
        check(
            "#[cfg(test)]\nmod tests { /// R1\n #[test]\n fn a() { \"R2\"; } }\n// R3\nfn b() {}",
            "R1@2=a! R2@4=a! R3@5=b",
        );
        check("#[cfg(all(test, unix))] mod tests {\n/// R1\nfn a() {} }", "R1@2=a!");
        check("#[cfg(not(test))] mod tests { fn a() { \"R1\" } }", "R1@1=a");
        check(
            "/// R1\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn a() {} fn b() { \"R2\"; }",
            "R1@1=a! R2@3=b",
        );
        check("#[cfg(feature = \"test\")] fn a() { \"R1\"; }", "R1@1=a");
        check("#[cfg_attr(test, derive(Debug))] struct A; fn a() { \"R1\"; }", "R1@1=a");
        check("#![cfg(test)]\nfn a() { \"R1\"; }", "R1@2=a!");
        check("proptest! { #[test]\n fn a(x in 0..9) { \"R1\"; } }", "R1@2=a!");
    }

    #[test]
    fn names_of_test_functions_cite() {
        check("#[test]\nfn r9_c4_late() {}\nfn r8_is_no_test() {}", "R9@2=r9_c4_late! C4@2=r9_c4_late!");
        check("#[cfg(test)]\nmod tests { fn c1_helper() {} }", "C1@2=c1_helper!");
    }

    #[test]
    fn examples_in_doc_comments_are_code() {
        check("/// R1\n/// ```\n/// struct R2; // R3\n/// ```\n/// R4\nfn a() {}", "R1@1=a R4@5=a");
    }

    #[test]
    fn modules_declared_for_tests_are_noted() {
        assert_eq!(
            scan("#[cfg(test)]\nmod tests;\nmod code;\n#[cfg(test)] pub mod kit;").test_modules,
            ["tests", "kit"]
        );
    }

    #[test]
    fn what_does_not_parse_does_not_panic() {
        for source in [
            "}", "\"", "/*", "'", "#[", "#![", "fn", "const", "Rule::", "r#\"", "b'", "'\\", "r##", "#", "mod",
            ")]}{([",
        ] {
            scan(source);
        }
    }
}
