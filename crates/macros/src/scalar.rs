//! `#[udf]` on a function of rows.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, FnArg, Result, Type};

use crate::attributes::{Attributes, OnError};
use crate::signature::{Function, doc};

/// A type of the function's name, which a worker takes for a definition and anybody else for the function.
///
/// The function goes into a block of its own, where its name is its own again: it can call itself, and what is written
/// here can call it without a pointer in between.
pub(crate) fn expand(attributes: &Attributes, function: &Function, worker: &TokenStream) -> Result<TokenStream> {
    let (item, ident) = (&function.item, function.ident());
    let visibility = &item.vis;
    let outer = item.attrs.iter().filter(|attribute| doc(attribute).is_some() || is_of_both(attribute));
    let mut inner = item.clone();
    inner.vis = syn::Visibility::Inherited;

    let pointer = pointer(function);
    let definition = definition(attributes, function, worker)?;
    Ok(quote! {
        #(#outer)*
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy)]
        #visibility struct #ident;

        const _: () = {
            #inner

            impl ::core::ops::Deref for #ident {
                type Target = #pointer;

                fn deref(&self) -> &Self::Target {
                    const FUNCTION: #pointer = #ident;
                    &FUNCTION
                }
            }

            #definition
        };
    })
}

/// Attributes that hold for whatever the function becomes.
fn is_of_both(attribute: &Attribute) -> bool {
    ["allow", "expect", "warn", "deny", "deprecated", "cfg"].iter().any(|name| attribute.path().is_ident(name))
}

/// The type of a pointer to the function.
fn pointer(function: &Function) -> TokenStream {
    let signature = &function.item.sig;
    let types = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(input) => Some(&input.ty),
        FnArg::Receiver(_) => None,
    });
    let (lifetimes, output) = (&signature.generics.params, &signature.output);
    let lifetimes = (!lifetimes.is_empty()).then(|| quote!(for<#lifetimes>));
    quote!(#lifetimes fn(#(#types),*) #output)
}

fn definition(attributes: &Attributes, function: &Function, worker: &TokenStream) -> Result<TokenStream> {
    let (ident, result) = (function.ident(), &function.result);
    let types: Vec<_> = function.arguments.iter().map(|argument| &argument.ty).collect();
    let names = function.arguments.iter().map(|argument| &argument.name);
    let bound: Vec<_> = (0..types.len()).map(|place| format_ident!("a{place}", span = Span::mixed_site())).collect();
    let mut given: Vec<_> = bound.iter().map(|bound| quote!(#bound)).collect();
    let options = match &function.options {
        None => quote!(#worker::rows::NoOptions),
        Some((place, ty)) => {
            given.insert(*place, quote!(options));
            quote!(#ty)
        }
    };
    let call = quote!(#ident(#(#given),*));
    let (result, call) = match attributes.on_error {
        Some((OnError::Null, span)) => {
            check_fallible(result, span)?;
            (quote!(#worker::rows::OrNull<#result>), quote!(#worker::rows::OrNull(#call)))
        }
        _ => (quote!(#result), call),
    };
    // So that a type that can't be a column is underlined where it stands.
    let checks = types.iter().map(|ty| quote_spanned!(ty.span()=> #worker::rows::is_argument::<#ty>();));
    let checks = checks.chain([quote_spanned!(function.result.span()=> #worker::rows::is_result::<#result>();)]);
    let said = said(attributes, function, worker);
    let name = attributes.name.as_ref().map_or_else(|| plain(&ident.to_string()), syn::LitStr::value);
    Ok(quote! {
        impl #worker::rows::RowFunction for #ident {
            type Options = #options;

            fn signature() -> #worker::rows::Signature {
                #(#checks)*
                #worker::rows::Signature::new::<(#(#types,)*), #result>(#name, &[#(#names),*])
            }

            #[allow(unused_variables)]
            fn evaluate(
                rows: &#worker::rows::Rows<'_>,
                options: &Self::Options,
            ) -> #worker::Result<#worker::rows::ArrayRef> {
                rows.each::<(#(#types,)*), #result>(|(#(#bound,)*)| #call)
            }
        }

        impl #worker::IntoDefinition for #ident {
            fn into_definition(self) -> #worker::Definition {
                #worker::rows::define::<#ident>() #said
            }
        }
    })
}

/// A name without the mark of a raw identifier.
fn plain(name: &str) -> String {
    name.trim_start_matches("r#").to_owned()
}

/// Whether errors can become anything but errors.
fn check_fallible(result: &Type, span: Span) -> Result<()> {
    let is_result = match result {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident.to_string().contains("Result")),
        _ => false,
    };
    let text = "`on_error` is for functions that return a `Result`; this one has no errors";
    if is_result { Ok(()) } else { Err(Error::new(span, text)) }
}

/// What the catalogue is told beside the signature.
fn said(attributes: &Attributes, function: &Function, worker: &TokenStream) -> TokenStream {
    let help = attributes.help.as_ref().map_or_else(|| function.help(), syn::LitStr::value);
    let version = match &attributes.version {
        Some(version) => quote!(#version),
        None => quote!(::core::env!("CARGO_PKG_VERSION")),
    };
    let aliases = (!attributes.aliases.is_empty()).then(|| {
        let aliases = &attributes.aliases;
        quote!(.aliases([#(#aliases),*]))
    });
    let volatility =
        attributes.volatility.as_ref().map(|volatility| quote!(.volatility(#worker::Volatility::#volatility)));
    quote!(.help(#help).version(#version) #aliases #volatility)
}
