//! `anyudf functions`: what a worker offers.

use std::io::{self, Write};

use arrow::datatypes::SchemaRef;
use clap::Args;
use serde::Serialize;

use crate::catalog::{Catalog, Function};
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
        let catalog = Catalog::read(&dispatcher, 1).await;
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
    kind: &'static str,
    arguments: Option<Vec<Column>>,
    result: Option<Vec<Column>>,
    help: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
struct Column {
    name: String,
    r#type: String,
    nullable: bool,
}

fn json(catalog: &Catalog, out: &mut impl Write) -> io::Result<()> {
    let columns = |schema: &SchemaRef| {
        let column = |field: &arrow::datatypes::FieldRef| Column {
            name: field.name().clone(),
            r#type: field.data_type().to_string(),
            nullable: field.is_nullable(),
        };
        schema.fields().iter().map(column).collect()
    };
    for Function { name, kind, arguments, result, help, version } in &catalog.functions {
        let (arguments, result) = (arguments.as_ref().map(columns), result.as_ref().map(columns));
        let line = Line { name, kind: kind.name(), arguments, result, help, version };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    Ok(())
}

/// One line of columns and, so that long arguments do not push it off the screen, the help below.
fn table(catalog: &Catalog, out: &mut impl Write) -> io::Result<()> {
    let mut cells = vec![["NAME", "KIND", "ARGUMENTS", "RESULT"].map(String::from)];
    for Function { name, kind, arguments, result, .. } in &catalog.functions {
        let arguments = arguments.as_ref().map_or("any columns".into(), named);
        let result = match result {
            Some(schema) if schema.fields().is_empty() => "none".into(),
            Some(schema) if schema.fields().len() == 1 && kind.name() == "scalar" => {
                schema.field(0).data_type().to_string()
            }
            Some(schema) => named(schema),
            None => "depends on the input".into(),
        };
        cells.push([name.clone(), kind.to_string(), arguments, result]);
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    for (row, [name, kind, arguments, result]) in cells.iter().enumerate() {
        let [a, b, c] = widths;
        writeln!(out, "{name:a$}  {kind:b$}  {arguments:c$}  {result}")?;
        if let Some(function) = row.checked_sub(1).map(|function| &catalog.functions[function]) {
            let help = function.help.lines().next().unwrap_or_default();
            if !help.is_empty() {
                writeln!(out, "    {help}")?;
            }
        }
    }
    Ok(())
}

/// `lat Float64, lon Float64`, or a dash.
fn named(schema: &SchemaRef) -> String {
    let fields: Vec<_> =
        schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    if fields.is_empty() { "-".into() } else { fields.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use expect_test::expect;

    use super::*;
    use crate::catalog::Kind;

    fn catalog() -> Catalog {
        let schema = |names: &[&str]| {
            let fields: Vec<_> = names.iter().map(|name| Field::new(*name, DataType::Float64, true)).collect();
            Some(Arc::new(Schema::new(fields)) as SchemaRef)
        };
        let function = |name: &str, kind, arguments, result, help: &str| Function {
            name: name.into(),
            kind,
            arguments,
            result,
            help: help.into(),
            version: "1".into(),
        };
        Catalog {
            functions: vec![
                function("hypot", Kind::Scalar, schema(&["x", "y"]), schema(&["hypot"]), "The long side.\nMore."),
                function("shuffle", Kind::Map, None, None, ""),
                function("series", Kind::Table, schema(&[]), schema(&["n"]), "Numbers"),
            ],
        }
    }

    #[test]
    fn a_table_for_people() {
        let mut out = Vec::new();
        table(&catalog(), &mut out).expect("memory");
        expect![[r#"
            NAME     KIND    ARGUMENTS             RESULT
            hypot    scalar  x Float64, y Float64  Float64
                The long side.
            shuffle  map     any columns           depends on the input
            series   table   -                     n Float64
                Numbers
        "#]]
        .assert_eq(&String::from_utf8(out).expect("UTF-8"));
    }

    #[test]
    fn lines_for_programs() {
        let mut out = Vec::new();
        json(&catalog(), &mut out).expect("memory");
        let text = String::from_utf8(out).expect("UTF-8");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines[0]["arguments"][1]["type"], "Float64");
        assert_eq!(lines[1]["arguments"], serde_json::Value::Null);
        assert_eq!(lines[2]["kind"], "table");
    }
}
