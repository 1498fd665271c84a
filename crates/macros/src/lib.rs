//! `#[udf]` and `#[derive(UdfStruct)]`: what an author writes instead of loops over Arrow arrays.
//!
//! This crate knows no Arrow and no worker, only names: what it writes is thin, and calls the traits in
//! `anyudf_worker::rows`, which do the work. Types are told apart there, not here, so that a type of somebody else's can
//! take part.
//!
//! ```text
//!   attributes ── what stands in #[udf(…)]       signature ── the function, refused in our words where it can't be one
//!                         ╲                      ╱
//!                       scalar, table, aggregate: each kind of function     structs: the derive
//! ```
//!
//! The macros are there twice: those named `worker_…` write paths that begin with `::anyudf_worker`, the others such as
//! begin with `::anyudf::worker`. Each crate re-exports its own under the plain name.

mod aggregate;
mod attributes;
mod examples;
mod scalar;
mod signature;
mod structs;
mod table;
mod written;

use proc_macro2::TokenStream;
use quote::quote;

use attributes::Kind;

/// Makes a function for a worker of an ordinary one, in a crate that depends on `anyudf`.
///
/// ```text
/// #[udf]                          called for each row; null in gives null out unless an argument is an `Option`
/// #[udf(batch)]                   for each batch, with whole Arrow arrays
/// #[udf(table)]  #[udf(map)]      rows without input, rows for rows, or batches for batches
/// #[udf(aggregate)]               on an `impl` with `new`, `update`, `merge` and `finish`
///
/// name = "…", aliases = ["…"], help = "…", version = "…", volatility = "immutable" | "stable" | "volatile"
/// repeatable, timeout = "30s"     it may be run again after a crash; how long each call may take
/// on_error = "fail" | "null" | "collect"      what becomes of a row that fails
/// example("a b a", "a" => 2)      a test, and a line for people
/// types = [i64, f64]              what the type parameter of a generic function stands for
/// returns = DataType::…, nulls = "values"     for functions of arrays
///
/// #[options] o: &Options          options of the call, no column          #[data_type(…)] a: &ListArray
/// #[default(2)] digits: i32       may be left out                         #[variadic] rest: &[f64]   many columns
/// ```
/// All of it is described, with examples, where the crate of the worker has it: `anyudf::worker::udf`.
#[proc_macro_attribute]
pub fn udf(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    function(arguments.into(), item.into(), &quote!(::anyudf::worker)).into()
}

/// Makes a function for a worker of an ordinary one, in a crate that depends on `anyudf-worker`.
#[proc_macro_attribute]
pub fn worker_udf(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    function(arguments.into(), item.into(), &quote!(::anyudf_worker)).into()
}

/// Makes an argument and a result of a struct, in a crate that depends on `anyudf`.
#[proc_macro_derive(UdfStruct)]
pub fn udf_struct(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    structure(item.into(), &quote!(::anyudf::worker)).into()
}

/// Makes an argument and a result of a struct, in a crate that depends on `anyudf-worker`.
#[proc_macro_derive(WorkerUdfStruct)]
pub fn worker_udf_struct(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    structure(item.into(), &quote!(::anyudf_worker)).into()
}

/// `worker` is the path of the worker's crate.
fn function(arguments: TokenStream, item: TokenStream, worker: &TokenStream) -> TokenStream {
    expand_function(arguments, item, worker).unwrap_or_else(syn::Error::into_compile_error)
}

fn expand_function(arguments: TokenStream, item: TokenStream, worker: &TokenStream) -> syn::Result<TokenStream> {
    let attributes = attributes::Attributes::parse(arguments)?;
    examples::refuse_elsewhere(&attributes)?;
    if attributes.kind == Kind::Aggregate {
        return aggregate::expand(&attributes, item, worker);
    }
    let function = signature::Function::parse(item, &attributes.types)?;
    if attributes.kind != Kind::Scalar {
        scalar::refuse_spread(&attributes, &function.arguments)?;
    }
    match attributes.kind {
        Kind::Scalar | Kind::Aggregate => scalar::of_rows(&attributes, &function, worker),
        Kind::Batch => scalar::of_arrays(&attributes, &function, worker),
        Kind::Table => table::table(&attributes, &function, worker),
        Kind::Map => table::map(&attributes, &function, worker),
    }
}

fn structure(item: TokenStream, worker: &TokenStream) -> TokenStream {
    structs::expand(item, worker).unwrap_or_else(syn::Error::into_compile_error)
}

#[cfg(test)]
mod tests;
