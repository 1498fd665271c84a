//! A result for human eyes: the first rows as a table.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_schema;

/// How many rows are shown.
const ROWS: usize = 40;
/// How much of a cell is shown, in characters.
const CELL: usize = 40;

/// Keeps the first rows, counts the others.
pub(super) struct Table {
    schema: SchemaRef,
    cells: Vec<RecordBatch>,
    shown: usize,
    rows: u64,
}

impl Table {
    pub(super) fn new(schema: &Schema) -> Self {
        let fields: Vec<Field> =
            schema.fields().iter().map(|field| Field::new(cell(field.name()), DataType::Utf8, false)).collect();
        Table { schema: Arc::new(Schema::new(fields)), cells: Vec::new(), shown: 0, rows: 0 }
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.rows += batch.num_rows() as u64;
        let more = batch.num_rows().min(ROWS - self.shown);
        if more > 0 {
            self.shown += more;
            let columns = batch.columns().iter().map(|column| text(&column.slice(0, more))).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(more));
            self.cells.push(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?);
        }
        Ok(())
    }

    /// The table, and a line that says how many rows it leaves out.
    pub(super) fn render(&self) -> Result<String, ArrowError> {
        let table = pretty_format_batches_with_schema(Arc::clone(&self.schema), &self.cells)?;
        Ok(match self.rows - self.shown as u64 {
            0 if self.rows == 0 => format!("{table}\nno rows\n"),
            0 => format!("{table}\n"),
            1 => format!("{table}\n… 1 more row\n"),
            more => format!("{table}\n… {} more rows\n", grouped(more)),
        })
    }
}

fn text(column: &dyn Array) -> ArrayRef {
    let options = FormatOptions::default().with_null("NULL");
    let shown: StringArray = match ArrayFormatter::try_new(column, &options) {
        Ok(values) => (0..column.len()).map(|row| Some(cell(&values.value(row).to_string()))).collect(),
        // Nothing worth failing for: the rows were computed, this type just has no text.
        Err(_) => (0..column.len()).map(|_| Some(format!("<{}>", column.data_type()))).collect(),
    };
    Arc::new(shown)
}

/// One line of at most [`CELL`] characters that cannot move the cursor.
fn cell(text: &str) -> String {
    let mut shown = String::new();
    let mut room = CELL;
    for letter in text.chars() {
        if room == 0 {
            // The last one gives its place to the sign that more would follow.
            shown.pop();
            shown.push('…');
            break;
        }
        match letter {
            letter if letter.is_control() => shown.extend(letter.escape_default()),
            letter => shown.push(letter),
        }
        room -= 1;
    }
    shown
}

/// 2999960 as 2,999,960.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_first_rows_are_shown_and_the_others_counted() {
        let batch = |rows: i64| {
            let id: ArrayRef = Arc::new(Int64Array::from_iter((0..rows).map(|row| (row != 1).then_some(row))));
            let note: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| match row {
                0 => "a\u{1b}[2J\nb".to_owned(),
                _ => "é".repeat(39 + row as usize),
            })));
            RecordBatch::try_from_iter_with_nullable([("id", id, true), ("note", note, false)]).unwrap()
        };
        let mut table = Table::new(&batch(1).schema());
        table.add(&batch(3)).unwrap();
        expect![[r#"
            +------+------------------------------------------+
            | id   | note                                     |
            +------+------------------------------------------+
            | 0    | a\u{1b}[2J\nb                            |
            | NULL | éééééééééééééééééééééééééééééééééééééééé |
            | 2    | ééééééééééééééééééééééééééééééééééééééé… |
            +------+------------------------------------------+
        "#]]
        .assert_eq(&table.render().unwrap());
        table.add(&batch(38)).unwrap();
        assert!(table.render().unwrap().ends_with("+\n… 1 more row\n"));
        table.rows = 3_000_000;
        assert!(table.render().unwrap().ends_with("+\n… 2,999,960 more rows\n"));
        assert_eq!(table.render().unwrap().lines().count(), 40 + 4 + 1);
        assert!(Table::new(&batch(1).schema()).render().unwrap().ends_with("+\nno rows\n"));
    }
}
