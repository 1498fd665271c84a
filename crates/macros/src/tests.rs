//! Wrong uses, and what the macro says of them.

use proc_macro2::TokenStream;
use quote::quote;

use super::{expand_function, structs};

/// All that is wrong with a function, in order.
fn refused(attributes: &str, item: &str) -> Vec<String> {
    let tokens = |text: &str| text.parse::<TokenStream>().expect("tokens");
    match expand_function(tokens(attributes), tokens(item), &quote!(::w)) {
        Ok(_) => Vec::new(),
        Err(error) => error.into_iter().map(|error| error.to_string()).collect(),
    }
}

#[test]
fn what_can_be_a_udf_is_one() {
    for (attributes, item) in [
        ("", "fn f(x: f64) -> f64 { x }"),
        ("", "pub(crate) const fn f() -> i32 { 3 }"),
        ("", "fn f<'a>(mut a: &'a str, _b: Option<&'a str>) -> Result<Option<&'a str>, String> { Ok(Some(a)) }"),
        ("", "fn f(x: f64, #[options] o: &Options) -> f64 { x * o.factor }"),
        ("", r#"fn f(x: f64, #[default(-2)] n: i32, #[default("m")] unit: &str, #[variadic] r: Vec<i8>) -> f64 { x }"#),
        (r#"name = "g", aliases = ["h", "i"], volatility = "stable", version = "3""#, "fn f(x: f64) -> f64 { x }"),
        (r#"aliases = "h", help = "no doc comment", on_error = "null","#, "fn f(x: f64) -> io::Result<f64> { Ok(x) }"),
        (r#"timeout = "250ms", repeatable"#, "fn f(x: f64) -> f64 { x }"),
        ("types = [i64, &str]", "fn f<'a, T>(a: T, b: Vec<Option<T>>, c: &'a str) -> &'a str where T: Copy { c }"),
        ("example(1.0 => 1.0), example(-1.0 => Some(2.0),)", "fn f(x: f64) -> f64 { x }"),
        (r#"on_error = "collect""#, "fn f(x: f64) -> f64 { x }"),
    ] {
        assert_eq!(refused(attributes, item), [""; 0], "{attributes} {item}");
    }
}

#[test]
fn what_cannot_be_a_udf_is_told_why() {
    for (item, words) in [
        ("struct F;", "belongs on a function"),
        ("async fn f(x: f64) -> f64 { x }", "is not `async`"),
        ("unsafe fn f(x: f64) -> f64 { x }", "is not `unsafe`"),
        (r#"extern "C" fn f(x: f64) -> f64 { x }"#, "without `extern`"),
        ("fn f(&self, x: f64) -> f64 { x }", "takes no `self`"),
        ("fn f<T>(x: T) -> T { x }", "is not generic: its columns have types; say what one type parameter stands for"),
        ("fn f<const N: usize>(x: f64) -> f64 { x }", "is not generic"),
        ("fn f(x: f64) -> f64 where f64: Copy { x }", "has no `where`"),
        ("fn f(x: impl Into<f64>) -> f64 { x.into() }", "write the type instead of `impl …`"),
        ("fn f((x, y): (f64, f64)) -> f64 { x }", "needs a name"),
        ("fn f(_: f64) -> f64 { 1.0 }", "needs a name"),
        ("fn f(x: &mut str) -> f64 { 1.0 }", "can't be changed"),
        ("fn f(x: &'static str) -> f64 { 1.0 }", "does not live for `'static`"),
        ("fn f(#[default(2)] x: f64, y: f64) -> f64 { x }", "needs a `#[default(…)]` too"),
        ("fn f(#[default(g())] x: f64) -> f64 { x }", "write `#[default(2)]`"),
        ("fn f(#[default] x: f64) -> f64 { x }", "write `#[default(2)]`"),
        ("fn f(#[variadic] x: &[f64], y: f64) -> f64 { y }", "the last argument alone can be variadic"),
        ("fn f(#[variadic] x: f64) -> f64 { x }", "write `&[T]` or `Vec<T>`"),
        ("fn f(#[variadic] #[default(2)] x: &[f64]) -> f64 { x[0] }", "needs no default"),
        ("fn f(x: f64) { }", "returns the value of its row"),
        ("fn f(x: f64) -> () { }", "returns the value of its row"),
        ("fn f(x: f64, #[options] o: Options) -> f64 { x }", "write `&Options`"),
        (
            "fn f(a: i8, b: i8, c: i8, d: i8, e: i8, f: i8, g: i8, h: i8, i: i8, j: i8, k: i8, l: i8, m: i8) -> i8 { a }",
            "takes up to 12 arguments, and this one has 13",
        ),
    ] {
        let said = refused("", item);
        assert!(matches!(&said[..], [one] if one.contains(words)), "{item}: {said:?}");
    }
    let both = refused("", "async fn f(x: f64) { }");
    assert_eq!(both.len(), 2, "all of it at once: {both:?}");
}

#[test]
fn wrong_attributes_are_told_what_there_is() {
    for (attributes, words) in [
        (r#"nam = "f""#, "no attribute `nam`; there are batch, table, map, aggregate; name, aliases"),
        ("name", r#"write `name = "…"`"#),
        ("name = 3", "expected \"text\""),
        (r#"name = """#, "a name is not empty"),
        (r#"name = "a", name = "b""#, "`name` is said twice"),
        (r#"aliases = [""]"#, "an alias is not empty"),
        (r#"timeout = "soon""#, "`soon` is no time; write a whole number with ms, s, m or h"),
        (r#"timeout = "1.5s""#, "`1.5s` is no time"),
        (r#"timeout = "0s""#, "`0s` is no time"),
        ("timeout = 30", "expected \"text\""),
        (r#"repeatable = "yes""#, "write `repeatable` alone"),
        (r#"volatility = "moody""#, "`moody` is no volatility; there are immutable, stable, volatile"),
        (r#"on_error = "retry""#, "there are fail, null, collect"),
        (r#"on_error = "null""#, "this one has no errors"),
        ("example(1.0)", "write `example(1.0, 2.0 => 3.0)`"),
        ("example(1.0 => )", "write `example(1.0, 2.0 => 3.0)`"),
        ("example(1.0 => 2.0, 3.0)", "write `example(1.0, 2.0 => 3.0)`"),
        ("example = 1.0", "expected \"text\""),
        ("table, example(1.0 => 2.0)", "`example` is for scalar functions"),
        ("types = [i64]", "`types` is for a function with a type parameter"),
        ("types = []", "write `types = [i64, f64]`"),
        (r#"types = "i64""#, "write `types = [i64, f64]`"),
        ("batch, table", "of one kind"),
        ("batch = 3", "write `batch` alone"),
        (r#"batch, nulls = "zero""#, "there are give_null, values"),
        (r#"batch, on_error = "null""#, "is for scalar functions of rows"),
        (r#"batch, returns = "Utf8""#, "write `returns = DataType::…`"),
        ("returns = DataType::Utf8", "here the type says it"),
        ("batch", "write `&Float64Array`"),
        ("table", "take `#[options] options: &Options`"),
        ("aggregate", "belongs on an `impl` of the state"),
    ] {
        let said = refused(attributes, "fn f(x: f64) -> f64 { x }");
        assert!(matches!(&said[..], [one] if one.contains(words)), "{attributes}: {said:?}");
    }
}

#[test]
fn what_cannot_be_a_column_of_structs_is_told_why() {
    for (item, words) in [
        ("enum E { A }", "is for structs"),
        ("struct S(f64);", "fields with names"),
        ("struct S {}", "at least one field"),
        ("struct S<T> { x: T }", "no parameters but one lifetime"),
        ("struct S<'a, 'b> { x: &'a str, y: &'b str }", "no parameters but one lifetime"),
    ] {
        let error = structs::expand(item.parse().expect("tokens"), &quote!(::w)).expect_err(item);
        assert!(error.to_string().contains(words), "{item}: {error}");
    }
}

#[test]
fn what_cannot_be_an_aggregate_is_told_why() {
    let methods = |new: &str, update: &str, merge: &str, finish: &str| {
        format!("impl S {{ {new} fn {update} {{}} fn {merge} {{}} fn {finish} {{ 1 }} }}")
    };
    let (new, update) = ("fn new() -> Self { S }", "update(&mut self, x: i64)");
    let (merge, finish) = ("merge(&mut self, other: Self)", "finish(self) -> i64");
    assert_eq!(refused("aggregate", &methods(new, update, merge, finish)), [""; 0]);
    for (item, words) in [
        (methods("", update, merge, finish), "`new` is missing"),
        (methods(new, "update(self, x: i64)", merge, finish), "`update` is another"),
        (methods(new, update, "merge(&mut self)", finish), "`merge` is another"),
        (methods(new, update, merge, "finish(&self) -> i64"), "`finish` is another"),
        (methods(new, update, merge, "finish(self)"), "needs a `-> …`"),
        (methods(new, "update(&mut self, (a, b): (i64, i64))", merge, finish), "needs a name"),
        (format!("impl T for S {{ {new} }}"), "without a trait"),
    ] {
        let said = refused("aggregate", &item);
        assert!(matches!(&said[..], [one] if one.contains(words)), "{item}: {said:?}");
    }
}

/// It is iterated over as well, and its error would be an empty table.
#[test]
fn a_result_of_all_rows_is_refused() {
    for (attributes, item) in [
        ("table", "fn f() -> std::io::Result<Vec<String>> { read() }"),
        ("table, returns = schema()", "fn f() -> Result<Vec<RecordBatch>, Error> { read() }"),
        ("map", "fn f(x: i64) -> Result<Vec<i64>, String> { Err(x.to_string()) }"),
    ] {
        let said = refused(attributes, item);
        assert!(matches!(&said[..], [one] if one.contains("each of which may be a `Result`")), "{item}: {said:?}");
    }
    assert_eq!(refused("table", "fn f() -> Vec<Result<i64, String>> { vec![] }"), [""; 0]);
    assert_eq!(refused("map", "fn f(batch: RecordBatch) -> Result<RecordBatch, Error> { Ok(batch) }"), [""; 0]);
}
