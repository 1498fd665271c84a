//! Dates, times, timestamps, durations and intervals: `chrono`'s types, since Arrow's own crates speak them already.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, DurationMicrosecondType, IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};

use crate::error::Result;

use super::Interval;
use super::argument::{Argument, Reader, Refusal, Slots};
use super::column::Column;
use super::list::{ListColumn, ListReader};
use super::number::fill;
use super::result::Value;

/// A column of numbers that mean something, each of which was looked at before.
pub struct Checked<'a, N> {
    values: &'a [N],
}

/// A type that travels as one of Arrow's, in one unit.
pub trait Temporal: Sized {
    /// Arrow's name for it.
    type Arrow: ArrowPrimitiveType;

    /// What it is called in errors.
    const WHAT: &str;

    /// The column's type.
    fn data_type() -> DataType {
        Self::Arrow::DATA_TYPE
    }

    /// From the number in the column, unless that is out of range.
    fn from_native(native: <Self::Arrow as ArrowPrimitiveType>::Native) -> Option<Self>;

    /// To the number in the column.
    fn into_native(self) -> <Self::Arrow as ArrowPrimitiveType>::Native;
}

impl<'a, T: Temporal> Reader<'a, T> for Checked<'a, <T::Arrow as ArrowPrimitiveType>::Native> {
    fn data_type() -> DataType {
        T::data_type()
    }

    fn new(slots: &Slots<'a, '_>) -> Result<Self, Refusal> {
        let values = &slots.downcast::<PrimitiveArray<T::Arrow>>(&T::data_type())?.values()[..];
        check(values, slots, T::WHAT, |value| T::from_native(value).is_some())?;
        Ok(Checked { values })
    }

    #[inline(always)]
    fn part(&self, rows: Range<usize>) -> Self {
        Checked { values: &self.values[rows] }
    }

    #[inline]
    fn read(&self, row: usize) -> T {
        T::from_native(self.values[row]).expect("`new` has looked at all that are read")
    }
}

/// Refuses values out of range, unless nobody reads them.
pub(super) fn check<N: Copy>(
    values: &[N],
    slots: &Slots<'_, '_>,
    what: &str,
    is_right: impl Fn(N) -> bool,
) -> Result<(), Refusal> {
    if values.iter().all(|&value| is_right(value)) {
        return Ok(());
    }
    slots.refuse(|slot| !is_right(values[slot]), || format!("{what} is out of range"))
}

impl Temporal for NaiveDate {
    type Arrow = Date32Type;
    const WHAT: &str = "the date";

    fn from_native(days: i32) -> Option<Self> {
        NaiveDate::from_epoch_days(days)
    }

    fn into_native(self) -> i32 {
        self.to_epoch_days()
    }
}

impl Temporal for NaiveTime {
    type Arrow = Time64MicrosecondType;
    const WHAT: &str = "the time of day";

    fn from_native(micros: i64) -> Option<Self> {
        let seconds = u32::try_from(micros.div_euclid(1_000_000)).ok()?;
        let nanos = u32::try_from(micros.rem_euclid(1_000_000) * 1_000).ok()?;
        NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos)
    }

    /// A leap second is the last microsecond of the one before it: Arrow's days have none.
    fn into_native(self) -> i64 {
        let micros = (self.nanosecond() / 1_000).min(999_999);
        i64::from(self.num_seconds_from_midnight()) * 1_000_000 + i64::from(micros)
    }
}

impl Temporal for TimeDelta {
    type Arrow = DurationMicrosecondType;
    const WHAT: &str = "the duration";

    fn from_native(micros: i64) -> Option<Self> {
        Some(TimeDelta::microseconds(micros))
    }

    fn into_native(self) -> i64 {
        self.num_microseconds().expect("one that does not fit is refused before it is put into a column")
    }
}

impl Temporal for Interval {
    type Arrow = IntervalMonthDayNanoType;
    const WHAT: &str = "the interval";

    fn from_native(interval: Interval) -> Option<Self> {
        Some(interval)
    }

    fn into_native(self) -> Interval {
        self
    }
}

impl Temporal for NaiveDateTime {
    type Arrow = TimestampMicrosecondType;
    const WHAT: &str = "the timestamp";

    fn from_native(micros: i64) -> Option<Self> {
        DateTime::from_timestamp_micros(micros).map(|instant| instant.naive_utc())
    }

    fn into_native(self) -> i64 {
        self.and_utc().timestamp_micros()
    }
}

impl Temporal for DateTime<Utc> {
    type Arrow = TimestampMicrosecondType;
    const WHAT: &str = "the timestamp";

