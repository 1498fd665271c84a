//! Plans, which are text in lines: a table would cut them off.

use std::io::{self, Write};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::failure::{Result, unprinted};

/// Prints titles and texts.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn print(plans: &[RecordBatch]) -> Result {
    let mut out = io::stdout().lock();
    let mut printed = Ok(());
    for plan in plans {
        let [titles, texts] = plan.columns() else { continue };
        let text = |column: &ArrayRef, row| match ArrayFormatter::try_new(column, &FormatOptions::default()) {
            Ok(values) => values.value(row).to_string(),
            Err(error) => error.to_string(),
        };
        for row in 0..plan.num_rows() {
            let print =
                |out: &mut io::StdoutLock<'_>| writeln!(out, "{}:\n{}", text(titles, row), text(texts, row).trim_end());
            printed = printed.and_then(|()| print(&mut out));
        }
    }
    printed.and_then(|()| out.flush()).map_err(unprinted)
}
