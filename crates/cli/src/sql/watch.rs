//! How far a statement is, on the terminal.

use std::time::Duration;

use anyudf_datafusion::{Rows, SqlError, SqlProgress};
use arrow::array::RecordBatch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::run::Bar;

/// How often the bar is drawn while no rows come: a sum gives its only row at the end.
const LOOK: Duration = Duration::from_millis(100);

/// A bar of the rows that were read.
pub(super) struct Watch {
    progress: SqlProgress,
    bar: Bar,
    look: Option<Interval>,
}

impl Watch {
    pub(super) fn new(progress: SqlProgress) -> Self {
        let bar = Bar::of_rows(progress.rows_in_tables().map(|rows| rows as u64));
        Watch { progress, bar, look: None }
    }

    /// The next rows of the statement.
    ///
    /// # Errors
    /// Those of [`Rows::next`].
    pub(super) async fn next(&mut self, rows: &mut Rows) -> Result<Option<RecordBatch>, SqlError> {
        let look = self.look.get_or_insert_with(|| {
            let mut look = interval(LOOK);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            look
        });
        loop {
            tokio::select! {
                biased;
                next = rows.next() => {
                    if !matches!(next, Ok(Some(_))) {
                        self.bar.clear();
                    }
                    return next;
                }
                _ = look.tick() => self.bar.show(self.progress.rows_read() as u64),
            }
        }
    }

    /// Takes the bar off the screen.
    pub(super) fn clear(&self) {
        self.bar.clear();
    }

    pub(super) fn progress(&self) -> &SqlProgress {
        &self.progress
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.clear();
    }
}
