//! What to run, as Python says it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyudf_engine::{Init, Scope};
use pyo3::prelude::*;
use pyo3_arrow::PySchema;

/// An Init, and in whose scope it runs.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) init: Init,
    pub(super) scope: Scope,
}

/// The keywords of a session.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Said {
    format: String,
    payload: Vec<u8>,
    name: Option<String>,
    eval_type: Option<String>,
    output_schema: Option<PySchema>,
    scope: Option<Vec<u8>>,
    /// In seconds.
    timeout: Option<f64>,
    timezone: Option<String>,
    task_context: BTreeMap<String, String>,
    session_conf: BTreeMap<String, String>,
    parameters: Option<Vec<u8>>,
}

impl Said {
    pub(super) fn call(self) -> Call {
        let mut init = Init::new(self.format, self.payload);
        init.name = self.name;
        init.eval_type = self.eval_type;
        init.output_schema = self.output_schema.map(|schema| schema.into_inner().into());
        init.timezone = self.timezone;
        init.task_context = self.task_context;
        init.session_conf = self.session_conf;
        init.parameters = self.parameters.map(Into::into);
        if let Some(timeout) = self.timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
            init = init.with_call_timeout(timeout);
        }
        Call { init, scope: self.scope.map_or_else(Scope::default, Scope::new) }
    }
}
