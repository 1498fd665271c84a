//! The author's function: what is asked of it, and what is said of one that can't be a `#[udf]`.

use proc_macro2::{Span, TokenStream};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, Error, Expr, FnArg, GenericArgument, GenericParam, Ident, ItemFn, Lifetime, Lit, Meta, Pat, PatType,
    PathArguments, Result, ReturnType, Type, UnOp,
};

/// How many arguments the traits are written for.
const MOST_ARGUMENTS: usize = 12;

/// A function that can be a `#[udf]`.
pub(crate) struct Function {
    /// As it was written, without our attributes on its arguments.
    pub(crate) item: ItemFn,
    /// In the order of the columns.
    pub(crate) arguments: Vec<Argument>,
    /// The type of its options and their place among its parameters.
    pub(crate) options: Option<(usize, Type)>,
    pub(crate) result: Type,
    /// What its type parameter stands for, where it has one.
    pub(crate) concrete: Option<Type>,
}

/// An argument that is a column.
#[derive(Clone)]
pub(crate) struct Argument {
    /// What the catalogue calls it.
    pub(crate) name: String,
    pub(crate) ty: Type,
    /// The type of its column, where its own does not say it: `#[data_type(…)]`.
    pub(crate) data_type: Option<Expr>,
    /// The value where it is left out: `#[default(…)]`.
    pub(crate) default: Option<Expr>,
    /// Where it says that it takes many columns: `#[variadic]`.
    pub(crate) variadic: Option<Span>,
}

impl Function {
    /// # Errors
    /// All that is wrong with it, at once.
    pub(crate) fn parse(item: TokenStream, types: &[Type]) -> Result<Self> {
        let not_a_function = "`#[udf]` belongs on a function, such as `fn miles(km: f64) -> f64 { … }`";
        let mut item: ItemFn = syn::parse2(item).map_err(|error| Error::new(error.span(), not_a_function))?;
        let mut faults = Faults::default();
        faults.of_signature(&item, types);
        let mut arguments = Vec::new();
        let mut options = None;
        for (place, input) in item.sig.inputs.iter_mut().enumerate() {
            match input {
                FnArg::Receiver(receiver) => faults.add(
                    receiver.span(),
                    "a `#[udf]` takes no `self`: it is a function of its row; one that keeps something between rows \
                     implements `Function`",
                ),
                FnArg::Typed(input) if has_attribute(input, "options") => {
                    input.attrs.retain(|attribute| !attribute.path().is_ident("options"));
                    let Type::Reference(ty) = &*input.ty else {
                        faults.add(input.ty.span(), "options are lent to the function: write `&Options`");
                        continue;
                    };
                    if options.is_some() {
                        faults.add(input.span(), "there are options already; put all of them into one struct");
                    }
                    options = Some((place, (*ty.elem).clone()));
                }
                FnArg::Typed(input) => {
                    let name = faults.name_of(input);
                    faults.of_type(&input.ty);
                    let data_type = faults.data_type_of(input);
                    let default = faults.default_of(input);
                    let variadic = faults.variadic_of(input);
                    arguments.push(Argument { name, ty: elided(&input.ty), data_type, default, variadic });
                }
            }
        }
        faults.of_order(&arguments);
        if arguments.len() > MOST_ARGUMENTS {
            let text = format!(
                "a `#[udf]` takes up to {MOST_ARGUMENTS} arguments, and this one has {}; take a struct with \
                 `#[derive(UdfStruct)]`, or options",
                arguments.len()
            );
            faults.add(item.sig.inputs.span(), &text);
        }
        let result = match &item.sig.output {
            ReturnType::Type(_, ty) if !is_unit(ty) => Some(elided(ty)),
            _ => {
                faults.add(item.sig.ident.span(), "a `#[udf]` returns the value of its row, so it needs a `-> …`");
                None
            }
        };
        faults.none()?;
        let result = result.expect("a missing one is a fault");
        Ok(Function { item, arguments, options, result, concrete: None })
    }

    /// The type parameter of a generic function.
    pub(crate) fn parameter(&self) -> Option<&Ident> {
        self.item.sig.generics.type_params().next().map(|parameter| &parameter.ident)
    }

    /// The same with a type for its parameter.
    pub(crate) fn with(&self, parameter: &Ident, ty: &Type) -> Self {
        let concrete = |of: &Type| replaced(of, parameter, ty);
        let argument = |argument: &Argument| Argument { ty: concrete(&argument.ty), ..argument.clone() };
        Function {
            item: self.item.clone(),
            arguments: self.arguments.iter().map(argument).collect(),
            options: self.options.clone(),
            result: concrete(&self.result),
            concrete: Some(ty.clone()),
        }
    }

