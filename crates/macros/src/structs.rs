//! `#[derive(UdfStruct)]`: a struct as argument and result.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Data, DeriveInput, Error, Fields, GenericParam, Lifetime, Result, Type};

use crate::written::local;

pub(crate) fn expand(item: TokenStream, worker: &TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    let wrong = |span, text: &str| Err(Error::new(span, text));
    let Data::Struct(data) = &item.data else {
        return wrong(item.ident.span(), "`UdfStruct` is for structs: a column of them is one column for each field");
    };
    let Fields::Named(fields) = &data.fields else {
        return wrong(item.ident.span(), "`UdfStruct` needs fields with names, which callers see");
    };
    if fields.named.is_empty() {
        return wrong(item.ident.span(), "`UdfStruct` needs at least one field");
    }
    for parameter in &item.generics.params {
        match parameter {
            GenericParam::Lifetime(_) if item.generics.params.len() == 1 => {}
            _ => {
                let text = "a `UdfStruct` has no parameters but one lifetime: its columns have types, and live as long as \
                            their batch";
                return wrong(parameter.span(), text);
            }
        }
    }

    let ident = &item.ident;
    let is_borrowing = !item.generics.params.is_empty();
    let of = |lifetime: &TokenStream| if is_borrowing { quote!(#ident<#lifetime>) } else { quote!(#ident) };
    let this = of(&quote!('udf));
    let parameters = is_borrowing.then(|| quote!(<'udf>));
    let places: Vec<_> = (0..fields.named.len()).map(|place| format_ident!("f{place}")).collect();
    let idents: Vec<_> = fields.named.iter().map(|field| &field.ident).collect();
    let names: Vec<_> = fields
        .named
        .iter()
        .flat_map(|field| &field.ident)
        .map(|ident| ident.to_string().trim_start_matches("r#").to_owned())
        .collect();
    let types: Vec<_> = fields.named.iter().map(|field| of_batch(&field.ty)).collect();
    let numbers = 0..types.len();
    // No name of theirs may be one that the author's types have.
    let (reader, column) = (format_ident!("UdfReaderOf{ident}"), format_ident!("UdfColumnOf{ident}"));
    let column = if is_borrowing { quote!(#column<'udf>) } else { quote!(#column) };
    let [slots, wanted, array, part, row, count, value, nulls, columns] =
        ["slots", "wanted", "array", "part", "row", "count", "value", "nulls", "columns"].map(local);
    let rows = quote!(#worker::rows);
    Ok(quote! {
        const _: () = {
            pub struct #reader<'udf> {
                #(#places: <#types as #rows::Argument<'udf>>::Reader,)*
                batch: ::core::marker::PhantomData<&'udf ()>,
            }

            #[automatically_derived]
            impl<'udf> #rows::Argument<'udf> for #this {
                type Reader = #reader<'udf>;
                type List = #rows::ListReader<'udf, Self>;
            }

            #[automatically_derived]
            impl<'udf> #rows::Reader<'udf, #this> for #reader<'udf> {
                const TAKES_ALIKE: bool = true;

                fn data_type() -> #rows::DataType {
                    #rows::struct_of([#((#names, <<#types as #rows::Argument<'udf>>::Reader as #rows::Reader<'udf, #types>>::data_type())),*])
                }

                fn new(#slots: &#rows::Slots<'udf, '_>) -> ::core::result::Result<Self, #rows::Refusal> {
                    let #wanted = <Self as #rows::Reader<'udf, #this>>::data_type();
                    let #array = #rows::StructFields::new(#slots, &#wanted)?;
                    ::core::result::Result::Ok(#reader {
                        #(#places: #array.reader::<#types>(#numbers, #names)?,)*
                        batch: ::core::marker::PhantomData,
                    })
                }

                #[inline]
                fn part(&self, #part: ::core::ops::Range<usize>) -> Self {
                    #reader {
                        #(#places: #rows::Reader::<'udf, #types>::part(&self.#places, #part.clone()),)*
                        batch: ::core::marker::PhantomData,
                    }
                }

                #[inline]
                fn read(&self, #row: usize) -> #this {
                    #ident { #(#idents: #rows::Reader::<'udf, #types>::read(&self.#places, #row)),* }
                }
            }

            pub struct #column {
                rows: usize,
                #(#places: #rows::Gathered<<#types as #rows::Slot>::Value>,)*
            }

            #[automatically_derived]
            impl #parameters #rows::Value for #this {
                type Column = #column;
                type List = #rows::ListColumn<Self>;
                const MAY_BE_UNFIT: bool = #(#rows::may_be_unfit::<#types>())||*;

                fn unfit(&self) -> ::core::option::Option<::std::string::String> {
                    ::core::option::Option::None #(.or_else(|| #rows::unfit_field::<#types>(&self.#idents, #names)))*
                }
            }

            #[automatically_derived]
            impl #parameters #rows::Column<#this> for #column {
                fn data_type() -> #rows::DataType {
                    #rows::struct_of([#((#names, #rows::type_of::<#types>())),*])
                }

                fn with_capacity(#count: usize) -> Self {
                    Self { rows: 0, #(#places: #rows::gathered::<#types>(#count)),* }
                }

                #[inline]
                fn push(&mut self, #value: #this) {
                    self.rows += 1;
                    #(self.#places.push(#rows::Slot::into_value(#value.#idents));)*
                }

                fn push_nulls(&mut self, #count: usize) {
                    self.rows += #count;
                    #(self.#places.push_nulls(#count);)*
                }

                fn finish(self, #nulls: ::core::option::Option<#rows::NullBuffer>) -> #worker::Result<#rows::ArrayRef> {
                    let #columns = ::std::vec![#(self.#places.finish(::core::option::Option::None)?),*];
                    #rows::struct_array([#(#names),*], #columns, self.rows, #nulls)
                }
            }
        };
    })
}

/// The type with its lifetime being that of a batch.
fn of_batch(ty: &Type) -> Type {
    struct OfBatch;
    impl VisitMut for OfBatch {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            *lifetime = Lifetime::new("'udf", lifetime.span());
            visit_mut::visit_lifetime_mut(self, lifetime);
        }
    }
    let mut ty = ty.clone();
    OfBatch.visit_type_mut(&mut ty);
    ty
}
