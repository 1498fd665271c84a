//! The same call in another place, to be compared: what [`UdfTester::through`](crate::UdfTester::through) takes.

use std::fmt;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};

use crate::error::Result;
use crate::tester::Tested;

/// A place where a function can be called that a tester has called in memory, such as a process. The crate `anyudf` has that
/// one: `anyudf::testing::WorkerProcess`.
pub trait Elsewhere: fmt::Debug + Send + Sync {
    /// Calls it.
    ///
    /// # Errors
    /// What the function returned, as an engine is told: the same text, the same condition.
    fn run(&self, trial: &Trial) -> Result<Tested>;
}

/// A call: which function, how, and with what.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trial {
    /// The function's name.
    pub function: String,
    /// The payload, in the format `function`.
    pub payload: String,
    /// The time zone of the session.
    pub timezone: Option<String>,
    /// The columns of the input; none for a generator.
    pub schema: SchemaRef,
    /// The input.
    pub batches: Vec<RecordBatch>,
}

/// Whether both places say the same: the same columns, the same rows however they are cut into batches, the same last word;
/// or the same error.
///
/// # Errors
/// How they differ.
pub(crate) fn compare(here: &Result<Tested>, there: &Result<Tested>) -> Result<(), String> {
    match (here, there) {
        (Ok(here), Ok(there)) => compare_results(here, there),
        (Err(here), Err(there)) if here.condition() == there.condition() && here.to_string() == there.to_string() => {
            Ok(())
        }
        (here, there) => Err(format!("in memory {}, and elsewhere {}", told(here), told(there))),
    }
}

fn told(result: &Result<Tested>) -> String {
    match result {
        Ok(tested) => format!("it returned {} rows", rows(tested)),
        Err(error) => format!("it failed with {}: {error}", error.condition()),
    }
}

fn rows(tested: &Tested) -> usize {
    tested.batches.iter().map(RecordBatch::num_rows).sum()
}

fn compare_results(here: &Tested, there: &Tested) -> Result<(), String> {
    let columns = |schema: &Schema| {
        let fields = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
        fields.collect::<Vec<_>>().join(", ")
    };
    let (own, other) = (columns(&here.schema), columns(&there.schema));
    if own != other {
        return Err(format!("in memory the columns are {own}, and elsewhere {other}"));
    }
    if rows(here) != rows(there) {
        return Err(format!("in memory there are {} rows, and elsewhere {}", rows(here), rows(there)));
    }
    let whole = |tested: &Tested| concat_batches(&tested.schema, &tested.batches).map_err(|error| error.to_string());
    let (own, other) = (whole(here)?, whole(there)?);
    for (place, field) in here.schema.fields().iter().enumerate() {
        let (own, other) = (own.column(place), other.column(place));
        if own.to_data() != other.to_data() {
            let is_other = |row: &usize| own.slice(*row, 1).to_data() != other.slice(*row, 1).to_data();
            let row = (0..own.len()).find(is_other).unwrap_or_default();
            let (name, own, other) = (field.name(), own.slice(row, 1), other.slice(row, 1));
            return Err(format!("row {row} of `{name}` is {own:?} in memory, and {other:?} elsewhere"));
        }
    }
    match here.data == there.data {
        true => Ok(()),
        false => Err("what is left as its result is another elsewhere".into()),
    }
}
