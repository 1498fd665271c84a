//! Columns as lists of Python values.
//!
//! `pyarrow`'s own `to_pylist` makes an object of its own for each value before it makes the value; here the value is made
//! at once. Types that are rare are left to it.

use anyudf_worker::chrono::{Datelike, Timelike};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, DurationMicrosecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDate, PyDateTime, PyDelta, PyDict, PyList, PyString, PyTime};

use super::arrays::to_pyarrow;

/// A list of the values of a column; None where it is null.
pub(crate) fn list_of<'py>(py: Python<'py>, column: &ArrayRef) -> PyResult<Bound<'py, PyList>> {
    macro_rules! numbers {
        ($type:ty) => {{
            let array = column.as_primitive::<$type>();
            if array.null_count() == 0 {
                PyList::new(py, array.values().iter().copied())
            } else {
                PyList::new(py, array.iter())
            }
        }};
    }
    macro_rules! each {
        ($array:expr, $value:expr) => {{
            let array = $array;
            let value = $value;
            let values = (0..array.len()).map(|row| match array.is_valid(row) {
                true => value(array.value(row)).map(Some),
                false => Ok(None),
            });
            PyList::new(py, values.collect::<PyResult<Vec<Option<Bound<'_, PyAny>>>>>()?)
        }};
    }
    let text = |value: &str| Ok(PyString::new(py, value).into_any());
    let bytes = |value: &[u8]| Ok(PyBytes::new(py, value).into_any());
    match column.data_type() {
        DataType::Null => PyList::new(py, (0..column.len()).map(|_| py.None())),
        DataType::Boolean => {
            let array = column.as_boolean();
            PyList::new(py, array.iter())
        }
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::UInt8 => numbers!(UInt8Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt64 => numbers!(UInt64Type),
        DataType::Float16 => {
            let array = column.as_primitive::<Float16Type>();
            PyList::new(py, array.iter().map(|value| value.map(f32::from)).collect::<Vec<_>>())
        }
        DataType::Float32 => numbers!(Float32Type),
        DataType::Float64 => numbers!(Float64Type),
        DataType::Utf8 => each!(column.as_string::<i32>(), text),
        DataType::LargeUtf8 => each!(column.as_string::<i64>(), text),
        DataType::Utf8View => each!(column.as_string_view(), text),
        DataType::Binary => each!(column.as_binary::<i32>(), bytes),
        DataType::LargeBinary => each!(column.as_binary::<i64>(), bytes),
        DataType::BinaryView => each!(column.as_binary_view(), bytes),
        DataType::FixedSizeBinary(_) => each!(column.as_fixed_size_binary(), bytes),
        DataType::Date32 => {
            let array = column.as_primitive::<Date32Type>();
            let date = |row: usize| match array.value_as_date(row) {
                Some(date) => Ok(PyDate::new(py, year(date.year())?, date.month() as u8, date.day() as u8)?.into_any()),
                None => Err(out_of_range()),
            };
            rows(py, column, date)
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let array = column.as_primitive::<Time64MicrosecondType>();
            let time = |row: usize| match array.value_as_time(row) {
                Some(time) => {
                    let (hour, minute, second) = (time.hour() as u8, time.minute() as u8, time.second() as u8);
                    Ok(PyTime::new(py, hour, minute, second, time.nanosecond() / 1000, None)?.into_any())
                }
                None => Err(out_of_range()),
            };
            rows(py, column, time)
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let array = column.as_primitive::<TimestampMicrosecondType>();
            let moment = |row: usize| match array.value_as_datetime(row) {
                Some(moment) => {
                    let (date, micros) = (moment.date(), moment.nanosecond() / 1000);
                    let (month, day) = (date.month() as u8, date.day() as u8);
                    let (hour, minute, second) = (moment.hour() as u8, moment.minute() as u8, moment.second() as u8);
                    let made = PyDateTime::new(py, year(date.year())?, month, day, hour, minute, second, micros, None)?;
                    Ok(made.into_any())
                }
                None => Err(out_of_range()),
            };
            rows(py, column, moment)
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            let array = column.as_primitive::<DurationMicrosecondType>();
            const DAY: i64 = 86_400_000_000;
            let span = |row: usize| {
                let micros = array.value(row);
                let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
                let days = i32::try_from(days).map_err(|_| out_of_range())?;
                let (seconds, micros) = ((rest / 1_000_000) as i32, (rest % 1_000_000) as i32);
                Ok(PyDelta::new(py, days, seconds, micros, true)?.into_any())
            };
            rows(py, column, span)
        }
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            rows(py, column, |row| Ok(list_of(py, &lists.value(row))?.into_any()))
        }
        DataType::LargeList(_) => {
            let lists = column.as_list::<i64>();
            rows(py, column, |row| Ok(list_of(py, &lists.value(row))?.into_any()))
        }
        DataType::FixedSizeList(..) => {
            let lists = column.as_fixed_size_list();
            rows(py, column, |row| Ok(list_of(py, &lists.value(row))?.into_any()))
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns().iter();
            let columns = columns.map(|column| list_of(py, column)).collect::<PyResult<Vec<_>>>()?;
            let names: Vec<_> = fields.iter().map(|field| PyString::intern(py, field.name())).collect();
            rows(py, column, |row| {
                let value = PyDict::new(py);
                for (name, column) in names.iter().zip(&columns) {
                    value.set_item(name, column.get_item(row)?)?;
                }
                Ok(value.into_any())
            })
        }
        _ => Ok(to_pyarrow(py, column)?.call_method0("to_pylist")?.cast_into()?),
    }
}

/// A value for each row that is not null.
fn rows<'py>(
    py: Python<'py>,
    column: &ArrayRef,
    mut value: impl FnMut(usize) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let values = (0..column.len()).map(|row| match column.is_valid(row) {
        true => value(row).map(Some),
        false => Ok(None),
    });
    PyList::new(py, values.collect::<PyResult<Vec<_>>>()?)
}

/// A year that Python has.
fn year(year: i32) -> PyResult<i32> {
    if (1..=9999).contains(&year) { Ok(year) } else { Err(out_of_range()) }
}

fn out_of_range() -> PyErr {
    PyOverflowError::new_err("a date or time is beyond the years 1 to 9999, which are all that Python has")
}
