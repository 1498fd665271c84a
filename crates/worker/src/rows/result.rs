//! How what a function returns becomes a column.

use crate::error::{Error, Result};

use super::column::{Column, Gathered};
use super::list::ListColumn;

/// A type of which a column can be made, without nulls.
///
/// Derive it for a struct of such types with `#[derive(UdfStruct)]`. Implement it for a type of your own over the
/// [`Column`] of the type that it travels as.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the result of a `#[udf]`",
    label = "not a type that a column can be made of",
    note = "numbers, `bool`, `&str`, `String`, `&[u8]`, `Vec<u8>`, `chrono`'s dates and times, `Interval`, `Decimal<P, S>`, \
            `Vec<T>`, structs with `#[derive(UdfStruct)]`, `Option<T>` of each, and `Result<T, E>` of all that can be",
    note = "for whole Arrow arrays there is `#[udf(batch)]`"
)]
pub trait Value: Sized {
    /// What gathers a column of it.
    type Column: Column<Self>;
    /// What gathers a column of lists of it.
    type List: Column<Vec<Self>>;
}

/// What can be in one slot of a column: a [`Value`], or an `Option` of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the result of a `#[udf]`",
    label = "not a type that a column can be made of"
)]
pub trait Slot: Sized {
    /// What is in the column where it is not null.
    type Value: Value;
    /// What gathers a column of lists of it.
    type List: Column<Vec<Self>>;
    /// Whether it may be null.
    const NULLABLE: bool;

    /// The value, if there is one.
    fn into_value(self) -> Option<Self::Value>;

    /// Appends slots to a column.
    fn gather(slots: impl Iterator<Item = Self>, into: &mut Gathered<Self::Value>) {
        slots.for_each(|slot| into.push(slot.into_value()));
    }
}

impl<T: Value> Slot for T {
    type Value = T;
    type List = T::List;
    const NULLABLE: bool = false;

    #[inline]
    fn into_value(self) -> Option<T> {
        Some(self)
    }

    #[inline]
    fn gather(slots: impl Iterator<Item = T>, into: &mut Gathered<T>) {
        into.extend(slots);
    }
}

impl<T: Value> Slot for Option<T> {
    type Value = T;
    type List = ListColumn<Self>;
    const NULLABLE: bool = true;

    #[inline]
    fn into_value(self) -> Option<T> {
        self
    }
}

/// What a function of rows can return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the result of a `#[udf]`",
    label = "not a type that a column can be made of"
)]
pub trait Return: Sized {
    /// What is in the column where it is not null.
    type Value: Value;
    /// Whether the result may be null where no argument is.
    const NULLABLE: bool;

    /// Appends the results of rows, up to the first error.
    ///
    /// # Errors
    /// What the function returned as one.
    fn gather(rows: impl Iterator<Item = Self>, into: &mut Gathered<Self::Value>) -> Result<()>;
}

impl<S: Slot> Return for S {
    type Value = S::Value;
    const NULLABLE: bool = S::NULLABLE;

    #[inline]
    fn gather(rows: impl Iterator<Item = S>, into: &mut Gathered<S::Value>) -> Result<()> {
        S::gather(rows, into);
        Ok(())
    }
}

type Source = Box<dyn std::error::Error + Send + Sync>;

impl<S: Slot, E: Into<Source>> Return for Result<S, E> {
    type Value = S::Value;
    const NULLABLE: bool = S::NULLABLE;

    #[inline]
    fn gather(mut rows: impl Iterator<Item = Self>, into: &mut Gathered<S::Value>) -> Result<()> {
        rows.try_for_each(|result| match result {
            Ok(slot) => {
                into.push(slot.into_value());
                Ok(())
            }
            Err(error) => Err(Error::from(error.into())),
        })
    }
}

/// A result whose errors become nulls: `on_error = "null"`.
#[derive(Clone, Copy, Debug)]
pub struct OrNull<R>(pub R);

impl<S: Slot, E> Return for OrNull<Result<S, E>> {
    type Value = S::Value;
    const NULLABLE: bool = true;

    fn gather(rows: impl Iterator<Item = Self>, into: &mut Gathered<S::Value>) -> Result<()> {
        rows.for_each(|OrNull(result)| into.push(result.ok().and_then(Slot::into_value)));
        Ok(())
    }
}
