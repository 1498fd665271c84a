//! What is written for every kind of function.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, Ident, Meta, ReturnType, Type};

use crate::attributes::Attributes;
use crate::examples;
use crate::signature::{Function, doc};

/// A variable of ours. Its name is none that an author's function is likely to have: that is the name of a type without
/// fields too, and a pattern of that name is no variable.
pub(crate) fn local(name: &str) -> Ident {
    format_ident!("udf_{name}", span = Span::mixed_site())
}

/// The parts of what is written.
pub(crate) struct Written<'f> {
    attributes: &'f Attributes,
    function: &'f Function,
    worker: &'f TokenStream,
    bound: Vec<Ident>,
}

impl<'f> Written<'f> {
    pub(crate) fn new(attributes: &'f Attributes, function: &'f Function, worker: &'f TokenStream) -> Self {
        let bound = (0..function.arguments.len()).map(|place| local(&place.to_string()));
        Written { attributes, function, worker, bound: bound.collect() }
    }

    /// The types of the arguments.
    pub(crate) fn types(&self) -> Vec<&Type> {
        self.function.arguments.iter().map(|argument| &argument.ty).collect()
    }

    /// The names of the arguments.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.function.arguments.iter().map(|argument| &*argument.name).collect()
    }

    /// A variable for each argument.
    pub(crate) fn bound(&self) -> &[Ident] {
        &self.bound
    }

    /// What callers call it.
    pub(crate) fn name(&self) -> String {
        let ident = || self.function.ident().to_string().trim_start_matches("r#").to_owned();
        self.attributes.name.as_ref().map_or_else(ident, syn::LitStr::value)
    }

    /// The type of its options.
    pub(crate) fn options(&self) -> TokenStream {
        let worker = self.worker;
        match &self.function.options {
            None => quote!(#worker::rows::NoOptions),
            Some((_, ty)) => quote!(#ty),
        }
    }

    /// A call with the variables, and `options` where they belong.
    pub(crate) fn call(&self) -> TokenStream {
        let bound: Vec<_> = self.bound.iter().map(|bound| quote!(#bound)).collect();
        self.call_with(&bound)
    }

    /// A call with these arguments, and `options` where they belong.
    pub(crate) fn call_with(&self, arguments: &[TokenStream]) -> TokenStream {
        let mut given = arguments.to_vec();
        if let Some((place, _)) = self.function.options {
            let options = local("options");
            given.insert(place, quote!(#options));
        }
        let ident = self.function.ident();
        let concrete = self.function.concrete.as_ref().map(|ty| quote!(::<#ty>));
        quote!(#ident #concrete(#(#given),*))
    }

    /// A type of the function's name, which a worker takes for a definition and anybody else for the function.
    ///
    /// The function goes into a block of its own, where its name is its own again: it can call itself, and what is written
    /// here can call it without a pointer in between. `define` makes the definition, `implementation` is what that needs.
    pub(crate) fn item(&self, define: &TokenStream, implementation: &TokenStream) -> TokenStream {
        let (item, ident, worker) = (&self.function.item, self.function.ident(), self.worker);
        let visibility = &item.vis;
        let Attached { outer, inner, cfg } = Attached::of(&item.attrs);
        let inner = syn::ItemFn { attrs: inner, vis: syn::Visibility::Inherited, ..item.clone() };
        let is_deprecated = outer.iter().any(|attribute| attribute.path().is_ident("deprecated"));
        let own_uses = is_deprecated.then(|| quote!(#[allow(deprecated)]));
        let called = if self.function.parameter().is_some() { Some(self.associated()) } else { self.deref() };
        let said = said(self.attributes, &self.function.help(), worker);
        let examples = examples::told(self.attributes, &self.name());
        let test = examples::test(self.attributes, self.function, &self.name(), worker);
        let test = test.map(|test| quote!(#(#cfg)* #own_uses #test));
        quote! {
            #(#outer)*
            #[allow(non_camel_case_types)]
            #[derive(Clone, Copy)]
            #visibility struct #ident;

            #(#cfg)*
            #own_uses
            const _: () = {
                #inner

                #called

                #implementation

                impl #worker::IntoDefinition for #ident {
                    fn into_definition(self) -> #worker::Definition {
                        #define #said #examples
                    }
                }
            };

            #test
        }
    }

    /// How a generic function is called by way of its type: nothing that a type derefs to is generic.
    fn associated(&self) -> TokenStream {
        let (item, ident) = (&self.function.item, self.function.ident());
        let mut signature = item.sig.clone();
        signature.ident = Ident::new("call", ident.span());
        let mut given = Vec::new();
        for (place, input) in signature.inputs.iter_mut().enumerate() {
            if let FnArg::Typed(input) = input {
                let name = local(&place.to_string());
                *input.pat = syn::parse_quote!(#name);
                given.push(name);
            }
        }
        let visibility = &item.vis;
        let text = format!("Calls the function `{ident}`.");
        quote! {
            impl #ident {
                #[doc = #text]
                #[allow(dead_code)]
                #visibility #signature {
                    #ident(#(#given),*)
                }
            }
        }
    }

    /// How the type is called like the function. Not where it returns an `impl …`: a pointer to it has no type then.
    fn deref(&self) -> Option<TokenStream> {
        let (signature, ident) = (&self.function.item.sig, self.function.ident());
        if let ReturnType::Type(_, ty) = &signature.output
            && has_impl(ty)
        {
            return None;
        }
        let types = signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(input) => Some(&input.ty),
            FnArg::Receiver(_) => None,
        });
        let (lifetimes, output) = (&signature.generics.params, &signature.output);
        let lifetimes = (!lifetimes.is_empty()).then(|| quote!(for<#lifetimes>));
        let pointer = quote!(#lifetimes fn(#(#types),*) #output);
        Some(quote! {
            impl ::core::ops::Deref for #ident {
                type Target = #pointer;

                fn deref(&self) -> &Self::Target {
                    const FUNCTION: #pointer = #ident;
                    &FUNCTION
                }
            }
        })
    }
}

/// Whether a type has an `impl …` in it.
fn has_impl(ty: &Type) -> bool {
    struct Finds(bool);
    impl syn::visit_mut::VisitMut for Finds {
        fn visit_type_impl_trait_mut(&mut self, _: &mut syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut finds = Finds(false);
    syn::visit_mut::VisitMut::visit_type_mut(&mut finds, &mut ty.clone());
    finds.0
}

/// The author's attributes, by what of the function they belong to.
struct Attached {
    /// The type of its name.
    outer: Vec<Attribute>,
    /// The function itself.
    inner: Vec<Attribute>,
    /// All that is written.
    cfg: Vec<Attribute>,
}

impl Attached {
    fn of(attributes: &[Attribute]) -> Self {
        let is = |attribute: &Attribute, names: &[&str]| names.iter().any(|name| attribute.path().is_ident(name));
        let (cfg, others): (Vec<_>, Vec<_>) = attributes.iter().cloned().partition(|attribute| is(attribute, &["cfg"]));
        // A lint that is expected comes from one of both, and would be missed at the other.
        let others: Vec<_> = others.into_iter().map(allowed).collect();
        let levels = ["allow", "warn", "deny", "forbid"];
        let of_type = |attribute: &&Attribute| {
            doc(attribute).is_some() || is(attribute, &levels) || is(attribute, &["deprecated"])
        };
        let outer = cfg.iter().chain(others.iter().filter(of_type)).cloned().collect();
        let inner = others.iter().filter(|attribute| !is(attribute, &["deprecated"])).cloned().collect();
        Attached { outer, inner, cfg }
    }
}

/// An `expect` as an `allow`.
fn allowed(mut attribute: Attribute) -> Attribute {
    if let Meta::List(list) = &mut attribute.meta
        && list.path.is_ident("expect")
    {
        list.path = Ident::new("allow", list.path.span()).into();
    }
    attribute
}

/// What the catalogue is told beside the signature; `help` is what the doc comment says.
pub(crate) fn said(attributes: &Attributes, help: &str, worker: &TokenStream) -> TokenStream {
    let help = attributes.help.as_ref().map_or_else(|| help.to_owned(), syn::LitStr::value);
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
    let timeout = attributes.timeout.map(|millis| quote!(.timeout(::core::time::Duration::from_millis(#millis))));
    let repeatable = attributes.repeatable.then(|| quote!(.repeatable()));
    quote!(.help(#help).version(#version) #aliases #volatility #timeout #repeatable)
}
