//! Types that the caller gives to columns of text, in place of those that would be inferred.

use std::str::FromStr;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use std::sync::Arc;

/// Types given to columns by name, which overrule what the first rows suggest: `zip=string,delay=double`.
///
/// For CSV and NDJSON only; the other formats carry their types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types(Vec<(String, DataType)>);

const NAMES: &str = "boolean, tinyint, smallint, int, bigint, float, double, date, timestamp, string";

impl Types {
    /// The type given to a column.
    pub(super) fn of(&self, column: &str) -> Option<&DataType> {
        self.0.iter().rev().find(|(name, _)| name == column).map(|(_, data_type)| data_type)
    }

    /// `fields` with the types given.
    pub(super) fn overrule(&self, fields: impl IntoIterator<Item = Field>) -> Vec<FieldRef> {
        fields
            .into_iter()
            .map(|field| match self.of(field.name()) {
                Some(data_type) => Arc::new(field.with_data_type(data_type.clone())),
                None => Arc::new(field),
            })
            .collect()
    }

    /// The columns that types are given to, in the order given.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, &DataType)> {
        self.0.iter().map(|(name, data_type)| (name.as_str(), data_type))
    }
}

/// A comma list of `COLUMN=TYPE`, with SQL's names: boolean, tinyint, smallint, int, bigint, float, double, date,
/// timestamp (microseconds, without a zone), string.
impl FromStr for Types {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .filter(|part| !part.trim().is_empty())
            .map(|part| {
                let (name, data_type) =
                    part.rsplit_once('=').ok_or_else(|| format!("{part:?} is not COLUMN=TYPE; try delay=double"))?;
                Ok((name.trim().to_owned(), parse(data_type.trim())?))
            })
            .collect::<Result<_, _>>()
            .map(Types)
    }
}

fn parse(name: &str) -> Result<DataType, String> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "boolean" | "bool" => DataType::Boolean,
        "tinyint" => DataType::Int8,
        "smallint" => DataType::Int16,
        "int" | "integer" => DataType::Int32,
        "bigint" | "long" => DataType::Int64,
        "float" | "real" => DataType::Float32,
        "double" => DataType::Float64,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "string" | "varchar" | "text" => DataType::Utf8,
        _ => return Err(format!("no type is called {name:?}; try one of {NAMES}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_given_by_name() {
        let types: Types = "zip=string, delay=Double,a=b=int".parse().unwrap();
        assert_eq!(types.of("zip"), Some(&DataType::Utf8));
        assert_eq!(types.of("delay"), Some(&DataType::Float64));
        assert_eq!(types.of("a=b"), Some(&DataType::Int32));
        assert_eq!(types.of("other"), None);
        assert_eq!("".parse(), Ok(Types::default()));
        assert!("zip".parse::<Types>().unwrap_err().contains("COLUMN=TYPE"));
        assert!("zip=colour".parse::<Types>().unwrap_err().contains("one of boolean"));
    }
}
