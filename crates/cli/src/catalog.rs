//! What a worker offers, as its `catalog` tells.

use anyudf_engine::Dispatcher;

pub(crate) use anyudf_arrow::catalog::{Entry, Kind};

use crate::failure::{Failure, Result};
use crate::names;

/// The functions of a worker, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) functions: Vec<Entry>,
}

impl Catalog {
    /// Asks a worker. `None` when it refuses, as one does that never heard of catalogs.
    ///
    /// # Errors
    /// Those of [`Dispatcher::catalog`].
    pub(crate) async fn read(worker: &Dispatcher) -> Result<Option<Self>> {
        Ok(worker.catalog().await?.map(|catalog| Catalog { functions: catalog.functions.clone() }))
    }

    /// The function of this name, or else the first that has it as an alias.
    ///
    /// # Errors
    /// The name is unknown; says which ones are near.
    pub(crate) fn find(&self, name: &str) -> Result<&Entry> {
        let functions = self.functions.iter();
        let found = functions.clone().find(|function| function.name == name);
        found.or_else(|| functions.clone().find(|function| function.is_called(name))).ok_or_else(|| {
            let known = functions.flat_map(|function| [&function.name].into_iter().chain(&function.aliases));
            let known = known.map(String::as_str);
            let suggestion = names::suggest(name, known, "its functions");
            Failure::usage(format_args!(
                "the worker has no function `{name}`{suggestion} (`anyudf functions` lists all)"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_finds_its_function_unless_another_has_the_name() {
        let (mut f, g) = (Entry::new("f", Kind::Scalar), Entry::new("g", Kind::Map));
        f.aliases = vec!["g".into(), "great".into()];
        let catalog = Catalog { functions: vec![f.clone(), g.clone()] };
        assert_eq!(catalog.find("great").expect("an alias"), &f);
        assert_eq!(catalog.find("g").expect("a name"), &g);
        let Err(Failure::Usage(error)) = catalog.find("graet") else { panic!("there is none") };
        assert!(error.to_string().contains("did you mean `great`"), "{error}");
    }
}