    pub(crate) fn ident(&self) -> &Ident {
        &self.item.sig.ident
    }

    /// The first paragraph of its doc comment, in one line.
    pub(crate) fn help(&self) -> String {
        paragraph(&self.item.attrs)
    }
}

/// The arguments of a method beside its receiver.
///
/// # Errors
/// All that is wrong with them, at once.
pub(crate) fn arguments_of<'i>(inputs: impl Iterator<Item = &'i mut FnArg>, of: &str) -> Result<Vec<Argument>> {
    let mut faults = Faults::default();
    let mut arguments = Vec::new();
    for input in inputs {
        if let FnArg::Typed(input) = input {
            let name = faults.name_of(input);
            faults.of_type(&input.ty);
            arguments.push(Argument { name, ty: elided(&input.ty), data_type: None, default: None, variadic: None });
        }
    }
    if let Some(beyond) = arguments.get(MOST_ARGUMENTS) {
        faults.add(beyond.ty.span(), &format!("{of} takes up to {MOST_ARGUMENTS} arguments"));
    }
    faults.none()?;
    Ok(arguments)
}

/// The first paragraph of a doc comment, in one line.
pub(crate) fn paragraph(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(doc).map(|line| line.trim().to_owned());
    let paragraph = lines.skip_while(String::is_empty).take_while(|line| !line.is_empty());
    paragraph.collect::<Vec<_>>().join(" ")
}

/// The text of a line of a doc comment.
pub(crate) fn doc(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn has_attribute(input: &PatType, name: &str) -> bool {
    input.attrs.iter().any(|attribute| attribute.path().is_ident(name))
}

fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty()) || matches!(ty, Type::Never(_))
}

/// A literal, a negative one, or `None`.
fn is_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Lit(literal) => matches!(literal.lit, Lit::Str(_) | Lit::Int(_) | Lit::Float(_) | Lit::Bool(_)),
        Expr::Unary(unary) => matches!(unary.op, UnOp::Neg(_)) && is_literal(&unary.expr),
        Expr::Path(path) => path.path.is_ident("None"),
        _ => false,
    }
}

/// The `T` of a `&[T]` or a `Vec<T>`.
pub(crate) fn item_of(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Reference(reference) => match &*reference.elem {
            Type::Slice(slice) => Some(&slice.elem),
            _ => None,
        },
        ty => argument_of(ty, "Vec"),
    }
}

/// The `T` of a `Name<T>`.
pub(crate) fn argument_of<'t>(ty: &'t Type, name: &str) -> Option<&'t Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.first()? {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        },
        _ => None,
    }
}

/// The type with its named lifetimes left to the compiler, as inside a function's body.
pub(crate) fn elided(ty: &Type) -> Type {
    struct Elide;
    impl VisitMut for Elide {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                *lifetime = Lifetime::new("'_", lifetime.span());
            }
            visit_mut::visit_lifetime_mut(self, lifetime);
        }
    }
    let mut ty = ty.clone();
    Elide.visit_type_mut(&mut ty);
    ty
}

/// The type with another where `parameter` stands.
fn replaced(of: &Type, parameter: &Ident, by: &Type) -> Type {
    struct Replace<'t>(&'t Ident, &'t Type);
    impl VisitMut for Replace<'_> {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            match ty {
                Type::Path(path) if path.qself.is_none() && path.path.is_ident(self.0) => *ty = self.1.clone(),
                other => visit_mut::visit_type_mut(self, other),
            }
        }
    }
    let mut of = of.clone();
    Replace(parameter, by).visit_type_mut(&mut of);
    of
}

/// What is wrong with a function.
#[derive(Default)]
struct Faults(Option<Error>);

