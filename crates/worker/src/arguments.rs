//! Whether columns are a function's arguments, and in which words they are not.

use anyudf_arrow::catalog::{DEFAULT, Entry, VARIADIC, arguments_for, arity, takes};
use arrow::datatypes::Schema;

use crate::error::{Error, Result};

/// Whether columns are what the function takes: as many, and of the same types, by one of its signatures.
pub(crate) fn check(function: &Entry, columns: &Schema) -> Result<()> {
    if function.arguments.is_none() {
        return Ok(()); // any columns
    }
    let signatures: Vec<_> = function.signatures().filter_map(|(arguments, _)| arguments).collect();
    match &signatures[..] {
        [arguments] => by(function, arguments, columns),
        several if several.iter().any(|arguments| by(function, arguments, columns).is_ok()) => Ok(()),
        several => {
            let taken: Vec<_> = several.iter().map(|arguments| list(arguments.fields())).collect();
            let (name, given) = (&function.name, list(columns.fields()));
            let text = format!("`{name}` takes {}; it was given {given}; cast the columns", taken.join(" or "));
            Err(Error::user(text).with_class("WRONG_ARGUMENT_TYPE"))
        }
    }
}

/// The same by these arguments.
fn by(function: &Entry, arguments: &Schema, columns: &Schema) -> Result<()> {
    let given = columns.fields();
    let Some(wanted) = arguments_for(arguments, given.len()) else {
        let taken = arity(arguments);
        let text = format!(
            "`{}` takes {taken}: {}; it was given {}: {}",
            function.name,
            list(arguments.fields()),
            count(given.len(), "column"),
            list(given)
        );
        return Err(Error::user(text).with_class("WRONG_ARGUMENT_COUNT"));
    };
    for (position, (given, wanted)) in given.iter().zip(wanted).enumerate() {
        if !takes(wanted, given.data_type()) {
            let text = format!(
                "argument {} (`{}`) of `{}` must be {}, but column `{}` is {}; cast the column",
                position + 1,
                wanted.name(),
                function.name,
                wanted.data_type(),
                given.name(),
                given.data_type()
            );
            return Err(Error::user(text).with_class("WRONG_ARGUMENT_TYPE"));
        }
    }
    Ok(())
}

fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        more => format!("{more} {what}s"),
    }
}

/// How many columns an error lists.
const COLUMNS_SHOWN: usize = 16;

fn list(fields: &arrow::datatypes::Fields) -> String {
    let shown = fields.iter().take(COLUMNS_SHOWN).map(|field| {
        let default = field.metadata().get(DEFAULT).map_or(String::new(), |default| format!(" = {default}"));
        let many = if field.metadata().contains_key(VARIADIC) { "…" } else { "" };
        format!("{} {}{many}{default}", field.name(), field.data_type())
    });
    let more = fields.len().saturating_sub(COLUMNS_SHOWN);
    let more = (more > 0).then(|| format!("and {more} more"));
    format!("({})", shown.chain(more).collect::<Vec<_>>().join(", "))
}
