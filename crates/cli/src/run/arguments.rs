//! The flags of `anyudf run`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::catalog::Kind;
use crate::files::{Format, Types};
use crate::start::StartArguments;
use crate::units;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anyudf run --function distance_miles --args origin_lat,origin_lon,dest_lat,dest_lon --as miles \\
             --input data/flights-sample.parquet
  anyudf run --function distance_miles --args a,b,c,d --as miles --input in.csv --output out.parquet
  anyudf run --worker 'python3 my_worker.py' --function clean --input - --input-format ndjson --output out.arrow")]
pub(crate) struct RunArguments {
    /// The function to run; `anyudf functions` lists them
    #[arg(long, short, value_name = "NAME")]
    pub(super) function: String,

    /// The columns that are its arguments, in its order, separated by commas; quote a name that has one: '"a,b",c'
    ///
    /// A map function gets all columns without it.
    #[arg(long, value_name = "COLUMNS", value_parser = columns)]
    pub(super) args: Option<Columns>,

    /// The name of the new column, which comes last; the function's name without it
    #[arg(long = "as", value_name = "NAME")]
    pub(super) name: Option<String>,

    /// The function's options, a JSON object
    #[arg(long, value_name = "JSON")]
    pub(super) options: Option<String>,

    /// What kind of function it is, for a worker that has no catalog; `map` without it
    ///
    /// Nothing is coerced and nothing checked before it runs then.
    #[arg(long, value_name = "KIND", value_parser = kind())]
    pub(super) kind: Option<Kind>,

    /// How long each call into the function may take, such as 30s
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(super) call_timeout: Option<Duration>,

    /// The time zone that the function is told, such as Europe/Paris
    #[arg(long, value_name = "ZONE")]
    pub(super) timezone: Option<String>,

    /// How many sessions run at once: for a scalar function as many as there are processors without it, for others one
    ///
    /// Each session of a map sees a part of the batches, and rows come as they are ready when there are several.
    #[arg(long, short, value_name = "N")]
    pub(super) jobs: Option<NonZeroUsize>,

    /// Run a batch again when its worker is gone: killed, crashed, or out of reach. For scalar functions that may be
    /// called twice for the same rows
    ///
    /// Each batch has a session of its own then, and its rows are taken when that has finished.
    #[arg(long)]
    pub(super) repeatable: bool,

    /// How many rows a batch has at most
    #[arg(long, value_name = "N", default_value = "65536")]
    pub(super) batch_rows: NonZeroUsize,

    /// The file with the rows, `-` for standard input; Parquet, CSV, NDJSON or Arrow IPC
    #[arg(long, short, value_name = "FILE", help_heading = "Files")]
    pub(super) input: Option<PathBuf>,

    /// Where the result goes, `-` for standard output; without it, the first rows are shown as a table
    ///
    /// A file appears when everything is written, and not before.
    #[arg(long, short, value_name = "FILE", help_heading = "Files")]
    pub(super) output: Option<PathBuf>,

    /// Replace an output file that is there already
    #[arg(long, help_heading = "Files")]
    pub(super) force: bool,

    /// The format of the input: parquet, csv, tsv, ndjson, arrow, arrows; told by its name without it
    #[arg(long, value_name = "FORMAT", help_heading = "Files")]
    pub(super) input_format: Option<Format>,

    /// The format of the output; told by its name without it
    #[arg(long, value_name = "FORMAT", help_heading = "Files")]
    pub(super) output_format: Option<Format>,

    /// Types of columns of CSV or NDJSON, in place of those inferred: zip=string,delay=double
    #[arg(long, value_name = "COLUMN=TYPE,…", default_value = "", hide_default_value = true, help_heading = "Files")]
    pub(super) types: Types,

    /// Say at the end what it took, also where stderr is no terminal
    #[arg(long)]
    pub(super) stats: bool,

    #[command(flatten)]
    pub(super) worker: StartArguments,
}

/// Reads a kind, and lists them in the help.
fn kind() -> impl TypedValueParser<Value = Kind> {
    let value = |kind: Kind| {
        PossibleValue::new(kind.name()).help(match kind {
            Kind::Scalar => "A value for each row",
            Kind::Map => "Batches in, any batches out; or none, and a result at the end",
            Kind::Table => "No input: a generator",
            Kind::Aggregate => "Rows in, a result at the end",
        })
    };
    PossibleValuesParser::new(Kind::ALL.map(value)).try_map(|name| name.parse())
}

/// Names of columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns(pub(super) Vec<String>);

/// Splits at commas, but not inside of double quotes, which are doubled to mean themselves.
fn columns(text: &str) -> Result<Columns, String> {
    let (mut names, mut name) = (Vec::new(), String::new());
    let (mut quoted, mut letters) = (false, text.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => name.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            letter => name.push(letter),
        }
    }
    names.push(name);
    let names: Vec<String> = names.into_iter().map(|name| name.trim().to_owned()).collect();
    if quoted {
        return Err("a double quote is not closed".into());
    }
    match names.iter().position(String::is_empty) {
        Some(place) => Err(format!("name {} is empty; write names of columns with commas between", place + 1)),
        None => Ok(Columns(names)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_known_by_its_name() {
        #[derive(clap::Parser)]
        struct Flags {
            #[arg(value_parser = kind())]
            kind: Kind,
        }
        let parse = |name| <Flags as clap::Parser>::try_parse_from(["run", name]).map(|flags| flags.kind);
        for kind in Kind::ALL {
            assert_eq!(parse(kind.name()).expect("it is a kind"), kind);
        }
        let refusal = parse("oracle").map(|_| ()).expect_err("there is no such kind").to_string();
        assert!(refusal.contains("[possible values: scalar, map, table, aggregate]"), "{refusal}");
    }

    #[test]
    fn names_are_split_at_commas_outside_of_quotes() {
        let split = |text| columns(text).map(|Columns(names)| names);
        assert_eq!(split("a, b,c"), Ok(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(split(r#""a,b",c"#), Ok(vec!["a,b".into(), "c".into()]));
        assert_eq!(split(r#""say ""hi""""#), Ok(vec![r#"say "hi""#.into()]));
        for text in ["", "a,,b", "a,", r#""a"#] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
