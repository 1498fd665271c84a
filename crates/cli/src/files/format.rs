//! Which format a file has: told by its name, given, or seen in its first bytes.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::error::{Error, Result};

/// A format of data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.parquet`, `.pq`. Written with zstd, dictionaries, and the Arrow schema, so that dictionary and extension types
    /// survive.
    Parquet,
    /// `.csv`; `.tsv` with tabs. RFC 4180 with a header line. An empty field is null, and null an empty field.
    Csv {
        /// What stands between two fields.
        delimiter: u8,
    },
    /// `.ndjson`, `.jsonl`, `.json`. One JSON object a line. As DataFusion and Spark do, a null is written by leaving
    /// its key out.
    Ndjson,
    /// `.arrow`, `.ipc`, `.feather`. The Arrow IPC file format; a stream under such a name is read as a stream. Its
    /// dictionaries may not change from batch to batch, so dictionary columns are written as their values.
    ArrowFile,
    /// `.arrows`. The Arrow IPC streaming format.
    ArrowStream,
}

impl Format {
    /// CSV with commas.
    pub const CSV: Format = Format::Csv { delimiter: b',' };
    /// CSV with tabs.
    pub const TSV: Format = Format::Csv { delimiter: b'\t' };

    /// The format that the end of a file's name stands for, in either case of letters.
    pub fn of_name(path: &Path) -> Option<Format> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "parquet" | "pq" => Format::Parquet,
            "csv" => Format::CSV,
            "tsv" => Format::TSV,
            "ndjson" | "jsonl" | "json" => Format::Ndjson,
            "arrow" | "ipc" | "feather" => Format::ArrowFile,
            "arrows" => Format::ArrowStream,
            _ => return None,
        })
    }

    /// Decides the format of an input from what was given, its name and its first bytes.
    ///
    /// # Errors
    /// [`Kind::Usage`](super::Kind::Usage) if nothing tells the format, or the bytes are another one's;
    /// [`Kind::Data`](super::Kind::Data) if they are no format's.
    pub(super) fn of_input(name: &str, given: Option<Format>, named: Option<Format>, head: &[u8]) -> Result<Format> {
        let seen = Magic::of(head);
        let Some(expected) = given.or(named) else {
            return match (seen, head.trim_ascii_start().first()) {
                (Some(Magic::Format(format)), _) => Ok(format),
                (Some(Magic::Packed { what, unpack }), _) => Err(packed(name, what, unpack)),
                (None, Some(b'{')) => Ok(Format::Ndjson),
                _ => Err(Error::usage(format!(
                    "{name}: neither the name nor the first bytes tell the format; try --input-format with one of \
                     {NAMES}"
                ))),
            };
        };
        let called = match given {
            Some(format) => format!("--input-format says {format}"),
            None => format!("is named like {expected}"),
        };
        match seen {
            Some(Magic::Format(format)) if format == expected => Ok(format),
            // A stream may be called .arrow, and a file may come where a stream was expected: the bytes are certain.
            Some(Magic::Format(format)) if format.is_arrow() && expected.is_arrow() => Ok(format),
            Some(Magic::Format(format)) => {
                Err(Error::usage(format!("{name}: {called}, but holds {format}; try --input-format {format}")))
            }
            Some(Magic::Packed { what, unpack }) => Err(packed(name, what, unpack)),
            None if head.is_empty() => {
                Err(Error::data(format!("{name}: is empty, and an empty file is no {expected}")))
            }
            None if expected.is_text() => Ok(expected),
            None => Err(Error::data(format!(
                "{name}: {called}, but does not begin like one (byte 0); it may be truncated or of another format: try \
                 --input-format with one of {NAMES}"
            ))),
        }
    }

    fn is_arrow(self) -> bool {
        matches!(self, Format::ArrowFile | Format::ArrowStream)
    }

    fn is_text(self) -> bool {
        matches!(self, Format::Csv { .. } | Format::Ndjson)
    }
}

pub(super) const NAMES: &str = "parquet, csv, tsv, ndjson, arrow, arrows";

