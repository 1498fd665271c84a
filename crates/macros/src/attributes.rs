//! What stands in `#[udf(…)]`.

use proc_macro2::{Span, TokenStream};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Ident, Lit, LitStr, Result, Token, Type, bracketed, parenthesized};

/// What becomes of a row whose call fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnError {
    /// It ends the execution.
    #[default]
    Fail,
    /// It is null.
    Null,
    /// It is told beside the values.
    Collect,
}

/// What the function is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A value for each row.
    #[default]
    Scalar,
    /// An array for arrays.
    Batch,
    /// Rows without input.
    Table,
    /// Rows, or batches, for each.
    Map,
    /// A value for all rows.
    Aggregate,
}

/// A call and what it gives: `"a b a", "a" => 2`.
pub(crate) struct Example {
    pub(crate) arguments: Vec<Expr>,
    pub(crate) result: Expr,
    /// Where it was said.
    pub(crate) span: Span,
}

/// What the author says beside the function.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) kind: Kind,
    /// The type or schema of the result, where the function does not say it.
    pub(crate) returns: Option<Expr>,
    /// Whether nulls are left to a function of arrays.
    pub(crate) nulls_are_values: bool,
    pub(crate) name: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    /// The variant of `Volatility`.
    pub(crate) volatility: Option<Ident>,
    /// In milliseconds.
    pub(crate) timeout: Option<u64>,
    pub(crate) repeatable: bool,
    pub(crate) examples: Vec<Example>,
    /// What the type parameter of a generic function stands for, the most usual first.
    pub(crate) types: Vec<Type>,
    pub(crate) version: Option<LitStr>,
    pub(crate) help: Option<LitStr>,
    /// With where it was said.
    pub(crate) on_error: Option<(OnError, Span)>,
}

const KNOWN: &str = "batch, table, map, aggregate; name, aliases, volatility, repeatable, timeout, version, help, on_error, \
                     example, types, returns, nulls";

impl Attributes {
    pub(crate) fn parse(arguments: TokenStream) -> Result<Self> {
        let all = Punctuated::<Attribute, Token![,]>::parse_terminated.parse2(arguments)?;
        let mut attributes = Attributes::default();
        let mut seen: Vec<String> = Vec::new();
        for Attribute { key, value } in all {
            let name = key.to_string();
            // There may be as many examples as one likes.
            if seen.contains(&name) && name != "example" {
                return Err(Error::new(key.span(), format!("`{name}` is said twice")));
            }
            match (kind(&name), value) {
                (Some(_), _) if attributes.kind != Kind::Scalar => {
                    return Err(Error::new(key.span(), "a function is of one kind: batch, table, map or aggregate"));
                }
                (Some(kind), _) => attributes.kind = kind,
                (None, value) => attributes.set(&name, &key, value)?,
            }
            seen.push(name);
        }
        Ok(attributes)
    }

