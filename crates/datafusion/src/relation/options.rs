//! Constants of a query as a function's options.

use std::hash::{Hash, Hasher};

use anyudf_arrow::catalog::Entry;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use serde_json::{Map, Number, Value};

/// Options by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options(Map<String, Value>);

impl Eq for Options {}

impl Hash for Options {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
        self.0.keys().for_each(|name| name.hash(state));
    }
}

impl From<Map<String, Value>> for Options {
    fn from(options: Map<String, Value>) -> Self {
        Options(options)
    }
}

impl Options {
    pub(crate) fn as_json(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Adds one that was given by name.
    ///
    /// # Errors
    /// It is no constant, or was given already.
    pub(crate) fn add_named(&mut self, function: &str, name: String, value: Expr) -> Result<()> {
        let value = json(function, constant(function, value)?)?;
        self.insert(function, name, value)
    }

    /// Adds the one at this place: what the catalog calls it. To a function whose catalog names none, one text is all of them,
    /// as a JSON object.
    ///
    /// # Errors
    /// It is no constant, or of another type, or there is none at this place.
    pub(crate) fn add_placed(&mut self, function: &str, entry: &Entry, place: usize, value: Expr) -> Result<()> {
        let value = constant(function, value)?;
        let names = entry.arguments.iter().flat_map(|arguments| arguments.fields()).collect::<Vec<_>>();
        if let Some(field) = names.get(place) {
            let value = value.cast_to(field.data_type()).map_err(|error| {
                let (name, wanted) = (field.name(), field.data_type());
                error.context(format!("argument {} (`{name}`) of `{function}` is {wanted}", place + 1))
            })?;
            return self.insert(function, field.name().clone(), json(function, value)?);
        }
        let object = value.try_as_str().flatten().and_then(|text| serde_json::from_str(text).ok());
        match (object, names.len()) {
            (Some(Value::Object(options)), 0) if place == 0 => {
                self.0.extend(options);
                Ok(())
            }
            (_, 0) => plan_err!(
                "`{function}` takes its options by name, as in {function}(name => value), or as one JSON object"
            ),
            (_, count) => plan_err!("`{function}` takes {count} arguments, and argument {} was given", place + 1),
        }
    }

    fn insert(&mut self, function: &str, name: String, value: Value) -> Result<()> {
        if self.0.contains_key(&name) {
            return plan_err!("`{name}` was given to `{function}` twice");
        }
        self.0.insert(name, value);
        Ok(())
    }
}

fn constant(function: &str, value: Expr) -> Result<ScalarValue> {
    match ExprSimplifier::new(SimplifyContext::builder().build()).simplify(value)? {
        Expr::Literal(value, _) => Ok(value),
        other => {
            plan_err!("`{other}` is given to `{function}`, and what a table or map function is given must be constant")
        }
    }
}

fn json(function: &str, value: ScalarValue) -> Result<Value> {
    use ScalarValue::*;
    if value.is_null() {
        return Ok(Value::Null);
    }
    Ok(match &value {
        Boolean(Some(value)) => Value::Bool(*value),
        Int8(Some(value)) => (*value).into(),
        Int16(Some(value)) => (*value).into(),
        Int32(Some(value)) => (*value).into(),
        Int64(Some(value)) => (*value).into(),
        UInt8(Some(value)) => (*value).into(),
        UInt16(Some(value)) => (*value).into(),
        UInt32(Some(value)) => (*value).into(),
        UInt64(Some(value)) => (*value).into(),
        Float32(Some(value)) => float(function, f64::from(*value))?,
        Float64(Some(value)) => float(function, *value)?,
        List(list) => {
            let items = (0..list.value(0).len()).map(|place| ScalarValue::try_from_array(&list.value(0), place));
            let items = items.map(|item| json(function, item?)).collect::<Result<Vec<_>>>()?;
            Value::Array(items)
        }
        other => match other.try_as_str() {
            Some(text) => text.into(),
            // Dates, times and decimals, as SQL writes them.
            None => match other.cast_to(&DataType::Utf8)? {
                Utf8(text) => text.into(),
                _ => return plan_err!("a {} can't be an option of `{function}`", other.data_type()),
            },
        },
    })
}

fn float(function: &str, value: f64) -> Result<Value> {
    match Number::from_f64(value) {
        Some(number) => Ok(Value::Number(number)),
        None => plan_err!("{value} can't be an option of `{function}`: JSON has no such number"),
    }
}
