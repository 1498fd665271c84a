//! What a worker serves: functions by name, and payload formats.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use anyudf_arrow::expression::FORMAT as EXPRESSION;

use crate::bundled;
use crate::catalog;
use crate::definition::{Definition, IntoDefinition};
use crate::error::{Error, Result};
use crate::expression;
use crate::invocation::Invocation;
use crate::raw::{Opened, PayloadFormat};

/// Functions by their names.
pub(crate) type Functions = Arc<BTreeMap<String, Definition>>;

/// A worker under construction: which functions and which payload formats it serves.
///
/// Every worker understands three payload formats:
/// - `function` calls one function. The payload is UTF-8 JSON such as `{"function": "distance_miles", "options": {}}`.
/// - `expression` calls several scalar functions over the same rows, with columns, constants, and the values of each other as
///   arguments; what is between them stays in the worker. [`anyudf_arrow::expression`] has the payload.
/// - `catalog` takes no payload and returns one table of all functions. The metadata of its schema tells the payload formats,
///   these and those that were added.
///
/// ```no_run
/// use std::process::ExitCode;
/// use anyudf_worker::{Worker, map};
///
/// fn main() -> ExitCode {
///     let echo = map("echo").returns_input().over(|batch, out| out.emit(batch));
///     Worker::new().with(echo).run()
/// }
/// ```
#[derive(Clone, Default)]
pub struct Worker {
    functions: BTreeMap<String, Definition>,
    formats: BTreeMap<String, Arc<PayloadFormat>>,
}

impl Worker {
    /// A worker without functions.
    pub fn new() -> Self {
        Worker::default()
    }

    /// A worker with the functions of this crate, and the test functions of rule S as payload formats. See
    /// [`bundled`](crate::bundled).
    pub fn bundled() -> Self {
        bundled::add_to(Worker::new())
    }

    /// Adds a function. One of the same name is replaced.
    pub fn with(mut self, function: impl IntoDefinition) -> Self {
        let definition = function.into_definition();
        self.functions.insert(definition.name().into(), definition);
        self
    }

    /// Adds a payload format: what makes a function of the payload (R18). `open` runs on the thread of the execution,
    /// once the payload is whole and checked (R3); what it returns as an error is what InitResponse says (R4), of kind
    /// [`Protocol`](crate::ErrorKind::Protocol) when the payload is no such payload. A format of the same name is
    /// replaced, those that every worker understands among them.
    ///
    /// ```
    /// use anyudf_worker::{Opened, RawFunction, RawOutput, Result, Worker};
    /// use bytes::Bytes;
    ///
    /// struct Upper;
    ///
    /// impl RawFunction for Upper {
    ///     fn process(&mut self, data: Bytes, out: &mut RawOutput<'_>) -> Result<()> {
    ///         out.send([data.to_ascii_uppercase().into()])
    ///     }
    /// }
    ///
    /// let worker = Worker::new().with_format("upper", |_invocation| Ok(Opened::new(Upper)));
    /// ```
    pub fn with_format<F>(mut self, name: impl Into<String>, open: F) -> Self
    where
        F: Fn(&mut Invocation) -> Result<Opened> + Send + Sync + 'static,
    {
        self.formats.insert(name.into(), Arc::new(open));
        self
    }

    /// The functions, by name.
    pub fn functions(&self) -> impl Iterator<Item = &Definition> {
        self.functions.values()
    }

    /// All payload formats by name, ready to serve.
    pub(crate) fn into_formats(self) -> BTreeMap<String, Arc<PayloadFormat>> {
        let mut formats: BTreeMap<String, Arc<PayloadFormat>> = BTreeMap::new();
        let functions: Functions = Arc::new(self.functions);
        let names = ["catalog", EXPRESSION, "function"].into_iter().chain(self.formats.keys().map(String::as_str));
        let catalog = catalog::definition(Arc::clone(&functions), names);
        formats.insert("catalog".into(), Arc::new(move |invocation: &mut Invocation| catalog.open(invocation)));
        let expression = expression::definition(Arc::clone(&functions));
        formats.insert(EXPRESSION.into(), Arc::new(move |invocation: &mut Invocation| expression.open(invocation)));
        formats.insert("function".into(), Arc::new(move |invocation: &mut Invocation| open(&functions, invocation)));
        formats.extend(self.formats);
        formats
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("functions", &self.functions.keys())
            .field("formats", &self.formats.keys())
            .finish()
    }
}