    fn set(&mut self, name: &str, key: &Ident, value: Option<Said>) -> Result<()> {
        match name {
            "name" => self.name = Some(filled(text(key, value)?, "a name")?),
            "version" => self.version = Some(text(key, value)?),
            "help" => self.help = Some(text(key, value)?),
            "timeout" => self.timeout = Some(millis(&text(key, value)?)?),
            "example" => match value {
                Some(Said::Example(example)) => self.examples.push(example),
                _ => {
                    return Err(Error::new(
                        key.span(),
                        "write `example(1.0, 2.0 => 3.0)`: arguments and what comes of them",
                    ));
                }
            },
            "types" => match value {
                Some(Said::Types(types)) if !types.is_empty() => self.types = types,
                _ => {
                    return Err(Error::new(
                        key.span(),
                        "write `types = [i64, f64]`: what the type parameter stands for",
                    ));
                }
            },
            "repeatable" => match value {
                None => self.repeatable = true,
                Some(_) => return Err(Error::new(key.span(), "write `repeatable` alone")),
            },
            "returns" => match value {
                Some(Said::Other(expression)) => self.returns = Some(expression),
                _ => return Err(Error::new(key.span(), "write `returns = DataType::…`, or an expression of a schema")),
            },
            "nulls" => {
                let text = text(key, value)?;
                self.nulls_are_values = match &*text.value() {
                    "values" => true,
                    "give_null" => false,
                    other => {
                        let text_ = format!("`{other}` is nothing that nulls can be; there are give_null, values");
                        return Err(Error::new(text.span(), text_));
                    }
                };
            }
            "aliases" => {
                self.aliases = match value {
                    Some(Said::Texts(texts)) => texts,
                    Some(Said::Text(text)) => vec![text],
                    _ => return Err(Error::new(key.span(), r#"write `aliases = ["one", "two"]`"#)),
                };
                for alias in &self.aliases {
                    filled(alias.clone(), "an alias")?;
                }
            }
            "volatility" => {
                let text = text(key, value)?;
                let variant = match &*text.value() {
                    "immutable" => "Immutable",
                    "stable" => "Stable",
                    "volatile" => "Volatile",
                    other => {
                        let known = "there are immutable, stable, volatile";
                        return Err(Error::new(text.span(), format!("`{other}` is no volatility; {known}")));
                    }
                };
                self.volatility = Some(Ident::new(variant, text.span()));
            }
            "on_error" => {
                let text = text(key, value)?;
                let on_error = match &*text.value() {
                    "fail" => OnError::Fail,
                    "null" => OnError::Null,
                    "collect" => OnError::Collect,
                    other => {
                        let known = "there are fail, null, collect";
                        let text_ = format!("`{other}` is nothing that can be done on an error; {known}");
                        return Err(Error::new(text.span(), text_));
                    }
                };
                self.on_error = Some((on_error, text.span()));
            }
            other => {
                return Err(Error::new(key.span(), format!("`#[udf]` has no attribute `{other}`; there are {KNOWN}")));
            }
        }
        Ok(())
    }
}

/// The kind of this name.
fn kind(name: &str) -> Option<Kind> {
    match name {
        "batch" => Some(Kind::Batch),
        "table" => Some(Kind::Table),
        "map" => Some(Kind::Map),
        "aggregate" => Some(Kind::Aggregate),
        _ => None,
    }
}

/// The text of a `key = "text"`.
fn text(key: &Ident, value: Option<Said>) -> Result<LitStr> {
    match value {
        Some(Said::Text(text)) => Ok(text),
        _ => Err(Error::new(key.span(), format!(r#"write `{key} = "…"`"#))),
    }
}

/// A time such as `30s`, in milliseconds.
fn millis(text: &LitStr) -> Result<u64> {
    let said = text.value();
    let (number, unit) = said.split_at(said.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(said.len()));
    let scale = match unit.trim() {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" | "min" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let millis = number.parse().ok().zip(scale).and_then(|(number, scale): (u64, u64)| number.checked_mul(scale));
    millis.filter(|&millis| millis > 0).ok_or_else(|| {
        let instead = "write a whole number with ms, s, m or h, such as `timeout = \"30s\"`";
        Error::new(text.span(), format!("`{said}` is no time; {instead}"))
    })
}

fn filled(text: LitStr, what: &str) -> Result<LitStr> {
    if text.value().trim().is_empty() { Err(Error::new(text.span(), format!("{what} is not empty"))) } else { Ok(text) }
}

struct Attribute {
    key: Ident,
    value: Option<Said>,
}

enum Said {
    Text(LitStr),
    Texts(Vec<LitStr>),
    Example(Example),
    Types(Vec<Type>),
    Other(Expr),
}

impl Parse for Attribute {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key: Ident = input.parse()?;
        let value = if input.peek(Token![=]) {
            let equals = input.parse::<Token![=]>()?;
            if kind(&key.to_string()).is_some() {
                return Err(Error::new(equals.span, format!("write `{key}` alone")));
            }
            if key == "types" && input.peek(syn::token::Bracket) {
                let types;
                bracketed!(types in input);
                let types = Punctuated::<Type, Token![,]>::parse_terminated(&types)?;
                return Ok(Attribute { key, value: Some(Said::Types(types.into_iter().collect())) });
            }
            Some(input.parse()?)
        } else if key == "example" && input.peek(syn::token::Paren) {
            let inner;
            parenthesized!(inner in input);
            Some(Said::Example(Example::parse(&inner, key.span())?))
        } else {
            None
        };
        Ok(Attribute { key, value })
    }
}

impl Example {
    fn parse(input: ParseStream<'_>, span: Span) -> Result<Self> {
        let expected = |error: Error| {
            Error::new(error.span(), "write `example(1.0, 2.0 => 3.0)`: arguments, `=>`, and what comes of them")
        };
        let mut arguments = Vec::new();
        while !input.peek(Token![=>]) {
            arguments.push(input.parse().map_err(expected)?);
            if !input.peek(Token![=>]) {
                input.parse::<Token![,]>().map_err(expected)?;
            }
        }
        input.parse::<Token![=>]>().map_err(expected)?;
        let result = input.parse().map_err(expected)?;
        input.parse::<Option<Token![,]>>()?;
        if input.is_empty() { Ok(Example { arguments, result, span }) } else { Err(expected(input.error(""))) }
    }
}

impl Parse for Said {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let expected = |error: Error| Error::new(error.span(), r#"expected "text" or ["texts"]"#);
        if input.peek(syn::token::Bracket) {
            let texts;
            bracketed!(texts in input);
            let texts = Punctuated::<LitStr, Token![,]>::parse_terminated(&texts).map_err(expected)?;
            return Ok(Said::Texts(texts.into_iter().collect()));
        }
        if input.peek(Lit) {
            return input.parse().map(Said::Text).map_err(expected);
        }
        input.parse().map(Said::Other)
    }
}
