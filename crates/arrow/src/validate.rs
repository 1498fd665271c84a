//! The checks that every value of a peer goes through, written for the speed of memory (C10).
//!
//! Arrow's own checks of offsets and text go value by value and cost more than everything else in a decoder together.
//! Here a whole buffer is judged at once, in loops that the compiler turns into vector instructions.

use arrow_buffer::{ArrowNativeType, Buffer};
use arrow_data::{validate_binary_view, validate_string_view};

use crate::error::{Error, Result};

/// Offsets never descend, start at or after zero and end within `limit`.
///
/// # Panics
/// If `offsets` is empty.
pub(crate) fn offsets<O: ArrowNativeType + PartialOrd>(offsets: &[O], limit: usize) -> Result<()> {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    // A fold without a way out in the middle: this is what lets it be vectorised.
    let ascending = offsets.iter().zip(&offsets[1..]).fold(true, |ascending, (a, b)| ascending & (a <= b));
    if !ascending {
        let row = offsets.windows(2).position(|pair| pair[0] > pair[1]).unwrap_or_default();
        return Err(Error::malformed(format!("the offsets descend at row {row}")));
    }
    match (first.to_usize(), last.to_usize()) {
        (Some(_), Some(last)) if last <= limit => Ok(()),
        _ => Err(Error::malformed(format!(
            "the offsets run from {first:?} to {last:?}, over values that end at {limit}"
        ))),
    }
}

/// Every value that `offsets` cut out of `values` is UTF-8. The offsets have passed [`offsets`].
pub(crate) fn utf8<O: ArrowNativeType>(offsets: &[O], values: &[u8]) -> Result<()> {
    let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    let text = &values[first..last];
    if text.is_ascii() {
        return Ok(());
    }
    // The values are UTF-8 if and only if their concatenation is and no cut goes through a character.
    let whole = simdutf8::basic::from_utf8(text).is_ok();
    let continues = |byte: u8| (byte as i8) < -0x40;
    if whole
        && !offsets
            .iter()
            .any(|cut| values.get(cut.as_usize()).is_some_and(|byte| continues(*byte)) && cut.as_usize() < last)
    {
        return Ok(());
    }
    let row = offsets
        .windows(2)
        .position(|cut| std::str::from_utf8(&values[cut[0].as_usize()..cut[1].as_usize()]).is_err())
        .unwrap_or_default();
    Err(Error::malformed(format!("the text at row {row} is not UTF-8")))
}

/// Views stay inside `buffers` and repeat their prefixes; of strings, every one is UTF-8.
pub(crate) fn views(views: &[u128], buffers: &[Buffer], strings: bool) -> Result<()> {
    if obviously_valid_views(views, buffers, strings) {
        return Ok(());
    }
    let check = if strings { validate_string_view } else { validate_binary_view };
    check(views, buffers).map_err(Error::invalid)
}

/// The common case: everything is in place, and strings are ASCII. `false` says that it takes a closer look.
fn obviously_valid_views(views: &[u128], buffers: &[Buffer], strings: bool) -> bool {
    const INLINE: u32 = 12;
    /// The highest bits of the twelve bytes that a short value has.
    const NOT_ASCII: u128 = 0x80808080_80808080_80808080_00000000;

    if strings && !buffers.iter().all(|buffer| buffer.is_ascii()) {
        return false;
    }
    let not_ascii = if strings { NOT_ASCII } else { 0 };
    views.iter().all(|view| {
        let length = *view as u32;
        if length <= INLINE {
            let unused = if length == INLINE { 0 } else { view >> (32 + length * 8) };
            return unused == 0 && view & not_ascii == 0;
        }
        let (prefix, index, start) = ((view >> 32) as u32, (view >> 64) as u32 as usize, (view >> 96) as u32 as usize);
        let value = buffers.get(index).and_then(|buffer| buffer.get(start..start + length as usize));
        value.is_some_and(|value| value.starts_with(&prefix.to_le_bytes()))
    })
}

/// Every key is the index of one of `values` values. `false` says that at least one key, perhaps of a null, is not.
pub(crate) fn keys<K: ArrowNativeType>(keys: &[K], values: usize) -> bool {
    // A negative key becomes a huge index.
    keys.iter().fold(0, |most, key| key.as_usize().max(most)) < values || keys.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C10: offsets.
    #[test]
    fn offsets_stay_in_order_and_in_range() {
        assert!(offsets(&[0i32, 3, 3, 7], 7).is_ok());
        assert!(offsets(&[2i64], 2).is_ok());
        for (bad, limit) in [(&[0i32, 3, 2, 7][..], 7), (&[-1, 0], 7), (&[0, 8], 7), (&[5, -1], 7), (&[-1], 7)] {
            assert!(offsets(bad, limit).is_err(), "{bad:?}");
        }
    }

    /// C10: text is judged value by value, not only as a whole.
    #[test]
    fn no_cut_goes_through_a_character() {
        let text = "aé€😀".as_bytes();
        assert!(utf8(&[0i32, 1, 3, 6, 10], text).is_ok());
        assert!(utf8(&[1i32, 3], text).is_ok());
        for bad in [[0i32, 2], [2, 3], [0, 5], [7, 10], [0, 9]] {
            assert!(utf8(&bad, text).is_err(), "{bad:?}");
        }
        // Garbage outside of the values is nobody's business.
        assert!(utf8(&[1i32, 3], b"\xff\xc3\xa9\xff").is_ok());
        assert!(utf8(&[0i32, 1, 4], b"a\xed\xa0\x80").is_err());
    }

    /// C10: keys.
    #[test]
    fn keys_point_at_values() {
        assert!(keys(&[0i8, 1, 2], 3) && keys::<u64>(&[], 0));
        assert!(!keys(&[0i8, -1], 3) && !keys(&[3u16], 3) && !keys(&[u64::MAX], 3) && !keys(&[0i32], 0));
    }
}
