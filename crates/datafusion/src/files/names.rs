//! What there is to name, for whoever types.

use std::collections::BTreeSet;

use datafusion::execution::context::SessionContext;

/// What a statement may name, each in the order of the alphabet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlNames {
    /// Functions, DataFusion's own and scalar ones of workers.
    pub functions: Vec<String>,
    /// Tables that were given names.
    pub tables: Vec<String>,
    /// The columns of those.
    pub columns: Vec<String>,
}

impl SqlNames {
    pub(super) async fn of(context: &SessionContext) -> Self {
        let state = context.state();
        let functions: BTreeSet<String> = state
            .scalar_functions()
            .keys()
            .chain(state.aggregate_functions().keys())
            .chain(state.window_functions().keys())
            .chain(state.table_functions().keys())
            .cloned()
            .collect();
        let (mut tables, mut columns) = (BTreeSet::new(), BTreeSet::new());
        for table in context.catalog_names().iter().filter_map(|name| context.catalog(name)).flat_map(|catalog| {
            let schemas: Vec<_> = catalog.schema_names().iter().filter_map(|name| catalog.schema(name)).collect();
            schemas.into_iter().flat_map(|schema| schema.table_names())
        }) {
            if let Ok(provider) = context.table_provider(table.as_str()).await {
                columns.extend(provider.schema().fields().iter().map(|field| field.name().clone()));
            }
            tables.insert(table);
        }
        SqlNames {
            functions: functions.into_iter().collect(),
            tables: tables.into_iter().collect(),
            columns: columns.into_iter().collect(),
        }
    }
}
