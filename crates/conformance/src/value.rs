//! The values of a script: bytes that a case names instead of spelling them out.

use std::fmt;

use bytes::Bytes;

/// Bytes in a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// `"text"`, with `\xNN`, `\n`, `\t`, `\"` and `\\`.
    Text(Bytes),
    /// `16Ki`, `5Mi`, `100`: so many bytes of a pattern that differs from place to place.
    Sized(usize),
    /// `@name`: Arrow bytes that the kit carries.
    Named(&'static Named),
}

/// Arrow bytes by name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    bytes: &'static [u8],
}

/// Encapsulated Arrow IPC messages (C9), made once by pyarrow: see `cases/arrow/README.md`.
const NAMED: &[Named] = &[
    Named {
        name: "schema",
        what: "an Arrow schema of one column, `n: int64`",
        bytes: include_bytes!("../cases/arrow/schema.bin"),
    },
    Named {
        name: "batch",
        what: "an Arrow record batch of that schema, 1, 2, 3",
        bytes: include_bytes!("../cases/arrow/batch.bin"),
    },
    Named {
        name: "no-rows",
        what: "an Arrow record batch of that schema without rows",
        bytes: include_bytes!("../cases/arrow/no-rows.bin"),
    },
    Named {
        name: "other-schema",
        what: "an Arrow schema of one column, `s: string`",
        bytes: include_bytes!("../cases/arrow/other-schema.bin"),
    },
    Named {
        name: "other-batch",
        what: "an Arrow record batch of that other schema, `a`, `b`",
        bytes: include_bytes!("../cases/arrow/other-batch.bin"),
    },
];

/// `@batch`, broken in one place: what it claims of itself is not so (C10).
const HOSTILE: &[Named] = &[
    Named {
        name: "hostile-metadata",
        what: "the batch, with an offset out of its metadata",
        bytes: include_bytes!("../cases/arrow/hostile-metadata.bin"),
    },
    Named {
        name: "hostile-body",
        what: "the batch, which claims a body of 1 TiB",
        bytes: include_bytes!("../cases/arrow/hostile-body.bin"),
    },
    Named {
        name: "hostile-buffer",
        what: "the batch, with a buffer that ends far behind the body",
        bytes: include_bytes!("../cases/arrow/hostile-buffer.bin"),
    },
    Named {
        name: "hostile-offset",
        what: "the batch, with a buffer that begins before the body",
        bytes: include_bytes!("../cases/arrow/hostile-offset.bin"),
    },
    Named {
        name: "hostile-rows",
        what: "the batch, which claims 2^40 rows",
        bytes: include_bytes!("../cases/arrow/hostile-rows.bin"),
    },
    Named {
        name: "half-batch",
        what: "the first half of the batch",
        bytes: include_bytes!("../cases/arrow/half-batch.bin"),
    },
];

impl Value {
    /// Reads a value as a script has it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(quoted) = text.strip_prefix('"') {
            let quoted = quoted.strip_suffix('"').ok_or_else(|| format!("`{text}` has no closing quote"))?;
            return unescape(quoted).map(Value::Text);
        }
        if let Some(name) = text.strip_prefix('@') {
            let named = NAMED.iter().chain(HOSTILE).find(|named| named.name == name);
            return named.map(Value::Named).ok_or_else(|| format!("nothing is called `@{name}`"));
        }
        size(text)
            .map(Value::Sized)
            .ok_or_else(|| format!("`{text}` is no value: \"text\", a size such as 16Ki, @name"))
    }

    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Value::Text(text) => text.clone(),
            Value::Sized(size) => pattern(*size),
            Value::Named(named) => Bytes::from_static(named.bytes),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "\"{}\"", text.escape_ascii()),
            Value::Sized(size) => write!(f, "{size} bytes"),
            Value::Named(named) => write!(f, "@{} ({})", named.name, named.what),
        }
    }
}

/// Bytes for people: short text as it is, the rest by its length and beginning.
pub(crate) fn show(bytes: &[u8]) -> String {
    const SHOWN: usize = 48;
    match bytes.len() {
        0..=SHOWN => format!("\"{}\"", bytes.escape_ascii()),
        len => format!("{len} bytes \"{}…\"", bytes[..SHOWN / 2].escape_ascii()),
    }
}

/// Every place has its own neighbourhood, so that what is lost, doubled or moved is seen.
fn pattern(size: usize) -> Bytes {
    (0..size).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

fn size(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

fn unescape(text: &str) -> Result<Bytes, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, (byte == b'\\').then(|| rest.next()).flatten()) {
            (b'\\', Some(b'n')) => b'\n',
            (b'\\', Some(b't')) => b'\t',
            (b'\\', Some(quoted @ (b'"' | b'\\'))) => quoted,
            (b'\\', Some(b'x')) => {
                let digits =
                    [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| (digit as char).to_digit(16)));
                let [Some(high), Some(low)] = digits else { return Err(format!("`{text}`: two digits after \\x")) };
                (high * 16 + low) as u8
            }
            (b'\\', _) => return Err(format!("`{text}`: after a backslash comes n, t, x, a quote or a backslash")),
            (other, _) => other,
        });
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_or_refused() {
        let text = |text: &str| Value::parse(text).map(|value| value.bytes());
        assert_eq!(text(r#""a\x00\"\\b""#), Ok(Bytes::from_static(b"a\0\"\\b")));
        assert_eq!(text("16Ki").map(|bytes| bytes.len()), Ok(16 << 10));
        assert_eq!(text("0").map(|bytes| bytes.len()), Ok(0));
        assert!(text("@batch").is_ok_and(|bytes| bytes.len() > 100));
        for wrong in ["\"open", "@nothing", "16Kb", "x", r#""\q""#, r#""\x0""#] {
            assert!(Value::parse(wrong).is_err(), "{wrong}");
        }
        // Neighbours differ, and so do pages.
        let bytes = pattern(200_000);
        assert_ne!(bytes[..4096], bytes[4096..8192]);
        assert_ne!(bytes[..65536], bytes[65536..131_072]);
    }
}
