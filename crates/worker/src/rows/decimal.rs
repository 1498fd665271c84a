//! Decimal numbers.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};

use crate::error::Result;

use super::argument::{Argument, Reader, Refusal, Slots};
use super::column::Column;
use super::list::{ListColumn, ListReader};
use super::number::{Numbers, fill};
use super::result::Value;
use super::temporal::check;

/// A decimal number of `P` digits, `S` of them behind the point: SQL's `DECIMAL(P, S)`, Arrow's Decimal128.
///
/// ```
/// use anyudf_worker::rows::Decimal;
///
/// let price = Decimal::<9, 2>::new(-12_05).unwrap();
/// assert_eq!(price.to_string(), "-12.05");
/// assert_eq!(price.unscaled(), -1205);
/// assert!(Decimal::<3, 2>::new(10_00).is_none(), "four digits are more than three");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const P: u8, const S: i8>(i128);

impl<const P: u8, const S: i8> Decimal<P, S> {
    /// Is named by every use of the type, so that one that Arrow does not have does not compile.
    const IS_ARROWS: () = assert!(
        P > 0 && P <= DECIMAL128_MAX_PRECISION && S as i16 <= P as i16,
        "a `Decimal<P, S>` has 1 to 38 digits, and not more behind the point than altogether"
    );

    /// `unscaled` units of the last digit; `None` when it has more than `P` digits.
    pub fn new(unscaled: i128) -> Option<Self> {
        let () = Self::IS_ARROWS;
        (unscaled.unsigned_abs() < 10_u128.pow(u32::from(P))).then_some(Decimal(unscaled))
    }

    /// The number in units of its last digit.
    pub fn unscaled(self) -> i128 {
        self.0
    }
}

impl<const P: u8, const S: i8> fmt::Display for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.unsigned_abs().to_string();
        let text = match usize::try_from(S) {
            Ok(0) => digits,
            Ok(scale) => {
                let digits = format!("{digits:0>width$}", width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                format!("{whole}.{fraction}")
            }
            Err(_) if self.0 == 0 => digits,
            Err(_) => digits + &"0".repeat(usize::from(S.unsigned_abs())),
        };
        f.pad_integral(self.0 >= 0, "", &text)
    }
}

impl<'a, const P: u8, const S: i8> Argument<'a> for Decimal<P, S> {
    type Reader = Numbers<'a, i128>;
    type List = ListReader<'a, Self>;
}

impl<'a, const P: u8, const S: i8> Reader<'a, Decimal<P, S>> for Numbers<'a, i128> {
    fn data_type() -> DataType {
        let () = Decimal::<P, S>::IS_ARROWS;
        DataType::Decimal128(P, S)
    }

    fn new(slots: &Slots<'a, '_>) -> Result<Self, Refusal> {
        let wanted = DataType::Decimal128(P, S);
        let array = slots.downcast::<Decimal128Array>(&wanted)?;
        if array.data_type() != &wanted {
            return Err(Refusal::column(format!("it is {}, not {wanted}", array.data_type())));
        }
        // Arrow does not look whether a number has the digits of its type.
        check(array.values(), slots, "the decimal", |unscaled| Decimal::<P, S>::new(unscaled).is_some())?;
        Ok(Numbers(array.values()))
    }

    #[inline(always)]
    fn part(&self, rows: Range<usize>) -> Self {
        Numbers(&self.0[rows])
    }

    #[inline(always)]
    fn read(&self, row: usize) -> Decimal<P, S> {
        Decimal(self.0[row])
    }
}

/// A column of decimal numbers.
pub struct DecimalColumn<const P: u8, const S: i8>(Vec<i128>);

impl<const P: u8, const S: i8> Column<Decimal<P, S>> for DecimalColumn<P, S> {
    fn data_type() -> DataType {
        let () = Decimal::<P, S>::IS_ARROWS;
        DataType::Decimal128(P, S)
    }

    fn with_capacity(rows: usize) -> Self {
        DecimalColumn(Vec::with_capacity(rows))
    }

    #[inline]
    fn push(&mut self, value: Decimal<P, S>) {
        self.0.push(value.0);
    }

    fn push_nulls(&mut self, count: usize) {
        self.0.resize(self.0.len() + count, 0);
    }

    #[inline(always)]
    fn fill(&mut self, count: usize, mut value: impl FnMut(usize) -> Decimal<P, S>) {
        fill(&mut self.0, count, |place| value(place).unscaled());
    }

    fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        Ok(Arc::new(Decimal128Array::try_new(self.0.into(), nulls)?.with_precision_and_scale(P, S)?))
    }
}

impl<const P: u8, const S: i8> Value for Decimal<P, S> {
    type Column = DecimalColumn<P, S>;
    type List = ListColumn<Self>;
}
