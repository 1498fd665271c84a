//! How a type becomes an argument: a reader over a column, and a value for each row.

use std::any::Any;
use std::ops::Range;

use anyudf_arrow::catalog::TAKES_ALIKE;
use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};

use crate::error::{Error, Result};
use crate::panics::Row;

/// A type that a function of rows can take. `'a` is how long the batch lives, for types that borrow from it.
///
/// Derive it for a struct of such types with `#[derive(UdfStruct)]`. Implement it for a type of your own over the
/// [`Reader`] of the type that it travels as. A function that takes anything else does not compile:
/// ```compile_fail,E0277
/// #[anyudf_worker::udf]
/// fn depth(path: std::path::PathBuf) -> i64 {
///     path.components().count() as i64
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be an argument of a `#[udf]`",
    label = "not a type that a column can be read as",
    note = "numbers, `bool`, `&str`, `String`, `&[u8]`, `Vec<u8>`, `chrono`'s dates and times, `Interval`, `Decimal<P, S>`, \
            `Vec<T>`, structs with `#[derive(UdfStruct)]`, and `Option<T>` of each can be",
    note = "for whole Arrow arrays there is `#[udf(batch)]`"
)]
pub trait Argument<'a>: Sized {
    /// What reads a column of it.
    type Reader: Reader<'a, Self>;
    /// What reads a column of lists of it.
    type List: Reader<'a, Vec<Self>>;
    /// Whether null is a value of it. Where it is not, the function is not called for a null.
    const TAKES_NULL: bool = false;
}

/// A column, ready to be read.
pub trait Reader<'a, T>: Sized {
    /// The column's type.
    fn data_type() -> DataType;

    /// Whether alike types will do, see [`takes`](anyudf_arrow::catalog::takes).
    const TAKES_ALIKE: bool = false;

    /// Looks at a column once, before its rows are read: everything that could go wrong goes wrong here.
    ///
    /// # Errors
    /// The column is of another type, or a slot that will be read has no value of `T`.
    fn new(slots: &Slots<'a, '_>) -> Result<Self, Refusal>;

    /// These rows of the column, counted from 0 again. It costs nothing, and lets the compiler see that rows are within bounds.
    fn part(&self, rows: Range<usize>) -> Self;

    /// The value of a row: one that [`new`](Self::new) was told would be read.
    fn read(&self, row: usize) -> T;
}

/// A column, and which of its slots will be read.
pub struct Slots<'a, 'l> {
    array: &'a dyn Array,
    read: &'l dyn Fn() -> Option<NullBuffer>,
}

impl<'a, 'l> Slots<'a, 'l> {
    /// `read` is asked where it matters only: which slots will be read, `None` for all.
    pub fn new(array: &'a dyn Array, read: &'l dyn Fn() -> Option<NullBuffer>) -> Self {
        Slots { array, read }
    }

    /// The column.
    pub fn array(&self) -> &'a dyn Array {
        self.array
    }

    /// The column as the array that it must be.
    ///
    /// # Errors
    /// When it is another.
    pub fn downcast<A: Array + 'static>(&self, wanted: &DataType) -> Result<&'a A, Refusal> {
        let found = (self.array.as_any() as &dyn Any).downcast_ref();
        found.ok_or_else(|| Refusal::column(format!("it is {}, not {wanted}", self.array.data_type())))
    }

    /// Which slots will be read; `None` for all.
    pub fn read(&self) -> Option<NullBuffer> {
        (self.read)()
    }

    /// Fails at the slots that will be read and that are wrong.
    ///
    /// # Errors
    /// With `text` at all these slots.
    pub fn refuse(&self, is_wrong: impl Fn(usize) -> bool, text: impl Fn() -> String) -> Result<(), Refusal> {
        let read = self.read();
        let is_read = |slot: &usize| read.as_ref().is_none_or(|read| read.is_valid(*slot));
        let slots: Vec<_> = (0..self.array.len()).filter(is_read).filter(|&slot| is_wrong(slot)).collect();
        if slots.is_empty() { Ok(()) } else { Err(Refusal { slots, text: text() }) }
    }

    /// Fails at the slots that will be read and are null.
    ///
    /// # Errors
    /// With a text that says what to do.
    pub fn refuse_nulls(&self, what: &str) -> Result<(), Refusal> {
        let Some(nulls) = self.array.logical_nulls().filter(|nulls| nulls.null_count() > 0) else { return Ok(()) };
        let text = || format!("{what} is null, which the function does not take; make it an `Option`");
        self.refuse(|slot| nulls.is_null(slot), text)
    }
}

