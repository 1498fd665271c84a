//! `example(…)`: tests for the author, and text for the catalogue.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{Error, Expr, Result, UnOp};

use crate::attributes::{Attributes, Example, Kind};
use crate::scalar::is_result;
use crate::signature::Function;
use crate::written::local;

/// Only a function of rows is called with values and gives one.
pub(crate) fn refuse_elsewhere(attributes: &Attributes) -> Result<()> {
    match (attributes.kind, attributes.examples.first()) {
        (Kind::Scalar, _) | (_, None) => Ok(()),
        (_, Some(example)) => Err(Error::new(example.span, "`example` is for scalar functions of rows")),
    }
}

/// What the catalogue tells, when there is something: a line for each.
pub(crate) fn told(attributes: &Attributes, name: &str) -> Option<TokenStream> {
    let lines = attributes.examples.iter().map(|example| line(example, name));
    (!attributes.examples.is_empty()).then(|| quote!(.examples([#(#lines),*])))
}

/// A test of all examples, beside the function.
pub(crate) fn test(
    attributes: &Attributes,
    function: &Function,
    name: &str,
    worker: &TokenStream,
) -> Option<TokenStream> {
    if attributes.examples.is_empty() {
        return None;
    }
    let ident = function.ident();
    let test = format_ident!("{}_examples", ident.to_string().trim_start_matches("r#"), span = ident.span());
    let (found, error) = (local("found"), local("error"));
    let is_fallible = is_result(&function.result);
    let checks = attributes.examples.iter().map(|example| {
        let Example { arguments, result, .. } = example;
        let associated = function.parameter().map(|_| quote!(::call));
        let (call, line) = (quote!(#ident #associated(#(#arguments),*)), line(example, name));
        match failure(result) {
            Some(text) => quote! {
                match #call {
                    ::core::result::Result::Ok(_) => ::core::panic!("{}: there was no error", #line),
                    ::core::result::Result::Err(#error) => {
                        let #error = #worker::rows::error_of(#error).to_string();
                        ::core::assert!(#error.contains(#text), "{}: the error was {}", #line, #error);
                    }
                }
            },
            None if is_fallible => quote! {
                match #call {
                    ::core::result::Result::Ok(#found) => ::core::assert_eq!(#found, #result, "{}", #line),
                    ::core::result::Result::Err(#error) => {
                        ::core::panic!("{}: {}", #line, #worker::rows::error_of(#error))
                    }
                }
            },
            None => quote!(::core::assert_eq!(#call, #result, "{}", #line);),
        }
    });
    Some(quote! {
        #[::core::prelude::v1::test]
        fn #test() {
            #(#checks)*
        }
    })
}

/// `f(1.0, 2.0) = 3.0`.
fn line(Example { arguments, result, .. }: &Example, name: &str) -> String {
    let arguments: Vec<_> = arguments.iter().map(shown).collect();
    let call = format!("{name}({})", arguments.join(", "));
    match failure(result) {
        Some(text) => format!("{call} fails: {}", shown(text).trim_matches('"')),
        None => format!("{call} = {}", shown(result)),
    }
}

/// The `text` of an `Err(text)`.
fn failure(result: &Expr) -> Option<&Expr> {
    variant(result, "Err")
}

/// What is in a variant of this name.
fn variant<'e>(expression: &'e Expr, name: &str) -> Option<&'e Expr> {
    match expression {
        Expr::Call(call) if matches!(&*call.func, Expr::Path(path) if path.path.is_ident(name)) => call.args.first(),
        _ => None,
    }
}

/// A value as people write it: what is Rust's own about it is left out.
fn shown(expression: &Expr) -> String {
    if let Some(inner) = variant(expression, "Some").or_else(|| variant(expression, "Ok")) {
        return shown(inner);
    }
    match expression {
        Expr::Path(path) if path.path.is_ident("None") => "null".into(),
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => format!("-{}", shown(&unary.expr)),
        Expr::Reference(reference) => shown(&reference.expr),
        Expr::Array(array) => format!("[{}]", array.elems.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Expr::MethodCall(call) if call.args.is_empty() => shown(&call.receiver),
        Expr::Macro(call) if call.mac.path.is_ident("vec") => call.mac.tokens.to_string(),
        other => other.to_token_stream().to_string(),
    }
}
