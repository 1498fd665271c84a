//! `anyudf functions`: what a worker offers.

use std::io::{self, Write};

use anyudf_arrow::catalog::{DEFAULT, Overload, VARIADIC};
use arrow::datatypes::{FieldRef, SchemaRef};
use clap::Args;
use serde::Serialize;

use crate::catalog::{Catalog, Entry, Kind};
use crate::failure::{Failure, Result, unprinted};
use crate::io::Io;
use crate::start::StartArguments;

#[derive(Debug, Args)]
pub(crate) struct FunctionsArguments {
    #[command(flatten)]
    worker: StartArguments,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs `anyudf functions`.
pub(crate) fn functions(arguments: &FunctionsArguments) -> Result {
    let start = arguments.worker.start(1)?;
    let (program, io) = (start.program(), Io::start()?);
    let catalog = io.wait_or_interrupt(async {
        let dispatcher = start.dispatcher()?;
        let catalog = Catalog::read(&dispatcher).await;
        dispatcher.close().await;
        catalog
    })??;
    let Some(catalog) = catalog else {
        return Err(Failure::failed(format_args!(
            "the worker `{program}` has no catalog, so it can't say what it offers; its functions run all the same with \
             `anyudf run --function NAME --kind KIND`",
        )));
    };
    let mut out = io::stdout().lock();
    let printed = match arguments.json {
        true => json(&catalog, &mut out),
        false => table(&catalog, &mut out),
    };
    printed.and_then(|()| out.flush()).map_err(unprinted)
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    aliases: &'a [String],
    kind: &'static str,
    volatility: &'static str,
    arguments: Option<Vec<Column>>,
    result: Option<Vec<Column>>,
    overloads: Vec<Signature>,
    repeatable: bool,
    timeout_ms: Option<u128>,
    help: &'a str,
    examples: &'a [String],
    version: &'a str,
}

#[derive(Serialize)]
struct Signature {
    arguments: Vec<Column>,
    result: Vec<Column>,
}

#[derive(Serialize)]
struct Column {
    name: String,
    r#type: String,
    nullable: bool,
    /// What a function takes when this argument is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<serde_json::Value>,
    /// Whether there may be any number of columns for this argument.
    #[serde(skip_serializing_if = "Option::is_none")]
    variadic: Option<bool>,
}

fn json(catalog: &Catalog, out: &mut impl Write) -> io::Result<()> {
    let columns = |schema: &SchemaRef| {
        let column = |field: &FieldRef| Column {
            name: field.name().clone(),
            r#type: field.data_type().to_string(),
            nullable: field.is_nullable(),
            // What is no JSON after all is a text.
            default: field
                .metadata()
                .get(DEFAULT)
                .map(|json| serde_json::from_str(json).unwrap_or(json.as_str().into())),
            variadic: field.metadata().get(VARIADIC).map(|value| value == "true"),
        };
        schema.fields().iter().map(column).collect()
    };
    for function in &catalog.functions {
        let line = Line {
            name: &function.name,
            aliases: &function.aliases,
            kind: function.kind.name(),
            volatility: function.volatility.name(),
            arguments: function.arguments.as_ref().map(columns),
            result: function.result.as_ref().map(columns),
            overloads: function
                .overloads
                .iter()
                .map(|Overload { arguments, result }| Signature {
                    arguments: columns(arguments),
                    result: columns(result),
                })
                .collect(),
            repeatable: function.is_repeatable(),
            timeout_ms: function.timeout.map(|timeout| timeout.as_millis()),
            help: &function.help,
            examples: &function.examples,
            version: &function.version,
        };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    Ok(())
}

/// One line of columns and, so that long arguments do not push them off the screen, the help and all else below.
pub(crate) fn table(catalog: &Catalog, out: &mut impl Write) -> io::Result<()> {
    let mut cells = vec![["NAME", "KIND", "VOLATILITY", "ARGUMENTS", "RESULT"].map(String::from)];
    for Entry { name, kind, volatility, arguments, result, .. } in &catalog.functions {
        let arguments = arguments.as_ref().map_or("any columns".into(), named);
        let result = result.as_ref().map_or("depends on the input".into(), |result| returned(*kind, result));
        let cell = [name.clone(), kind.to_string(), volatility.to_string(), arguments, result];
        cells.push(cell.map(|cell| visible(&cell)));
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    for (row, [name, kind, volatility, arguments, result]) in cells.iter().enumerate() {
        let [a, b, c, d] = widths;
        writeln!(out, "{name:a$}  {kind:b$}  {volatility:c$}  {arguments:d$}  {result}")?;
        if let Some(function) = row.checked_sub(1).map(|function| &catalog.functions[function]) {
            for line in below(function) {
                writeln!(out, "    {}", visible(&line))?;
            }
        }
    }
    Ok(())
}

/// What is told of a function below its columns.
fn below(function: &Entry) -> Vec<String> {
    let mut lines: Vec<_> =
        function.help.lines().next().filter(|help| !help.is_empty()).map(String::from).into_iter().collect();
    lines.extend(function.overloads.iter().map(|Overload { arguments, result }| {
        format!("also takes {}, and then returns {}", named(arguments), returned(function.kind, result))
    }));
    lines.extend(function.examples.iter().cloned());
    if !function.aliases.is_empty() {
        lines.push(format!("also called {}", function.aliases.join(", ")));
    }
    if function.repeatable {
        lines.push("may be run again when its worker has crashed".into());
    }
    lines.extend(function.timeout.map(|timeout| format!("each call takes at most {timeout:?}")));
    lines
}

/// The columns of a result; of a scalar function its type alone.
fn returned(kind: Kind, result: &SchemaRef) -> String {
    match result.fields().len() {
        0 => "none".into(),
        1 if kind == Kind::Scalar => result.field(0).data_type().to_string(),
        _ => named(result),
    }
}

/// Text of a worker's for a terminal, which obeys control characters.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            letter if letter.is_control() => visible.extend(letter.escape_default()),
            letter => visible.push(letter),
        }
    }
    visible
}