/// Why a column can't be read, and at which of its slots.
#[derive(Debug)]
pub struct Refusal {
    /// In order; none when it is the whole column.
    slots: Vec<usize>,
    text: String,
}

impl Refusal {
    /// The whole column can't.
    pub fn column(text: impl Into<String>) -> Self {
        Refusal { slots: Vec::new(), text: text.into() }
    }

    /// The same, found in a column of items; `owner` says to which slot of the outer one an item belongs, in the same order.
    pub fn of_item(self, owner: impl Fn(usize) -> usize) -> Self {
        let mut slots: Vec<_> = self.slots.into_iter().map(owner).collect();
        slots.dedup();
        Refusal { slots, text: self.text }
    }

    /// The same, its text led by where it is.
    pub fn within(self, place: &str) -> Self {
        Refusal { text: format!("{place}: {}", self.text), ..self }
    }

    /// The slots that can't be read; none when it is the whole column.
    pub(super) fn slots(&self) -> &[usize] {
        &self.slots
    }

    /// What is wrong with each of them.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// As the error of a function, `before` rows into the execution.
    pub(crate) fn into_error(self, before: u64) -> Error {
        let error = Error::user(self.text).with_class("UNREADABLE_ARGUMENT");
        match self.slots.first() {
            Some(&slot) => error.at(Row { of_batch: slot as u64, of_execution: before + slot as u64 }),
            None => error,
        }
    }
}

/// The column of an `Option`.
pub struct MaybeNull<'a, R> {
    nulls: Option<&'a NullBuffer>,
    /// The first row's place among the nulls.
    start: usize,
    reader: R,
}

impl<'a, T: Argument<'a>> Argument<'a> for Option<T> {
    type Reader = MaybeNull<'a, T::Reader>;
    type List = super::list::ListReader<'a, Self>;
    const TAKES_NULL: bool = true;
}

impl<'a, T: Argument<'a>> Reader<'a, Option<T>> for MaybeNull<'a, T::Reader> {
    const TAKES_ALIKE: bool = T::Reader::TAKES_ALIKE;

    fn data_type() -> DataType {
        T::Reader::data_type()
    }

    fn new(slots: &Slots<'a, '_>) -> Result<Self, Refusal> {
        // No type of ours is kept in an array whose nulls are elsewhere, such as a dictionary.
        let nulls = slots.array().nulls().filter(|nulls| nulls.null_count() > 0);
        let read = || NullBuffer::union(nulls, slots.read().as_ref());
        let reader = T::Reader::new(&Slots::new(slots.array(), &read))?;
        Ok(MaybeNull { nulls, start: 0, reader })
    }

    #[inline(always)]
    fn part(&self, rows: Range<usize>) -> Self {
        MaybeNull { nulls: self.nulls, start: self.start + rows.start, reader: self.reader.part(rows) }
    }

    #[inline]
    fn read(&self, row: usize) -> Option<T> {
        let is_value = self.nulls.is_none_or(|nulls| nulls.is_valid(self.start + row));
        is_value.then(|| self.reader.read(row))
    }
}

/// The field of an argument.
pub(super) fn field<'a, T: Argument<'a>>(name: &str) -> Field {
    let field = Field::new(name, T::Reader::data_type(), true);
    match T::Reader::TAKES_ALIKE {
        true => field.with_metadata([(TAKES_ALIKE.to_owned(), "true".to_owned())].into()),
        false => field,
    }
}

