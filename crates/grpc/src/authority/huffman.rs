//! The string code of HPACK (RFC 7541, section 5.2 and appendix B), as far as a rewriter needs it: reading a string,
//! and overwriting one by another of the same length on both sides.
//!
//! The code is canonical: codes of one length are consecutive and go by symbol, and a longer code starts where the
//! shorter ones end. So the lengths alone make the whole code.

/// The longest code, in bits.
const LONGEST: usize = 30;

/// How many bits each symbol takes: the 256 bytes, then the end of string, which no string may spell.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, // control characters
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6, // space to /
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10, // 0 to ?
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7, // @ to O
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6, // P to _
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5, // ` to o
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28, // p to delete
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, // not ASCII
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The code that [`LENGTHS`] make. The slots of a length count from 0 to [`LONGEST`].
struct Code {
    /// Each symbol's code, in the low bits.
    codes: [u32; 257],
    /// The symbols in the order of their codes.
    symbols: [u16; 257],
    /// The first code of a length,
    first: [u32; LONGEST + 1],
    /// how many codes have that length,
    count: [u32; LONGEST + 1],
    /// and where their symbols start in `symbols`.
    start: [usize; LONGEST + 1],
}

static CODE: Code = {
    let mut code = Code {
        codes: [0; 257],
        symbols: [0; 257],
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        start: [0; LONGEST + 1],
    };
    let (mut next, mut sorted, mut length) = (0_u32, 0, 1);
    while length <= LONGEST {
        next <<= 1;
        code.first[length] = next;
        code.start[length] = sorted;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code.codes[symbol] = next;
                code.symbols[sorted] = symbol as u16;
                next += 1;
                sorted += 1;
            }
            symbol += 1;
        }
        code.count[length] = next - code.first[length];
        length += 1;
    }
    // Every sequence of `LONGEST` bits starts with a symbol: reading needs no bound of its own.
    assert!(next == 1 << LONGEST && sorted == LENGTHS.len());
    code
};

/// A string read from its coded form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// What it says.
    pub(super) text: Vec<u8>,
    /// The bits that say it: the coded form without its padding, of which there are less than eight.
    pub(super) bits: usize,
}

/// Reads a coded string, or tells that it is none: it ends within a symbol, is padded with anything but less than eight
/// ones, or spells the end of string.
pub(super) fn decode(coded: &[u8]) -> Option<Decoded> {
    let mut decoded = Decoded { text: Vec::with_capacity(coded.len() * 8 / 5), bits: 0 };
    let (mut code, mut length) = (0_u32, 0);
    for bit in coded.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        let place = code.wrapping_sub(CODE.first[length]);
        if place < CODE.count[length] {
            let symbol = CODE.symbols[CODE.start[length] + place as usize];
            decoded.text.push(u8::try_from(symbol).ok()?);
            decoded.bits += length;
            (code, length) = (0, 0);
        }
    }
    (length < 8 && code == (1 << length) - 1).then_some(decoded)
}

/// Characters that any authority may hold, by the bits they take beyond five.
const FILLERS: [u8; 4] = *b"adjX";

/// The longest character that an authority may hold, for what is longer than [`FILLERS`] can be.
const LONG_FILLER: u8 = b'~';

/// Overwrites a coded string by another one of `chars` characters in `bits` bits, which is an authority, and tells
/// whether there is one. There is, except for a very short string of very rare characters.
///
/// `coded` is what [`decode`] read: `bits` and less than eight bits of padding.
pub(super) fn overwrite(coded: &mut [u8], chars: usize, bits: usize) -> bool {
    let long_bits = bits_of(LONG_FILLER);
    let fits = |long: &usize| {
        let short = chars - long;
        bits.checked_sub(long * long_bits).is_some_and(|rest| (5 * short..=8 * short).contains(&rest))
    };
    let Some(long) = (0..=chars).find(fits) else { return false };
    let short = chars - long;
    let mut beyond_five = bits - long * long_bits - 5 * short;
    let shorts = (0..short).map(|_| {
        let more = beyond_five.min(FILLERS.len() - 1);
        beyond_five -= more;
        FILLERS[more]
    });
    write(coded, shorts.chain(std::iter::repeat_n(LONG_FILLER, long)));
    true
}