/// The payload of the format `function`.
#[derive(Deserialize)]
struct Payload {
    function: String,
    #[serde(default)]
    options: Value,
}

/// Opens the function that a payload of the format `function` names.
fn open(functions: &BTreeMap<String, Definition>, invocation: &mut Invocation) -> Result<Opened> {
    let payload: Payload = serde_json::from_slice(invocation.payload()).map_err(|error| {
        let text = format!("the payload is no JSON like {{\"function\": \"name\", \"options\": {{}}}}: {error}");
        Error::protocol("INVALID_PAYLOAD", text)
    })?;
    let definition = find(functions, &payload.function)?;
    invocation.set_options(payload.options);
    definition.open(invocation)
}

/// The function of this name, or else one that has it as an alias.
///
/// # Errors
/// `UNKNOWN_FUNCTION`, with names that are near.
pub(crate) fn find<'a>(functions: &'a BTreeMap<String, Definition>, name: &str) -> Result<&'a Definition> {
    let named = functions.get(name);
    named.or_else(|| functions.values().find(|function| function.entry().is_called(name))).ok_or_else(|| {
        let aliases = functions.values().flat_map(|function| &function.entry().aliases);
        let names: Vec<_> = functions.keys().chain(aliases).map(String::as_str).collect();
        unknown(name, &names)
    })
}

/// How many names an error lists when none is near.
const NAMES_SHOWN: usize = 12;

/// Says which names are like the one that is not there.
fn unknown(name: &str, known: &[&str]) -> Error {
    let near = near_names(name, known);
    let hint = match (near.as_slice(), known) {
        ([], []) => "this worker serves no functions".to_owned(),
        ([], known) if known.len() <= NAMES_SHOWN => format!("this worker has: {}", known.join(", ")),
        ([], known) => format!("this worker has {} functions; its catalog lists them", known.len()),
        (near, _) => format!("did you mean {}?", near.join(" or ")),
    };
    Error::user(format!("there is no function `{name}`; {hint}")).with_class("UNKNOWN_FUNCTION")
}

/// The names that a typing mistake or two lead to, nearest first, at most three.
fn near_names<'a>(name: &str, known: &[&'a str]) -> Vec<&'a str> {
    let wanted = name.to_lowercase();
    let allowed = (wanted.chars().count() / 3).max(1);
    let mut near: Vec<_> = known
        .iter()
        .map(|known| (distance(&wanted, &known.to_lowercase()), *known))
        .filter(|(distance, known)| {
            *distance <= allowed || (wanted.len() >= 4 && known.to_lowercase().contains(&wanted))
        })
        .collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, known)| known).collect()
}

/// How many characters must be changed, added or removed to make one name of the other. Long names are cut: a name may
/// come from a hostile payload.
fn distance(left: &str, right: &str) -> usize {
    const LONGEST: usize = 64;
    let right: Vec<char> = right.chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().take(LONGEST).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R18: a name that is not there is answered with those that are near.
    #[test]
    fn r18_near_names_are_listed() {
        let known = ["count_rows", "distance_miles", "explode_words", "generate_series"];
        assert_eq!(near_names("distance_mile", &known), ["distance_miles"]);
        assert_eq!(near_names("Distance_Miles", &known), ["distance_miles"]);
        assert_eq!(near_names("miles", &known), ["distance_miles"]);
        assert!(near_names("sqrt", &known).is_empty());
        let text = unknown("distanse_miles", &known).to_string();
        assert_eq!(text, "there is no function `distanse_miles`; did you mean distance_miles?");
        let text = unknown("sqrt", &known).to_string();
        assert_eq!(
            text,
            "there is no function `sqrt`; this worker has: count_rows, distance_miles, explode_words, generate_series"
        );
    }

    /// R18: a hostile name costs little.
    #[test]
    fn r18_a_long_name_is_cut() {
        let long = "x".repeat(1 << 20);
        assert!(near_names(&long, &["distance_miles"]).len() <= 1);
    }
}