impl Faults {
    fn add(&mut self, span: Span, text: &str) {
        let error = Error::new(span, text);
        match &mut self.0 {
            Some(faults) => faults.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn none(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }

    fn of_signature(&mut self, item: &ItemFn, types: &[Type]) {
        let signature = &item.sig;
        if let Some(word) = &signature.asyncness {
            self.add(
                word.span(),
                "a `#[udf]` is not `async`: it returns the value of its row, on a thread of its own where it may block",
            );
        }
        if let Some(word) = &signature.unsafety {
            self.add(word.span(), "a `#[udf]` is not `unsafe`: the worker calls it with whatever the data says");
        }
        if let Some(abi) = &signature.abi {
            self.add(abi.span(), "a `#[udf]` is an ordinary Rust function, without `extern`");
        }
        let mut parameters = 0;
        for parameter in &signature.generics.params {
            match parameter {
                GenericParam::Lifetime(lifetime) if lifetime.bounds.is_empty() => {}
                GenericParam::Type(_) if !types.is_empty() && parameters == 0 => parameters += 1,
                _ => self.add(
                    parameter.span(),
                    "a `#[udf]` is not generic: its columns have types; say what one type parameter stands for, as in \
                     `#[udf(types = [i64, f64])]`",
                ),
            }
        }
        match &signature.generics.where_clause {
            Some(clause) if types.is_empty() => {
                self.add(clause.span(), "a `#[udf]` is not generic, so it has no `where`")
            }
            _ => {}
        }
        if let Some(first) = types.first().filter(|_| parameters == 0) {
            self.add(
                first.span(),
                "`types` is for a function with a type parameter, such as `fn f<T: Copy>(x: T) -> T`",
            );
        }
    }

    /// The name of an argument, which the catalogue tells.
    fn name_of(&mut self, input: &PatType) -> String {
        match &*input.pat {
            Pat::Ident(pat) if pat.subpat.is_none() && pat.by_ref.is_none() => {
                let name = pat.ident.to_string();
                name.trim_start_matches("r#").trim_start_matches('_').to_owned()
            }
            other => {
                self.add(other.span(), "an argument of a `#[udf]` needs a name, which callers see");
                String::new()
            }
        }
    }

    /// The expression of `#[data_type(…)]`, which is taken off.
    fn data_type_of(&mut self, input: &mut PatType) -> Option<Expr> {
        let place = input.attrs.iter().position(|attribute| attribute.path().is_ident("data_type"))?;
        match input.attrs.remove(place).parse_args() {
            Ok(expression) => Some(expression),
            Err(error) => {
                self.add(error.span(), "write `#[data_type(DataType::…)]`");
                None
            }
        }
    }

    /// The literal of `#[default(…)]`, which is taken off.
    fn default_of(&mut self, input: &mut PatType) -> Option<Expr> {
        let place = input.attrs.iter().position(|attribute| attribute.path().is_ident("default"))?;
        let attribute = input.attrs.remove(place);
        match attribute.parse_args::<Expr>() {
            Ok(expression) if is_literal(&expression) => Some(expression),
            _ => {
                self.add(attribute.span(), "write `#[default(2)]`: a number, a text, `true`, `false`, or `None`");
                None
            }
        }
    }

    /// Where `#[variadic]` is said, which is taken off.
    fn variadic_of(&mut self, input: &mut PatType) -> Option<Span> {
        let place = input.attrs.iter().position(|attribute| attribute.path().is_ident("variadic"))?;
        let span = input.attrs.remove(place).span();
        if item_of(&input.ty).is_none() {
            self.add(
                input.ty.span(),
                "a variadic argument is a list of what its columns hold: write `&[T]` or `Vec<T>`",
            );
        }
        Some(span)
    }

    /// Callers leave out what is at the end, and there too is what they repeat.
    fn of_order(&mut self, arguments: &[Argument]) {
        let single = arguments.len() - usize::from(arguments.last().is_some_and(|last| last.variadic.is_some()));
        let mut seen = arguments[..single].iter().skip_while(|argument| argument.default.is_none());
        if let Some(argument) = seen.find(|argument| argument.default.is_none()) {
            self.add(
                argument.ty.span(),
                "this needs a `#[default(…)]` too: who leaves out an argument leaves out all behind it",
            );
        }
        if let Some(span) = arguments[..single].iter().find_map(|argument| argument.variadic) {
            self.add(span, "the last argument alone can be variadic");
        }
        if let Some(argument) = arguments[single..].iter().find(|argument| argument.default.is_some()) {
            self.add(argument.ty.span(), "a variadic argument needs no default: without columns it is an empty list");
        }
    }

    fn of_type(&mut self, ty: &Type) {
        match ty {
            Type::ImplTrait(_) => self.add(
                ty.span(),
                "a `#[udf]` is not generic: its columns have types; write the type instead of `impl …`",
            ),
            Type::Reference(reference) if reference.mutability.is_some() => {
                self.add(ty.span(), "a column can't be changed: take `&…`, and return what is new");
            }
            Type::Reference(reference) if reference.lifetime.as_ref().is_some_and(|it| it.ident == "static") => {
                self.add(ty.span(), "a batch does not live for `'static`: take a `&…` without it");
            }
            _ => {}
        }
    }
}