fn bits_of(symbol: u8) -> usize {
    usize::from(LENGTHS[usize::from(symbol)])
}

/// Writes the codes of `text`, which fit, and pads with ones.
fn write(coded: &mut [u8], text: impl Iterator<Item = u8>) {
    coded.fill(0xff);
    let mut at = 0;
    for symbol in text {
        let code = CODE.codes[usize::from(symbol)];
        for shift in (0..bits_of(symbol)).rev() {
            if code >> shift & 1 == 0 {
                coded[at / 8] &= !(0x80 >> (at % 8));
            }
            at += 1;
        }
    }
}

#[cfg(test)]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let mut coded = vec![0; text.iter().map(|symbol| bits_of(*symbol)).sum::<usize>().div_ceil(8)];
    write(&mut coded, text.iter().copied());
    coded
}

#[cfg(test)]
mod tests {
    use http::uri::Authority;
    use proptest::prelude::*;

    use super::*;

    /// The strings of RFC 7541, appendix C.4 and C.6.
    #[test]
    fn the_examples_of_the_rfc() {
        for (text, coded) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-key", "25a849e95ba97d7f"),
            ("custom-value", "25a849e95bb8e8b4bf"),
            ("302", "6402"),
            ("Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
            ("https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"),
            (
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            ),
        ] {
            let bytes: Vec<u8> =
                (0..coded.len()).step_by(2).map(|i| u8::from_str_radix(&coded[i..i + 2], 16).unwrap()).collect();
            assert_eq!(decode(&bytes).unwrap().text, text.as_bytes());
            assert_eq!(encode(text.as_bytes()), bytes);
        }
    }

    #[test]
    fn bad_padding_and_the_end_symbol_are_refused() {
        assert_eq!(decode(&[]), Some(Decoded { text: vec![], bits: 0 }));
        assert_eq!(decode(&[0b0000_0111]), Some(Decoded { text: b"0".to_vec(), bits: 5 }));
        assert_eq!(decode(&[0b0000_0110]), None, "padding that is not all ones");
        assert_eq!(decode(&[0b0000_0111, 0xff]), None, "eight bits of padding or more");
        assert_eq!(decode(&[0xff]), None, "nothing but padding, and a whole byte of it");
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), None, "the end symbol");
    }

    #[test]
    fn the_fillers_have_the_lengths_they_stand_for() {
        assert_eq!(FILLERS.map(bits_of), [5, 6, 7, 8]);
        assert_eq!(bits_of(LONG_FILLER), 13);
    }

    /// P8: whatever sum of bits is between all-shortest and all-longest of the short fillers has a rewriting.
    #[test]
    fn p8_every_length_up_to_300_with_every_ordinary_sum_of_bits() {
        for chars in 1..=300 {
            for bits in 5 * chars..=8 * chars {
                overwritten(chars, bits);
            }
        }
    }

    fn overwritten(chars: usize, bits: usize) {
        let mut coded = vec![0; bits.div_ceil(8)];
        assert!(overwrite(&mut coded, chars, bits), "{chars} characters in {bits} bits");
        let decoded = decode(&coded).unwrap();
        assert_eq!((decoded.text.len(), decoded.bits), (chars, bits));
        Authority::try_from(&decoded.text[..]).unwrap();
    }

    /// P8: what cannot be had is left as it was.
    #[test]
    fn p8_a_sum_of_bits_that_nothing_has_is_left_alone() {
        let mut coded = encode(b"\\");
        let before = coded.clone();
        assert!(!overwrite(&mut coded, 1, 19));
        assert_eq!(coded, before);
    }

    proptest! {
        #[test]
        fn every_string_comes_back(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let bits = text.iter().map(|symbol| bits_of(*symbol)).sum();
            prop_assert_eq!(decode(&encode(&text)), Some(Decoded { text, bits }));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some(decoded) = decode(&bytes) {
                prop_assert_eq!(encode(&decoded.text), bytes);
            }
        }

        /// P8: any percent-encoded text has a rewriting.
        #[test]
        fn p8_percent_encoded_text_has_a_rewriting(text in "[%/0-9A-Za-z._~-]{1,300}") {
            let bits = text.bytes().map(bits_of).sum();
            overwritten(text.len(), bits);
        }
    }
}
