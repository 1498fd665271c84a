//! `#[udf(aggregate)]` on an `impl` with `new`, `update`, `merge` and `finish`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ImplItem, ImplItemFn, ItemImpl, Receiver, Result, ReturnType, Type};

use crate::attributes::Attributes;
use crate::scalar::{refuse_on_error, refuse_returns};
use crate::signature::{Argument, arguments_of, elided, paragraph};
use crate::written::{local, said};

const SHAPE: &str = "an aggregate has `fn new() -> Self`, `fn update(&mut self, …)`, `fn merge(&mut self, other: Self)` and \
                     `fn finish(self) -> …`";

pub(crate) fn expand(attributes: &Attributes, item: TokenStream, worker: &TokenStream) -> Result<TokenStream> {
    refuse_on_error(attributes)?;
    refuse_returns(attributes, "an aggregate returns what its `finish` does")?;
    let mut item: ItemImpl = syn::parse2(item).map_err(|error| {
        Error::new(error.span(), format!("`#[udf(aggregate)]` belongs on an `impl` of the state; {SHAPE}"))
    })?;
    if item.trait_.is_some() || !item.generics.params.is_empty() {
        let text =
            "`#[udf(aggregate)]` belongs on an `impl` of the state itself, without a trait and without parameters";
        return Err(Error::new(item.self_ty.span(), text));
    }
    let state = (*item.self_ty).clone();
    check(&item, "new", |method| method.sig.inputs.is_empty())?;
    check(&item, "merge", |method| borrows_mutably(method) && method.sig.inputs.len() == 2)?;
    let finish = check(&item, "finish", |method| is_owned(method) && method.sig.inputs.len() == 1)?;
    let ReturnType::Type(_, result) = &finish.sig.output else {
        return Err(Error::new(finish.sig.span(), "`finish` returns the value, so it needs a `-> …`"));
    };
    let result = elided(result);
    check(&item, "update", borrows_mutably)?;
    let name = attributes.name.as_ref().map_or_else(|| snake_case(&last(&state)), syn::LitStr::value);
    let help = paragraph(&item.attrs);
    let update = item.items.iter_mut().find_map(|item| match item {
        ImplItem::Fn(method) if method.sig.ident == "update" => Some(method),
        _ => None,
    });
    let update = update.expect("`check` has seen it");
    let fallible = !matches!(&update.sig.output, ReturnType::Default);
    let arguments = arguments_of(update.sig.inputs.iter_mut().skip(1), "`update`")?;
    let types: Vec<_> = arguments.iter().map(|argument: &Argument| &argument.ty).collect();
    let names: Vec<_> = arguments.iter().map(|argument| &argument.name).collect();
    let bound: Vec<_> = (0..types.len()).map(|place| local(&place.to_string())).collect();
    let [rows, other, error] = ["rows", "other", "error"].map(local);
    let update = match fallible {
        true => quote!(self.update(#(#bound),*).map_err(|#error| #worker::rows::error_of(#error))),
        false => quote!({ self.update(#(#bound),*); ::core::result::Result::Ok(()) }),
    };
    let said = said(attributes, &help, worker);
    Ok(quote! {
        #item

        #[automatically_derived]
        impl #worker::rows::Aggregate for #state {
            type Result = #result;

            const NAME: &str = #name;

            fn arguments() -> ::std::vec::Vec<#worker::rows::Field> {
                <(#(#types,)*) as #worker::rows::Arguments<'_>>::fields(&[#(#names),*])
            }

            fn begin() -> Self {
                Self::new()
            }

            fn add(&mut self, #rows: &#worker::rows::Rows<'_>) -> #worker::Result<()> {
                #rows.visit::<(#(#types,)*)>(|(#(#bound,)*)| #update)
            }

            fn join(&mut self, #other: Self) {
                self.merge(#other);
            }

            fn end(self) -> Self::Result {
                self.finish()
            }
        }

        #[automatically_derived]
        impl #worker::rows::AggregateDefinition for #state {
            fn definition() -> #worker::Definition {
                #worker::rows::define_aggregate::<Self>() #said
            }
        }
    })
}

/// The method of this name, if it `fits`.
fn check<'i>(item: &'i ItemImpl, name: &str, fits: impl FnOnce(&ImplItemFn) -> bool) -> Result<&'i ImplItemFn> {
    let method = item.items.iter().find_map(|item| match item {
        ImplItem::Fn(method) if method.sig.ident == name => Some(method),
        _ => None,
    });
    match method {
        None => Err(Error::new(item.self_ty.span(), format!("`{name}` is missing: {SHAPE}"))),
        Some(method) if !fits(method) => Err(Error::new(method.sig.span(), format!("`{name}` is another: {SHAPE}"))),
        Some(method) => Ok(method),
    }
}

fn receiver(method: &ImplItemFn) -> Option<&Receiver> {
    match method.sig.inputs.first() {
        Some(FnArg::Receiver(receiver)) => Some(receiver),
        _ => None,
    }
}

fn borrows_mutably(method: &ImplItemFn) -> bool {
    receiver(method).is_some_and(|receiver| receiver.reference.is_some() && receiver.mutability.is_some())
}

fn is_owned(method: &ImplItemFn) -> bool {
    receiver(method).is_some_and(|receiver| receiver.reference.is_none())
}

/// The last word of a type's path.
fn last(ty: &Type) -> String {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default(),
        other => other.to_token_stream().to_string(),
    }
}

/// `GeoMean` as `geo_mean`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (place, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && place > 0 {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
