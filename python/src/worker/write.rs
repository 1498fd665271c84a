//! Lists of Python values as columns, for the types that nearly all results have.
//!
//! Everything else, and values that are not quite of the type, are `pyarrow`'s to convert, which knows more and says more.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow::datatypes::DataType;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyString};

/// A column of the values; `None` where it does not convert them.
pub(crate) fn column_of(values: &Bound<'_, PyList>, wanted: &DataType) -> Option<ArrayRef> {
    macro_rules! column {
        ($builder:expr, $value:expr) => {{
            let mut builder = $builder;
            let value = $value;
            for item in values.iter() {
                if item.is_none() {
                    builder.append_null();
                } else {
                    value(&mut builder, &item)?;
                }
            }
            Some(Arc::new(builder.finish()) as ArrayRef)
        }};
    }
    let rows = values.len();
    match wanted {
        DataType::Float64 => {
            column!(Float64Builder::with_capacity(rows), |builder: &mut Float64Builder, item: &Bound<'_, PyAny>| {
                builder.append_value(Bound::cast_exact::<PyFloat>(item).ok()?.value());
                Some(())
            })
        }
        DataType::Int64 => {
            column!(Int64Builder::with_capacity(rows), |builder: &mut Int64Builder, item: &Bound<'_, PyAny>| {
                builder.append_value(Bound::cast_exact::<PyInt>(item).ok()?.extract().ok()?);
                Some(())
            })
        }
        DataType::Boolean => {
            column!(BooleanBuilder::with_capacity(rows), |builder: &mut BooleanBuilder, item: &Bound<'_, PyAny>| {
                builder.append_value(Bound::cast_exact::<PyBool>(item).ok()?.is_true());
                Some(())
            })
        }
        DataType::Utf8 => {
            column!(
                StringBuilder::with_capacity(rows, 16 * rows),
                |builder: &mut StringBuilder, item: &Bound<'_, PyAny>| {
                    let text = Bound::cast_exact::<PyString>(item).ok()?.to_str().ok()?;
                    // Offsets have 32 bits; what is longer is told in pyarrow's words.
                    if builder.values_slice().len() + text.len() > i32::MAX as usize {
                        return None;
                    }
                    builder.append_value(text);
                    Some(())
                }
            )
        }
        _ => None,
    }
}
