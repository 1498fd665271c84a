//! `#[udf(table)]` and `#[udf(map)]`: rows or batches out.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{AssocType, Error, GenericArgument, PathArguments, Result, ReturnType, Type, TypeParamBound};

use crate::attributes::Attributes;
use crate::scalar::{is_result, refuse_data_types, refuse_on_error};
use crate::signature::{Function, elided};
use crate::written::{Written, local};

/// A generator.
pub(crate) fn table(attributes: &Attributes, function: &Function, worker: &TokenStream) -> Result<TokenStream> {
    refuse_on_error(attributes)?;
    if let Some(argument) = function.arguments.first() {
        let text = "a `#[udf(table)]` has no columns to take arguments from; take `#[options] options: &Options`";
        return Err(Error::new(argument.ty.span(), text));
    }
    refuse_result(function)?;
    let written = Written::new(attributes, function, worker);
    let (ident, name, options, call) = (function.ident(), written.name(), written.options(), written.call());
    let (given, out) = (local("options"), local("out"));
    let (schema, emit) = match &attributes.returns {
        Some(schema) => (quote!(#schema), quote!(#worker::rows::emit_batches(#call, #out))),
        None => (schema(function, &name, worker)?, quote!(#worker::rows::emit_all(#call, #out))),
    };
    Ok(written.item(
        &quote!(#worker::rows::define_table::<#ident>()),
        &quote! {
            impl #worker::rows::TableFunction for #ident {
                type Options = #options;

                const NAME: &str = #name;

                fn schema() -> #worker::rows::SchemaRef {
                    #schema
                }

                #[allow(unused_variables)]
                fn generate(#given: &Self::Options, #out: &mut #worker::Output<'_>) -> #worker::Result<()> {
                    #emit
                }
            }
        },
    ))
}

/// A `Result` is iterated over as well, and its error would be no rows.
fn refuse_result(function: &Function) -> Result<()> {
    let text = "this returns rows, each of which may be a `Result`: return an iterator such as `Box<dyn Iterator<Item = \
                Result<Row, Error>>>`, whose first item may be the error";
    if is_result(&function.result) { Err(Error::new(function.result.span(), text)) } else { Ok(()) }
}

/// Rows for each row, or batches for each batch.
pub(crate) fn map(attributes: &Attributes, function: &Function, worker: &TokenStream) -> Result<TokenStream> {
    refuse_on_error(attributes)?;
    refuse_data_types(&function.arguments, "`#[data_type(…)]` is for `#[udf(batch)]`; here the type says it")?;
    let written = Written::new(attributes, function, worker);
    let (ident, name, options, call) = (function.ident(), written.name(), written.options(), written.call());
    let (types, names, bound) = (written.types(), written.names(), written.bound());
    let [batch, before, given, out] = ["batch", "before", "options", "out"].map(local);
    let is_of_batches = matches!(&types[..], [one] if is_named(one, "RecordBatch"));
    let (arguments, schema, process) = if is_of_batches {
        let schema = match &attributes.returns {
            Some(schema) => quote!(::core::option::Option::Some(#schema)),
            None => quote!(::core::option::Option::None),
        };
        let call = written.call_with(&[quote!(#batch)]);
        let process = quote!(#worker::rows::IntoBatches::emit(#call, #out));
        (quote!(::core::option::Option::None), schema, process)
    } else {
        if let Some(returns) = &attributes.returns {
            let text = "`returns` is for maps of a `RecordBatch`; here the type of the rows says it";
            return Err(Error::new(returns.span(), text));
        }
        refuse_result(function)?;
        let rows = schema(function, &name, worker)?;
        let fields = quote!(<(#(#types,)*) as #worker::rows::Arguments<'_>>::fields(&[#(#names),*]));
        let process = quote! {
            #worker::rows::emit_rows::<(#(#types,)*), _>(&#batch, #before, #out, |(#(#bound,)*)| #call)
        };
        (quote!(::core::option::Option::Some(#fields)), quote!(::core::option::Option::Some(#rows)), process)
    };
    Ok(written.item(
        &quote!(#worker::rows::define_map::<#ident>()),
        &quote! {
            impl #worker::rows::MapFunction for #ident {
                type Options = #options;

                const NAME: &str = #name;

                fn arguments() -> ::core::option::Option<::std::vec::Vec<#worker::rows::Field>> {
                    #arguments
                }

                fn schema() -> ::core::option::Option<#worker::rows::SchemaRef> {
                    #schema
                }

                #[allow(unused_variables)]
                fn process(
                    #batch: #worker::rows::RecordBatch,
                    #before: u64,
                    #given: &Self::Options,
                    #out: &mut #worker::Output<'_>,
                ) -> #worker::Result<()> {
                    #process
                }
            }
        },
    ))
}

fn is_named(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == name))
}

/// The schema of rows of the type that the function's iterator has as items.
fn schema(function: &Function, name: &str, worker: &TokenStream) -> Result<TokenStream> {
    let ReturnType::Type(_, ty) = &function.item.sig.output else {
        return Err(Error::new(function.ident().span(), "a `#[udf]` returns something"));
    };
    let item = match &**ty {
        Type::ImplTrait(iterator) => item_of(iterator.bounds.iter()).ok_or_else(|| {
            Error::new(
                ty.span(),
                "write what the rows are: `impl Iterator<Item = Row>`, `Row` with `#[derive(UdfStruct)]`",
            )
        })?,
        other => {
            let other = elided(other);
            return Ok(quote_spanned! {ty.span()=>
                #worker::rows::schema_of::<<#other as ::core::iter::IntoIterator>::Item>(#name)
            });
        }
    };
    let item = elided(item);
    Ok(quote_spanned!(ty.span()=> #worker::rows::schema_of::<#item>(#name)))
}

/// The `T` of an `Iterator<Item = T>`.
fn item_of<'a>(bounds: impl Iterator<Item = &'a TypeParamBound>) -> Option<&'a Type> {
    bounds
        .filter_map(|bound| match bound {
            TypeParamBound::Trait(bound) => bound.path.segments.last(),
            _ => None,
        })
        .filter_map(|segment| match &segment.arguments {
            PathArguments::AngleBracketed(arguments) => Some(arguments.args.iter()),
            _ => None,
        })
        .flatten()
        .find_map(|argument| match argument {
            GenericArgument::AssocType(AssocType { ident, ty, .. }) if ident == "Item" => Some(ty),
            _ => None,
        })
}
