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
    /// Whether a value may be one that the column can't hold. Where it is, each is asked before it is put there.
    const MAY_BE_UNFIT: bool = false;

    /// Why the column can't hold it, if it can't: then its row fails. Asked only where [`MAY_BE_UNFIT`](Self::MAY_BE_UNFIT).
    fn unfit(&self) -> Option<String> {
        None
    }
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

    /// The value by reference, if there is one.
    fn value(&self) -> Option<&Self::Value>;

    /// Appends `count` slots to a column: what `slot` gives for 0, 1, 2 …
    #[inline(always)]
    fn fill(count: usize, mut slot: impl FnMut(usize) -> Self, into: &mut Gathered<Self::Value>) {
        for place in 0..count {
            into.push(slot(place).into_value());
        }
    }

    /// The same where `is_value` says so, and nulls elsewhere.
    #[inline(always)]
    fn fill_where(
        count: usize,
        is_value: impl Fn(usize) -> bool,
        mut slot: impl FnMut(usize) -> Self,
        into: &mut Gathered<Self::Value>,
    ) {
        for place in 0..count {
            into.push(if is_value(place) { slot(place).into_value() } else { None });
        }
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
    fn value(&self) -> Option<&T> {
        Some(self)
    }

    #[inline(always)]
    fn fill(count: usize, slot: impl FnMut(usize) -> T, into: &mut Gathered<T>) {
        into.fill(count, slot);
    }

    #[inline(always)]
    fn fill_where(
        count: usize,
        is_value: impl Fn(usize) -> bool,
        slot: impl FnMut(usize) -> T,
        into: &mut Gathered<T>,
    ) {
        into.fill_where(count, is_value, slot);
    }
}

impl<T: Value> Slot for Option<T> {
    type Value = T;
    type List = ListColumn<Self>;
    const NULLABLE: bool = true;

    #[inline(always)]
    fn fill(count: usize, slot: impl FnMut(usize) -> Self, into: &mut Gathered<T>) {
        into.fill_or_null(count, slot);
    }

    #[inline]
    fn into_value(self) -> Option<T> {
        self
    }

    #[inline]
    fn value(&self) -> Option<&T> {
        self.as_ref()
    }
}

/// What is in a slot, once it is known that the column can hold it.
///
/// # Errors
/// When it can't.
#[inline]
pub(super) fn fitting<S: Slot>(slot: S) -> Result<Option<S::Value>> {
    if S::Value::MAY_BE_UNFIT
        && let Some(text) = unfit(&slot)
    {
        return Err(Error::user(text).with_class(VALUE_OUT_OF_RANGE));
    }
    Ok(slot.into_value())
}

/// Why a column can't hold what is in a slot.
pub(super) fn unfit<S: Slot>(slot: &S) -> Option<String> {
    slot.value().and_then(Value::unfit)
}

/// A result that its column can't hold.
const VALUE_OUT_OF_RANGE: &str = "VALUE_OUT_OF_RANGE";

/// What a function of rows can return. One that returns anything else does not compile:
/// ```compile_fail,E0277
/// #[anyudf_worker::udf]
/// fn path(text: &str) -> std::path::PathBuf {
///     text.into()
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the result of a `#[udf]`",
    label = "not a type that a column can be made of"
)]
pub trait Return: Sized {
    /// What is in the column where it is not null.
    type Value: Value;
    /// Whether the result may be null where no argument is.
    const NULLABLE: bool;

    /// Appends it to a column.
    ///
    /// # Errors
    /// What the function returned as one.
    fn push(self, into: &mut Gathered<Self::Value>) -> Result<()>;

    /// Appends the results of `count` rows, what `row` gives for 0, 1, 2 …, up to the first error.
    ///
    /// # Errors
    /// What the function returned as one.
    #[inline(always)]
    fn fill(count: usize, mut row: impl FnMut(usize) -> Self, into: &mut Gathered<Self::Value>) -> Result<()> {
        (0..count).try_for_each(|place| row(place).push(into))
    }

    /// The same where `is_value` says so, and nulls elsewhere.
    ///
    /// # Errors
    /// What the function returned as one.
    #[inline(always)]
    fn fill_where(
        count: usize,
        is_value: impl Fn(usize) -> bool,
        mut row: impl FnMut(usize) -> Self,
        into: &mut Gathered<Self::Value>,
    ) -> Result<()> {
        (0..count).try_for_each(|place| {
            if is_value(place) {
                row(place).push(into)
            } else {
                into.push_nulls(1);
                Ok(())
            }
        })
    }
}

impl<S: Slot> Return for S {
    type Value = S::Value;
    const NULLABLE: bool = S::NULLABLE;

    #[inline]
    fn push(self, into: &mut Gathered<S::Value>) -> Result<()> {
        into.push(fitting(self)?);
        Ok(())
    }

    #[inline(always)]
    fn fill(count: usize, mut row: impl FnMut(usize) -> S, into: &mut Gathered<S::Value>) -> Result<()> {
        if S::Value::MAY_BE_UNFIT {
            return (0..count).try_for_each(|place| Return::push(row(place), into));
        }
        S::fill(count, row, into);
        Ok(())
    }

    #[inline(always)]
    fn fill_where(
        count: usize,
        is_value: impl Fn(usize) -> bool,
        mut row: impl FnMut(usize) -> S,
        into: &mut Gathered<S::Value>,
    ) -> Result<()> {
        if S::Value::MAY_BE_UNFIT {
            return (0..count).try_for_each(|place| {
                into.push(if is_value(place) { fitting(row(place))? } else { None });
                Ok(())
            });
        }
        S::fill_where(count, is_value, row, into);
        Ok(())
    }
}

pub(super) type Source = Box<dyn std::error::Error + Send + Sync>;

impl<S: Slot, E: Into<Source>> Return for Result<S, E> {
    type Value = S::Value;
    const NULLABLE: bool = S::NULLABLE;

    #[inline]
    fn push(self, into: &mut Gathered<S::Value>) -> Result<()> {
        match self {
            Ok(slot) => {
                into.push(fitting(slot)?);
                Ok(())
            }
            Err(error) => Err(Error::from(error.into())),
        }
    }
}