/// `x Float64, digits Int32 = 2, more Utf8…`, or a dash.
fn named(schema: &SchemaRef) -> String {
    let field = |field: &FieldRef| {
        let default = field.metadata().get(DEFAULT).map_or(String::new(), |default| format!(" = {default}"));
        let many = if field.metadata().get(VARIADIC).is_some_and(|value| value == "true") { "…" } else { "" };
        format!("{} {}{many}{default}", field.name(), field.data_type())
    };
    let fields: Vec<_> = schema.fields().iter().map(field).collect();
    if fields.is_empty() { "-".into() } else { fields.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use anyudf_arrow::catalog::Volatility;
    use arrow::datatypes::{DataType, Field, Schema};
    use expect_test::expect;

    use super::*;

    fn catalog() -> Catalog {
        let schema = |names: &[&str]| {
            let fields: Vec<_> = names.iter().map(|name| Field::new(*name, DataType::Float64, true)).collect();
            Some(Arc::new(Schema::new(fields)) as SchemaRef)
        };
        let mut hypot = Entry::new("hypot", Kind::Scalar);
        hypot.aliases = vec!["pythagoras".into(), "long_side".into()];
        hypot.volatility = Volatility::Immutable;
        (hypot.arguments, hypot.result) = (schema(&["x", "y"]), schema(&["hypot"]));
        let narrow = |name: &str| Field::new(name, DataType::Float32, true);
        let arguments = Arc::new(Schema::new(vec![narrow("x"), narrow("y")]));
        hypot.overloads = vec![Overload { arguments, result: Arc::new(Schema::new(vec![narrow("hypot")])) }];
        hypot.help = "The long side.\nMore.".into();
        let mut series = Entry::new("series", Kind::Table);
        (series.arguments, series.result) = (schema(&[]), schema(&["n"]));
        series.help = "Numbers".into();
        series.examples = vec!["series() = 1".into(), "series() = 2".into()];
        (series.repeatable, series.timeout) = (true, Some(Duration::from_millis(1_500)));
        let field = |name: &str, data_type, key: &str, value: &str| {
            Field::new(name, data_type, true).with_metadata([(key.to_owned(), value.to_owned())].into())
        };
        let mut label = Entry::new("label", Kind::Scalar);
        let (unit, parts) = (DataType::Utf8, DataType::Int64);
        let fields = vec![field("unit", unit, DEFAULT, "\"km\""), field("parts", parts, VARIADIC, "true")];
        label.arguments = Some(Arc::new(Schema::new(fields)));
        Catalog { functions: vec![hypot, Entry::new("shuffle", Kind::Map), series, label] }
    }

    #[test]
    fn a_table_for_people() {
        let mut out = Vec::new();
        table(&catalog(), &mut out).expect("memory");
        expect![[r#"
            NAME     KIND    VOLATILITY  ARGUMENTS                       RESULT
            hypot    scalar  immutable   x Float64, y Float64            Float64
                The long side.
                also takes x Float32, y Float32, and then returns Float32
                also called pythagoras, long_side
            shuffle  map     volatile    any columns                     depends on the input
            series   table   volatile    -                               n Float64
                Numbers
                series() = 1
                series() = 2
                may be run again when its worker has crashed
                each call takes at most 1.5s
            label    scalar  volatile    unit Utf8 = "km", parts Int64…  depends on the input
        "#]]
        .assert_eq(&String::from_utf8(out).expect("UTF-8"));
    }

    #[test]
    fn a_terminal_obeys_no_worker() {
        let mut odd = Entry::new("bell\u{7}", Kind::Scalar);
        odd.help = "\u{1b}[2Jgone".into();
        odd.aliases = vec!["tab\tbed".into()];
        odd.result = Some(Arc::new(Schema::new(vec![Field::new(
            "x",
            DataType::Timestamp(arrow::datatypes::TimeUnit::Second, Some("\u{9b}31m".into())),
            true,
        )])));
        let mut out = Vec::new();
        table(&Catalog { functions: vec![odd] }, &mut out).expect("memory");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n'), "{text:?}");
        assert!(text.contains(r"\u{1b}[2Jgone") && text.contains(r"tab\tbed"), "{text}");
    }

    #[test]
    fn lines_for_programs() {
        let mut out = Vec::new();
        json(&catalog(), &mut out).expect("memory");
        let text = String::from_utf8(out).expect("UTF-8");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines[0]["arguments"][1]["type"], "Float64");
        assert_eq!(lines[0]["aliases"][1], "long_side");
        assert_eq!(lines[0]["overloads"][0]["result"][0]["type"], "Float32");
        assert_eq!((&lines[0]["volatility"], &lines[1]["volatility"]), (&"immutable".into(), &"volatile".into()));
        assert_eq!((&lines[0]["repeatable"], &lines[1]["repeatable"]), (&true.into(), &false.into()));
        assert_eq!((&lines[2]["timeout_ms"], &lines[2]["examples"][1]), (&1_500.into(), &"series() = 2".into()));
        assert_eq!(
            (&lines[3]["arguments"][0]["default"], &lines[3]["arguments"][1]["variadic"]),
            (&"km".into(), &true.into())
        );
        assert_eq!(lines[3]["arguments"][1].get("default"), None);
        assert_eq!(lines[1]["arguments"], serde_json::Value::Null);
        assert_eq!(lines[2]["kind"], "table");
    }
}
