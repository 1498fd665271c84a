//! The payload as JSON.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{Call, MOST_CALLS};
use crate::error::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payload {
    #[serde(deserialize_with = "at_most::<MOST_CALLS, _, _>")]
    pub(super) calls: Vec<Call>,
    #[serde(deserialize_with = "at_most::<MOST_CALLS, _, _>")]
    pub(super) results: Vec<usize>,
    #[serde(default)]
    pub(super) constants: Option<String>,
}

#[derive(Serialize)]
struct Written<'a> {
    calls: &'a [Call],
    results: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    constants: Option<String>,
}

pub(super) fn read(payload: &[u8]) -> Result<Payload> {
    serde_json::from_slice(payload).map_err(|error| {
        let like = r#"{"calls": [{"function": "name", "arguments": [{"column": 0}]}], "results": [0]}"#;
        Error::payload(format!("the payload is no JSON like {like}: {error}"))
    })
}

pub(super) fn write(calls: &[Call], results: &[usize], constants: Option<String>) -> Bytes {
    let written = serde_json::to_vec(&Written { calls, results, constants });
    written.expect("JSON has words for all of it, and a vector takes them").into()
}

/// Reads a list of at most `N`, and stops at the first that is too many: nothing is kept of a list that is refused.
pub(super) fn at_most<'de, const N: usize, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(AtMost::<N, T>(PhantomData))
}

struct AtMost<const N: usize, T>(PhantomData<T>);

impl<'de, const N: usize, T: Deserialize<'de>> Visitor<'de> for AtMost<N, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {N}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut read = Vec::new();
        while let Some(one) = list.next_element()? {
            if read.len() == N {
                return Err(A::Error::custom(format_args!("a list of more than {N}")));
            }
            read.push(one);
        }
        Ok(read)
    }
}
