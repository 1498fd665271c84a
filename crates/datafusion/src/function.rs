//! A worker's scalar function, as DataFusion's planner knows it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use anyudf_arrow::catalog::{Entry, Volatility as Promise, arguments_for};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::signature::{Shown, coerce};
use crate::worker::Worker;

/// A call of it is never evaluated where it stands: [`LiftWorkerCalls`](crate::LiftWorkerCalls) takes it out of its
/// expression before the plan is made.
#[derive(Clone, Debug)]
pub(crate) struct WorkerFunction {
    /// What SQL calls it.
    name: String,
    aliases: Vec<String>,
    entry: Arc<Entry>,
    worker: Worker,
    signature: Signature,
    documentation: Documentation,
}

impl WorkerFunction {
    pub(crate) fn new(worker: &Worker, entry: Entry) -> Self {
        let name = worker.qualified(&entry.name);
        let aliases = entry.aliases.iter().map(|alias| worker.qualified(alias)).collect();
        let volatility = match entry.volatility {
            Promise::Immutable => Volatility::Immutable,
            Promise::Stable => Volatility::Stable,
            Promise::Volatile => Volatility::Volatile,
        };
        let signature = Signature::user_defined(volatility);
        let names = entry.arguments.iter().flat_map(|arguments| arguments.fields()).map(|field| field.name().as_str());
        let names: Vec<_> = names.map(str::to_lowercase).collect();
        // Arguments whose names are the same twice can't be given by name.
        let signature = match names.is_empty() {
            true => signature,
            false => signature.clone().with_parameter_names(names).unwrap_or(signature),
        };
        let syntax = Shown { name: &name, entry: &entry }.to_string();
        let section =
            datafusion::logical_expr::DocSection { include: false, label: "Worker functions", description: None };
        let documentation = Documentation::builder(section, entry.help.clone(), syntax).build();
        WorkerFunction { name, aliases, entry: Arc::new(entry), worker: worker.clone(), signature, documentation }
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Whether an equal call may be left out.
    pub(crate) fn is_volatile(&self) -> bool {
        self.signature.volatility == Volatility::Volatile
    }

    /// The worker function that this calls, if it calls one.
    pub(crate) fn called_by(expr: &Expr) -> Option<&Self> {
        match expr {
            Expr::ScalarFunction(ScalarFunction { func, .. }) => Self::of(func),
            _ => None,
        }
    }

    pub(crate) fn of(function: &ScalarUDF) -> Option<&Self> {
        function.inner().downcast_ref()
    }

    /// What it knows of the arguments of a call with so many, if it knows of any.
    pub(crate) fn arguments(&self, count: usize) -> Option<Vec<&FieldRef>> {
        arguments_for(self.entry.arguments.as_ref()?, count)
    }

    /// The column of its results for arguments of these types.
    fn result(&self, given: &[DataType]) -> Result<FieldRef> {
        match self.entry.signature_for(given).1.map(|result| result.fields()) {
            // Rows that it is not called for are null, whatever it promises.
            Some(fields) if fields.len() == 1 => Ok(Arc::new(fields[0].as_ref().clone().with_nullable(true))),
            Some(fields) => {
                plan_err!("`{}` is told to return {} columns, and a scalar function has one", self.name, fields.len())
            }
            None => {
                plan_err!("the worker does not say what `{}` returns, so no query can be planned over it", self.name)
            }
        }
    }
}

impl PartialEq for WorkerFunction {
    fn eq(&self, other: &Self) -> bool {
        self.worker == other.worker && self.name == other.name
    }
}

impl Eq for WorkerFunction {}

impl Hash for WorkerFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.worker, &self.name).hash(state);
    }
}

impl ScalarUDFImpl for WorkerFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        Ok(self.result(given)?.data_type().clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let given: Vec<_> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let given = coerce(&self.name, &self.entry, &given)?;
        let field: Field = self.result(&given)?.as_ref().clone();
        Ok(Arc::new(field.with_name(&self.name)))
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        // What can't be coerced is refused where the result is asked for: from here only the text of an error comes through.
        Ok(coerce(&self.name, &self.entry, given).unwrap_or_else(|_| given.to_vec()))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // Among others the optimizer asks, which would like to have calls with constants behind it. It takes the no.
        exec_err!(
            "`{}` is called where anyudf can't take the call out of the expression; compute it in a subquery first",
            self.name
        )
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}
