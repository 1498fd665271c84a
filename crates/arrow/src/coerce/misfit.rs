//! A value that does not fit.

use std::fmt;

/// The first value of a column that does not fit the type that is wanted.
///
/// [`Display`](fmt::Display) says what is wrong with it and, within lists and structs, where it is: `` `home.lat`: 300 is
/// out of range``, `` `[2]`: it is null, and nothing there may be``. It does not tell row and type, which whoever asked
/// knows best how to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    row: usize,
    /// Fields and items from the outermost inwards, as `home[2].lat`.
    path: String,
    why: String,
}

impl Misfit {
    pub(super) fn new(row: usize, why: impl ToString) -> Self {
        Misfit { row, path: String::new(), why: why.to_string() }
    }

    /// Its row in the column, counted from zero.
    pub fn row(&self) -> usize {
        self.row
    }

    /// The same, found in a struct's field.
    pub(super) fn in_field(self, name: &str) -> Self {
        self.below(name.into())
    }

    /// The same, found among the items of `row`, of which it is this one.
    pub(super) fn in_item(self, row: usize, item: usize) -> Self {
        Misfit { row, ..self.below(format!("[{item}]")) }
    }

    fn below(self, place: String) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        Misfit { path: format!("{place}{dot}{}", self.path), ..self }
    }

    /// The one of the earlier row.
    pub(super) fn first(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min_by_key(|misfit| misfit.row)
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for Misfit {}
