//! What stands in `#[udf(…)]`.

use proc_macro2::{Span, TokenStream};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, LitStr, Result, Token, bracketed};

/// What becomes of a row whose call fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnError {
    /// It ends the execution.
    #[default]
    Fail,
    /// It is null.
    Null,
}

/// What the author says beside the function.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) name: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    /// The variant of `Volatility`.
    pub(crate) volatility: Option<Ident>,
    pub(crate) version: Option<LitStr>,
    pub(crate) help: Option<LitStr>,
    /// With where it was said.
    pub(crate) on_error: Option<(OnError, Span)>,
}

const KNOWN: &str = "name, aliases, volatility, version, help, on_error";

impl Attributes {
    pub(crate) fn parse(arguments: TokenStream) -> Result<Self> {
        let all = Punctuated::<Attribute, Token![,]>::parse_terminated.parse2(arguments)?;
        let mut attributes = Attributes::default();
        let mut seen: Vec<String> = Vec::new();
        for Attribute { key, value } in all {
            let name = key.to_string();
            if seen.contains(&name) {
                return Err(Error::new(key.span(), format!("`{name}` is said twice")));
            }
            attributes.set(&name, &key, value)?;
            seen.push(name);
        }
        Ok(attributes)
    }

    fn set(&mut self, name: &str, key: &Ident, value: Option<Said>) -> Result<()> {
        match name {
            "name" => self.name = Some(filled(text(key, value)?, "a name")?),
            "version" => self.version = Some(text(key, value)?),
            "help" => self.help = Some(text(key, value)?),
            "aliases" => {
                self.aliases = match value {
                    Some(Said::Texts(texts)) => texts,
                    Some(Said::Text(text)) => vec![text],
                    None => return Err(Error::new(key.span(), r#"write `aliases = ["one", "two"]`"#)),
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
                    other => {
                        let text_ = format!("`{other}` is nothing that can be done on an error; there are fail, null");
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

/// The text of a `key = "text"`.
fn text(key: &Ident, value: Option<Said>) -> Result<LitStr> {
    match value {
        Some(Said::Text(text)) => Ok(text),
        _ => Err(Error::new(key.span(), format!(r#"write `{key} = "…"`"#))),
    }
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
}

impl Parse for Attribute {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key: Ident = input.parse()?;
        let value = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Some(input.parse()?)
        } else {
            None
        };
        Ok(Attribute { key, value })
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
        input.parse().map(Said::Text).map_err(expected)
    }
}