    fn data_type() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }

    fn from_native(micros: i64) -> Option<Self> {
        DateTime::from_timestamp_micros(micros)
    }

    fn into_native(self) -> i64 {
        self.timestamp_micros()
    }
}

/// A column of timestamps of whatever unit.
pub struct TimestampReader<'a> {
    values: &'a [i64],
    unit: TimeUnit,
}

/// The instant that a number of units after 1970 is.
fn instant(value: i64, unit: TimeUnit) -> Option<DateTime<Utc>> {
    match unit {
        TimeUnit::Second => DateTime::from_timestamp(value, 0),
        TimeUnit::Millisecond => DateTime::from_timestamp_millis(value),
        TimeUnit::Microsecond => DateTime::from_timestamp_micros(value),
        TimeUnit::Nanosecond => Some(DateTime::from_timestamp_nanos(value)),
    }
}

impl<'a> TimestampReader<'a> {
    fn of(slots: &Slots<'a, '_>, wanted: &DataType) -> Result<Self, Refusal> {
        let array = slots.array();
        let &DataType::Timestamp(unit, _) = array.data_type() else {
            return Err(Refusal::column(format!("it is {}, not {wanted}", array.data_type())));
        };
        let values: &'a [i64] = match unit {
            TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
            TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
            TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
            TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
        };
        check(values, slots, "the timestamp", |value| instant(value, unit).is_some())?;
        Ok(TimestampReader { values, unit })
    }

    #[inline]
    fn at(&self, row: usize) -> DateTime<Utc> {
        instant(self.values[row], self.unit).expect("`of` has looked at all that are read")
    }
}

macro_rules! timestamp {
    ($type:ty, $of:expr) => {
        impl<'a> Reader<'a, $type> for TimestampReader<'a> {
            const TAKES_ALIKE: bool = true;

            fn data_type() -> DataType {
                <$type as Temporal>::data_type()
            }

            fn new(slots: &Slots<'a, '_>) -> Result<Self, Refusal> {
                TimestampReader::of(slots, &<$type as Temporal>::data_type())
            }

            fn part(&self, rows: Range<usize>) -> Self {
                TimestampReader { values: &self.values[rows], unit: self.unit }
            }

            #[inline]
            fn read(&self, row: usize) -> $type {
                $of(self.at(row))
            }
        }

        impl<'a> Argument<'a> for $type {
            type Reader = TimestampReader<'a>;
            type List = ListReader<'a, Self>;
        }
    };
}

timestamp!(DateTime<Utc>, |instant| instant);
timestamp!(NaiveDateTime, |instant: DateTime<Utc>| instant.naive_utc());

/// A column of such values.
pub struct TemporalColumn<T: Temporal>(Vec<<T::Arrow as ArrowPrimitiveType>::Native>);

impl<T: Temporal> Column<T> for TemporalColumn<T> {
    fn data_type() -> DataType {
        T::data_type()
    }

    fn with_capacity(rows: usize) -> Self {
        TemporalColumn(Vec::with_capacity(rows))
    }

    #[inline]
    fn push(&mut self, value: T) {
        self.0.push(value.into_native());
    }

    fn push_nulls(&mut self, count: usize) {
        self.0.resize(self.0.len() + count, Default::default());
    }

    #[inline(always)]
    fn fill(&mut self, count: usize, mut value: impl FnMut(usize) -> T) {
        fill(&mut self.0, count, |place| value(place).into_native());
    }

    fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let array = PrimitiveArray::<T::Arrow>::try_new(self.0.into(), nulls)?;
        Ok(Arc::new(array.with_data_type(T::data_type())))
    }
}

macro_rules! argument {
    ($($type:ty, $native:ty);+) => {
        $(
            impl<'a> Argument<'a> for $type {
                type Reader = Checked<'a, $native>;
                type List = ListReader<'a, Self>;
            }
        )+
    };
}

argument!(NaiveDate, i32; NaiveTime, i64; TimeDelta, i64; Interval, Interval);

macro_rules! value {
    ($($type:ty),+) => {
        $(
            impl Value for $type {
                type Column = TemporalColumn<Self>;
                type List = ListColumn<Self>;
            }
        )+
    };
}

value!(NaiveDate, NaiveTime, Interval, NaiveDateTime, DateTime<Utc>);

impl Value for TimeDelta {
    type Column = TemporalColumn<Self>;
    type List = ListColumn<Self>;
    const MAY_BE_UNFIT: bool = true;

    fn unfit(&self) -> Option<String> {
        let text = "the duration is out of range: a column counts microseconds, up to 292,000 years";
        self.num_microseconds().is_none().then(|| text.into())
    }
}