fn packed(name: &str, what: &str, unpack: &str) -> Error {
    Error::usage(format!(
        "{name}: is compressed with {what}; try `{unpack}` in a pipe, with --input - and --input-format"
    ))
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Format::Parquet => "parquet",
            Format::TSV => "tsv",
            Format::Csv { .. } => "csv",
            Format::Ndjson => "ndjson",
            Format::ArrowFile => "arrow",
            Format::ArrowStream => "arrows",
        })
    }
}

/// As on the command line: the name of the format, or an ending that stands for it.
impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Path::new("x").with_extension(text);
        Format::of_name(&named).ok_or_else(|| format!("no format is called {text:?}; try one of {NAMES}"))
    }
}

/// What the first bytes of a file say with certainty.
enum Magic {
    Format(Format),
    Packed { what: &'static str, unpack: &'static str },
}

impl Magic {
    fn of(head: &[u8]) -> Option<Magic> {
        Some(match head {
            [b'P', b'A', b'R', b'1', ..] => Magic::Format(Format::Parquet),
            [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Magic::Format(Format::ArrowFile),
            [0xff, 0xff, 0xff, 0xff, ..] => Magic::Format(Format::ArrowStream),
            [0x1f, 0x8b, ..] => Magic::Packed { what: "gzip", unpack: "gunzip -c FILE" },
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Magic::Packed { what: "zstd", unpack: "zstd -dc FILE" },
            [b'P', b'K', 3, 4, ..] => Magic::Packed { what: "zip", unpack: "unzip -p FILE" },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn decide(given: Option<Format>, path: &str, head: &[u8]) -> Result<Format> {
        Format::of_input(path, given, Format::of_name(Path::new(path)), head)
    }

    #[test]
    fn the_name_tells_the_format() {
        for (name, format) in [
            ("a.parquet", Format::Parquet),
            ("a.PQ", Format::Parquet),
            ("a.b.csv", Format::CSV),
            ("a.tsv", Format::TSV),
            ("a.ndjson", Format::Ndjson),
            ("a.jsonl", Format::Ndjson),
            ("a.json", Format::Ndjson),
            ("a.arrow", Format::ArrowFile),
            ("a.ipc", Format::ArrowFile),
            ("a.feather", Format::ArrowFile),
            ("a.arrows", Format::ArrowStream),
        ] {
            assert_eq!(Format::of_name(Path::new(name)), Some(format), "{name}");
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        for name in ["a", "csv", ".csv", "a.txt", "-"] {
            assert_eq!(Format::of_name(Path::new(name)), None, "{name}");
        }
        assert!("xls".parse::<Format>().unwrap_err().contains("parquet, csv"));
    }

    #[test]
    fn bytes_that_contradict_the_name_are_an_error_that_names_both() {
        let error = decide(None, "a.csv", b"PAR1\x15\x04").unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.to_string(), "a.csv: is named like csv, but holds parquet; try --input-format parquet");
        let error = decide(Some(Format::Parquet), "a.csv", b"ARROW1\0\0").unwrap_err();
        assert_eq!(error.to_string(), "a.csv: --input-format says parquet, but holds arrow; try --input-format arrow");
        let error = decide(None, "a.parquet", b"id,name\n").unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains("byte 0"), "{error}");
        assert!(decide(None, "a.csv", &[0x1f, 0x8b, 8]).unwrap_err().to_string().contains("gunzip"));
    }

    #[test]
    fn bytes_decide_between_the_two_arrow_formats_and_where_the_name_is_silent() {
        assert_eq!(decide(None, "a.arrow", &[0xff; 8]).unwrap(), Format::ArrowStream);
        assert_eq!(decide(None, "a.arrows", b"ARROW1\0\0").unwrap(), Format::ArrowFile);
        assert_eq!(decide(None, "-", b"PAR1").unwrap(), Format::Parquet);
        assert_eq!(decide(None, "-", b" {\"a\":").unwrap(), Format::Ndjson);
        assert!(decide(None, "-", b"a,b\n").unwrap_err().to_string().contains("--input-format"));
        assert!(decide(None, "a.csv", b"").unwrap_err().to_string().contains("empty"));
    }
}