/// All arguments of a function: a tuple of [`Argument`]s.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the arguments of a `#[udf]`",
    note = "a function takes up to 12 arguments, each of a type that a column can be read as"
)]
pub trait Arguments<'a>: Sized {
    /// What reads the columns.
    type Readers;

    /// A field for each, named in order.
    fn fields(names: &[&str]) -> Vec<Field>;

    /// The rows for which the function is not called.
    fn nulls(columns: &[ArrayRef]) -> Option<NullBuffer>;

    /// Looks at the columns; `read` says for which rows the function is called.
    ///
    /// # Errors
    /// As [`Reader::new`], or when there are not as many columns as arguments.
    fn readers(columns: &'a [ArrayRef], read: Option<&NullBuffer>) -> Result<Self::Readers, Refusal>;

    /// As [`Reader::part`].
    fn part(readers: &Self::Readers, rows: Range<usize>) -> Self::Readers;

    /// The arguments of a row.
    fn read(readers: &Self::Readers, row: usize) -> Self;
}

/// The nulls of a column, unless its type takes them.
fn nulls_of<'a, T: Argument<'a>>(column: &ArrayRef) -> Option<NullBuffer> {
    if T::TAKES_NULL { None } else { column.logical_nulls() }
}

fn reader<'a, T: Argument<'a>>(
    column: &'a ArrayRef,
    position: usize,
    read: Option<&NullBuffer>,
) -> Result<T::Reader, Refusal> {
    let read = || read.cloned();
    T::Reader::new(&Slots::new(column.as_ref(), &read))
        .map_err(|refusal| refusal.within(&format!("argument {}", position + 1)))
}

macro_rules! tuple {
    ($count:literal $($type:ident $position:tt)*) => {
        impl<'a, $($type: Argument<'a>),*> Arguments<'a> for ($($type,)*) {
            type Readers = ($($type::Reader,)*);

            #[allow(unused_variables, reason = "there may be no arguments")]
            fn fields(names: &[&str]) -> Vec<Field> {
                vec![$(field::<$type>(names[$position])),*]
            }

            #[allow(unused_variables, reason = "there may be no arguments")]
            fn nulls(columns: &[ArrayRef]) -> Option<NullBuffer> {
                let nulls: [Option<NullBuffer>; $count] = [$(columns.get($position).and_then(nulls_of::<$type>)),*];
                NullBuffer::union_many(nulls.iter().map(Option::as_ref))
            }

            #[allow(unused_variables, reason = "there may be no arguments")]
            fn readers(columns: &'a [ArrayRef], read: Option<&NullBuffer>) -> Result<Self::Readers, Refusal> {
                if columns.len() != $count {
                    return Err(Refusal::column(format!("{} columns for {} arguments", columns.len(), $count)));
                }
                Ok(($(reader::<$type>(&columns[$position], $position, read)?,)*))
            }

            #[inline(always)]
            #[allow(unused_variables, reason = "there may be no arguments")]
            #[allow(clippy::unused_unit, reason = "there may be no arguments")]
            fn part(readers: &Self::Readers, rows: Range<usize>) -> Self::Readers {
                ($(readers.$position.part(rows.clone()),)*)
            }

            #[inline(always)]
            #[allow(unused_variables, reason = "there may be no arguments")]
            #[allow(clippy::unused_unit, reason = "there may be no arguments")]
            fn read(readers: &Self::Readers, row: usize) -> Self {
                ($(readers.$position.read(row),)*)
            }
        }
    };
}

tuple!(0);
tuple!(1 A 0);
tuple!(2 A 0 B 1);
tuple!(3 A 0 B 1 C 2);
tuple!(4 A 0 B 1 C 2 D 3);
tuple!(5 A 0 B 1 C 2 D 3 E 4);
tuple!(6 A 0 B 1 C 2 D 3 E 4 F 5);
tuple!(7 A 0 B 1 C 2 D 3 E 4 F 5 G 6);
tuple!(8 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7);
tuple!(9 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8);
tuple!(10 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9);
tuple!(11 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10);
tuple!(12 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11);
