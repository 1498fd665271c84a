//! `#[udf]` on a function of rows, and `#[udf(batch)]` on one of arrays.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Ident, Lit, Result, Type};

use crate::attributes::{Attributes, OnError};
use crate::signature::{Argument, Function, argument_of, item_of};
use crate::written::{Written, local};

/// A function that is called for each row.
pub(crate) fn of_rows(attributes: &Attributes, function: &Function, worker: &TokenStream) -> Result<TokenStream> {
    refuse_data_types(&function.arguments, "`#[data_type(…)]` is for `#[udf(batch)]`; here the type says it")?;
    refuse_returns(attributes, "`returns` is for functions of arrays and batches; here the type says it")?;
    let written = Written::new(attributes, function, worker);
    let Some(parameter) = function.parameter() else {
        let ident = function.ident();
        let implementation = implement(attributes, function, ident, worker)?;
        return Ok(written.item(&quote!(#worker::rows::define::<#ident>()), &implementation));
    };
    // One for each type; an execution is of the first that takes its columns.
    let targets: Vec<_> = (0..attributes.types.len()).map(|place| format_ident!("UdfOfType{place}")).collect();
    let mut implementations = Vec::new();
    for (target, ty) in targets.iter().zip(&attributes.types) {
        let implementation = implement(attributes, &function.with(parameter, ty), target, worker)?;
        implementations.push(quote!(struct #target; #implementation));
    }
    let definitions: Vec<_> = targets.iter().map(|target| quote!(#worker::rows::define::<#target>())).collect();
    let (first, others) = definitions.split_first().expect("a list of types that is empty was refused");
    let define = quote!(#worker::Definition::overloaded(#first, [#(#others),*]));
    Ok(written.item(&define, &quote!(#(#implementations)*)))
}

/// How `target` is a function of rows: by calling the author's.
fn implement(
    attributes: &Attributes,
    function: &Function,
    target: &Ident,
    worker: &TokenStream,
) -> Result<TokenStream> {
    let written = Written::new(attributes, function, worker);
    let (result, call) = (&function.result, written.call());
    let (result, call, each) = match attributes.on_error {
        Some((OnError::Null, span)) => {
            check_fallible(result, span)?;
            (quote!(#worker::rows::OrNull<#result>), quote!(#worker::rows::OrNull(#call)), quote!(each_apart))
        }
        Some((OnError::Collect, _)) => {
            let collected = quote!(#worker::rows::Collected);
            (quote!(#collected<#result>), quote!(#collected::of(|| #call)), quote!(each_apart))
        }
        Some((OnError::Fail, _)) | None => (quote!(#result), call, quote!(each)),
    };
    let (types, names, bound) = (written.types(), written.names(), written.bound());
    let (name, options) = (written.name(), written.options());
    let (rows, given) = (local("rows"), local("options"));
    let spread = function.arguments.iter().enumerate().filter_map(|(place, argument)| spread(place, argument));
    // So that a type that can't be a column is underlined where it stands.
    let checks = types.iter().map(|ty| quote_spanned!(ty.span()=> #worker::rows::is_argument::<#ty>();));
    let checks = checks.chain([quote_spanned!(function.result.span()=> #worker::rows::is_result::<#result>();)]);
    Ok(quote! {
        impl #worker::rows::ScalarFunction for #target {
            type Options = #options;

            fn signature() -> #worker::rows::Signature {
                #(#checks)*
                #worker::rows::Signature::new::<(#(#types,)*), #result>(#name, &[#(#names),*]) #(#spread)*
            }

            #[allow(unused_variables)]
            fn evaluate(
                #rows: &#worker::rows::Rows<'_>,
                #given: &Self::Options,
            ) -> #worker::Result<#worker::rows::ArrayRef> {
                #rows.#each::<(#(#types,)*), #result>(|(#(#bound,)*)| #call)
            }
        }
    })
}

/// What the signature is told of an argument that need not be one column.
fn spread(place: usize, Argument { ty, default, variadic, .. }: &Argument) -> Option<TokenStream> {
    if variadic.is_some() {
        let item = item_of(ty)?;
        return Some(quote_spanned!(ty.span()=> .with_variadic::<#item>()));
    }
    let default = default.as_ref()?;
    let value = match default {
        Expr::Lit(ExprLit { lit: Lit::Str(_), .. }) => quote!(::core::convert::Into::into(#default)),
        other => quote!(#other),
    };
    let value = match default {
        Expr::Path(_) => value,
        _ if argument_of(ty, "Option").is_some() => quote!(::core::option::Option::Some(#value)),
        _ => value,
    };
    let json = json(default);
    Some(quote_spanned!(default.span()=> .with_default::<#ty>(#place, #value, #json)))
}

/// A literal as JSON writes it.
fn json(literal: &Expr) -> String {
    match literal {
        Expr::Unary(unary) => format!("-{}", json(&unary.expr)),
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_digits().to_owned(),
        Expr::Lit(ExprLit { lit: Lit::Float(number), .. }) => number
            .base10_parse::<f64>()
            .map_or_else(|_| number.base10_digits().to_owned(), |number| format!("{number:?}")),
        Expr::Lit(ExprLit { lit: Lit::Bool(is), .. }) => is.value.to_string(),
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            let mut json = String::from("\"");
            for letter in text.value().chars() {
                match letter {
                    '"' | '\\' => json.extend(['\\', letter]),
                    letter if u32::from(letter) < 0x20 => json += &format!("\\u{:04x}", u32::from(letter)),
                    letter => json.push(letter),
                }
            }
            json + "\""
        }
        // `None`: nothing else is taken for a literal.
        _ => "null".into(),
    }
}

/// A function that is called for each batch.
pub(crate) fn of_arrays(attributes: &Attributes, function: &Function, worker: &TokenStream) -> Result<TokenStream> {
    refuse_on_error(attributes)?;
    let written = Written::new(attributes, function, worker);
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (place, Argument { name, ty, data_type, .. }) in function.arguments.iter().enumerate() {
        let Type::Reference(reference) = ty else {
            return Err(Error::new(ty.span(), "arrays are lent to a `#[udf(batch)]`: write `&Float64Array`"));
        };
        let array = &reference.elem;
        fields.push(match data_type {
            Some(data_type) => quote!((#name, #data_type)),
            None => quote_spanned!(array.span()=> (#name, <#array as #worker::rows::TypedArray>::data_type())),
        });
        let rows = local("rows");
        arrays.push(quote!(#rows.array::<#array>(#place)?));
    }
    if arrays.is_empty() {
        let text = "a `#[udf(batch)]` takes at least one array: without, it would not know how many rows to return";
        return Err(Error::new(function.ident().span(), text));
    }
    let result = &function.result;
    let returned = match &attributes.returns {
        Some(data_type) => quote!(#data_type),
        None => quote_spanned! {result.span()=>
            <<#result as #worker::rows::ArrayReturn>::Array as #worker::rows::TypedArray>::data_type()
        },
    };
    let nulls = if attributes.nulls_are_values { quote!(AreValues) } else { quote!(GiveNull) };
    let call = written.call_with(&arrays);
    let (ident, name, options) = (function.ident(), written.name(), written.options());
    let (rows, given) = (local("rows"), local("options"));
    Ok(written.item(
        &quote!(#worker::rows::define::<#ident>()),
        &quote! {
            impl #worker::rows::ScalarFunction for #ident {
                type Options = #options;

                fn signature() -> #worker::rows::Signature {
                    #worker::rows::Signature::of_arrays(#name, ::std::vec![#(#fields),*], #returned)
                }

                #[allow(unused_variables)]
                fn evaluate(
                    #rows: &#worker::rows::Rows<'_>,
                    #given: &Self::Options,
                ) -> #worker::Result<#worker::rows::ArrayRef> {
                    #rows.whole(#call, #worker::Nulls::#nulls)
                }
            }
        },
    ))
}

/// Whether errors can become anything but errors.
fn check_fallible(result: &Type, span: proc_macro2::Span) -> Result<()> {
    let text = "`on_error` is for functions that return a `Result`; this one has no errors";
    if is_result(result) { Ok(()) } else { Err(Error::new(span, text)) }
}

/// Whether it is a `Result`, or called like one, as `io::Result` is.
pub(crate) fn is_result(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident.to_string().contains("Result")),
        _ => false,
    }
}

pub(crate) fn refuse_on_error(attributes: &Attributes) -> Result<()> {
    match attributes.on_error {
        Some((_, span)) => Err(Error::new(span, "`on_error` is for scalar functions of rows, one result for each")),
        None => Ok(()),
    }
}

pub(crate) fn refuse_returns(attributes: &Attributes, text: &str) -> Result<()> {
    attributes.returns.as_ref().map_or(Ok(()), |returns| Err(Error::new(returns.span(), text)))
}

/// Only a function of rows is generic, and has arguments that need not be one column.
pub(crate) fn refuse_spread(attributes: &Attributes, arguments: &[Argument]) -> Result<()> {
    if let Some(first) = attributes.types.first() {
        return Err(Error::new(first.span(), "`types` is for scalar functions of rows"));
    }
    let said = arguments.iter().find(|argument| argument.default.is_some() || argument.variadic.is_some());
    let text = "`#[default(…)]` and `#[variadic]` are for scalar functions of rows";
    said.map_or(Ok(()), |argument| Err(Error::new(argument.ty.span(), text)))
}

pub(crate) fn refuse_data_types(arguments: &[Argument], text: &str) -> Result<()> {
    let said = arguments.iter().find_map(|argument| argument.data_type.as_ref());
    said.map_or(Ok(()), |data_type| Err(Error::new(data_type.span(), text)))
}
