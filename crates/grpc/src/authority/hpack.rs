//! A header block read the way HPACK says (RFC 7541), to find `:authority` and to give it a value that the `http` crate
//! takes (P8). Pure: it sees whole blocks and touches nothing but one value's bytes.
//!
//! Which fields of a block are `:authority` depends on what earlier blocks put into the dynamic table, so every block
//! of a connection has to pass here, in order. The table is kept as far as that question needs it: names' lengths,
//! whether it is the one we look for, and sizes, which decide what falls out.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

use http::uri::Authority;

use super::huffman;

/// The bytes of the dynamic table: `SETTINGS_HEADER_TABLE_SIZE` as it is unless a server announces another one, and
/// ours does not.
const TABLE_BYTES: usize = 4096;

/// What an entry of the dynamic table counts beyond its name and value (RFC 7541, section 4.1).
const ENTRY_BYTES: usize = 32;

/// What a refused authority is overwritten by, as often as it takes: every beginning of it is an authority.
const FILLER: &[u8] = b"localhost.";

const AUTHORITY: &str = ":authority";

/// The names of the static table, from index 1 (RFC 7541, appendix A).
#[rustfmt::skip]
const STATIC_NAMES: [&str; 61] = [
    AUTHORITY, ":method", ":method", ":path", ":path", ":scheme", ":scheme", ":status", ":status", ":status",
    ":status", ":status", ":status", ":status", "accept-charset", "accept-encoding", "accept-language",
    "accept-ranges", "accept", "access-control-allow-origin", "age", "allow", "authorization", "cache-control",
    "content-disposition", "content-encoding", "content-language", "content-length", "content-location",
    "content-range", "content-type", "cookie", "date", "etag", "expect", "expires", "from", "host", "if-match",
    "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified", "link", "location",
    "max-forwards", "proxy-authenticate", "proxy-authorization", "range", "referer", "refresh", "retry-after",
    "server", "set-cookie", "strict-transport-security", "transfer-encoding", "user-agent", "vary", "via",
    "www-authenticate",
];

/// The header blocks of one connection, in one direction.
#[derive(Debug)]
pub(super) struct HeaderBlocks {
    /// None once a block could not be followed. From then on a name by an index of the dynamic table is unknown; the
    /// ways in which a sane client first names `:authority`, by the static table and by text, still are found.
    table: Option<Table>,
}

/// The block is none; the reader behind us will say how.
#[derive(Debug)]
struct Malformed;

impl HeaderBlocks {
    pub(super) fn new() -> Self {
        HeaderBlocks { table: Some(Table { entries: VecDeque::new(), bytes: 0, limit: TABLE_BYTES }) }
    }

    /// Reads the next block and overwrites each `:authority` in it that [`Authority`] refuses, without changing a
    /// length, coded or decoded. Tells whether it wrote anything.
    ///
    /// An empty value, and the few that no authority of the same lengths can replace, are left; so is a block that
    /// is malformed.
    pub(super) fn rewrite(&mut self, block: &mut [u8]) -> bool {
        let Ok(refused) = self.read(block) else {
            self.skip();
            return false;
        };
        let mut wrote = false;
        for Refused { at, coding } in refused {
            let value = &mut block[at];
            wrote |= match coding {
                Coding::Raw => {
                    value.iter_mut().zip(FILLER.iter().cycle()).for_each(|(byte, filler)| *byte = *filler);
                    true
                }
                Coding::Huffman { chars, bits } => huffman::overwrite(value, chars, bits),
            };
        }
        wrote
    }

    /// The next block went by unread: what it did to the dynamic table is not known.
    pub(super) fn skip(&mut self) {
        self.table = None;
    }

    /// Reads a block and finds the authorities to overwrite.
    fn read(&mut self, block: &[u8]) -> Result<Vec<Refused>, Malformed> {
        let mut refused = Vec::new();
        let mut reader = Reader { block, at: 0 };
        let mut at_start = true;
        while let Some(first) = reader.peek() {
            match first {
                0b1000_0000.. => {
                    let index = reader.integer(7)?;
                    self.name(index)?;
                }
                0b0010_0000..0b0100_0000 => {
                    let limit = reader.integer(5)?;
                    if !at_start || limit > TABLE_BYTES {
                        return Err(Malformed);
                    }
                    if let Some(table) = &mut self.table {
                        table.resize(limit);
                    }
                    continue;
                }
                _ => {
                    let kept = first & 0b0100_0000 != 0;
                    let name = match reader.integer(if kept { 6 } else { 4 })? {
                        0 => Some(Name::new(&reader.string()?.text)?),
                        index => self.name(index)?,
                    };
                    let value = reader.string()?;
                    if name.is_some_and(|name| name.is_authority) {
                        refused.extend(value.refused());
                    }
                    match (&mut self.table, name) {
                        (Some(table), Some(name)) if kept => table.insert(name, value.text.len()),
                        _ => {}
                    }
                }
            }
            at_start = false;
        }
        Ok(refused)
    }

    /// The name at an index of both tables; none if it may be anything, because we lost track.
    fn name(&self, index: usize) -> Result<Option<Name>, Malformed> {
        let index = index.checked_sub(1).ok_or(Malformed)?;
        if let Some(name) = STATIC_NAMES.get(index) {
            return Name::new(name.as_bytes()).map(Some);
        }
        match &self.table {
            Some(table) => {
                let entry = table.entries.get(index - STATIC_NAMES.len()).ok_or(Malformed)?;
                Ok(Some(entry.name))
            }
            None => Ok(None),
        }
    }
}

/// An `:authority` that `http` refuses: where its value is, and what the value in its place has to measure.
struct Refused {
    at: Range<usize>,
    coding: Coding,
}

#[derive(Clone, Copy)]
enum Coding {
    Raw,
    Huffman { chars: usize, bits: usize },
}

/// What matters of a field's name.
#[derive(Debug, Clone, Copy)]
struct Name {
    bytes: usize,
    is_authority: bool,
}

impl Name {
    fn new(text: &[u8]) -> Result<Self, Malformed> {
        if text.is_empty() {
            return Err(Malformed);
        }
        Ok(Name { bytes: text.len(), is_authority: text == AUTHORITY.as_bytes() })
    }
}

/// The dynamic table, newest entry first.
#[derive(Debug)]
struct Table {
    entries: VecDeque<Entry>,
    bytes: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    bytes: usize,
}

impl Table {
    /// Adds an entry; one that is larger than the table empties it instead (RFC 7541, section 4.4).
    fn insert(&mut self, name: Name, value_bytes: usize) {
        let bytes = ENTRY_BYTES + name.bytes + value_bytes;
        self.shrink(self.limit.saturating_sub(bytes));
        if bytes <= self.limit {
            self.bytes += bytes;
            self.entries.push_front(Entry { name, bytes });
        }
    }

    fn resize(&mut self, limit: usize) {
        self.limit = limit;
        self.shrink(limit);
    }

    fn shrink(&mut self, limit: usize) {
        while self.bytes > limit {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.bytes -= oldest.bytes;
        }
    }
}

/// The primitive types of a block (RFC 7541, section 5).
struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

/// A string: where it is, how it is written, and what it says.
struct Text<'a> {
    at: Range<usize>,
    coding: Coding,
    text: Cow<'a, [u8]>,
}

impl Text<'_> {
    /// This value of an `:authority`, if it has to be overwritten and can be.
    fn refused(&self) -> Option<Refused> {
        let refused = !self.text.is_empty() && Authority::try_from(&self.text[..]).is_err();
        refused.then(|| Refused { at: self.at.clone(), coding: self.coding })
    }
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.block.get(self.at).copied()
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = self.peek().ok_or(Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    /// An integer whose first bits are the low `prefix` ones of the next byte. More than five bytes are refused, as h2
    /// does; so nothing overflows.
    fn integer(&mut self, prefix: u32) -> Result<usize, Malformed> {
        let mask = (1 << prefix) - 1;
        let mut value = usize::from(self.byte()?) & mask;
        if value < mask {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn string(&mut self) -> Result<Text<'a>, Malformed> {
        let is_coded = self.peek().ok_or(Malformed)? & 0x80 != 0;
        let len = self.integer(7)?;
        let at = self.at..self.at.checked_add(len).ok_or(Malformed)?;
        let block = self.block;
        let bytes = block.get(at.clone()).ok_or(Malformed)?;
        self.at = at.end;
        if !is_coded {
            return Ok(Text { at, coding: Coding::Raw, text: bytes.into() });
        }
        let huffman::Decoded { text, bits } = huffman::decode(bytes).ok_or(Malformed)?;
        Ok(Text { at, coding: Coding::Huffman { chars: text.len(), bits }, text: text.into() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The like of what gRPC's C core sends for a Unix socket.
    const SOCKET: &str = "%2Ftmp%2Fanyudf%2Fw.sock";

    fn integer(prefix: u32, bits: u8, value: usize) -> Vec<u8> {
        let mask = (1_usize << prefix) - 1;
        if value < mask {
            return vec![bits | value as u8];
        }
        let (mut bytes, mut rest) = (vec![bits | mask as u8], value - mask);
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    }

    fn raw(text: &str) -> Vec<u8> {
        [integer(7, 0, text.len()), text.as_bytes().to_vec()].concat()
    }

    fn coded(text: &str) -> Vec<u8> {
        let coded = huffman::encode(text.as_bytes());
        [integer(7, 0x80, coded.len()), coded].concat()
    }

    fn indexed(index: usize) -> Vec<u8> {
        integer(7, 0x80, index)
    }

    fn resize(bytes: usize) -> Vec<u8> {
        integer(5, 0x20, bytes)
    }

    /// The three literals: kept in the table, not kept, and never to be kept.
    #[derive(Debug, Clone, Copy)]
    enum Literal {
        Kept,
        Passing,
        Secret,
    }
    use Literal::{Kept, Passing, Secret};

    impl Literal {
        fn at(self, index: usize, value: Vec<u8>) -> Vec<u8> {
            let (prefix, bits) = match self {
                Kept => (6, 0x40),
                Passing => (4, 0x00),
                Secret => (4, 0x10),
            };
            [integer(prefix, bits, index), value].concat()
        }

        fn named(self, name: Vec<u8>, value: Vec<u8>) -> Vec<u8> {
            self.at(0, [name, value].concat())
        }
    }

    /// A block rewritten, and whether that changed anything.
    fn rewritten(blocks: &mut HeaderBlocks, block: &[u8]) -> (Vec<u8>, bool) {
        let mut after = block.to_vec();
        let wrote = blocks.rewrite(&mut after);
        assert_eq!(wrote, after != block, "it tells whether it wrote");
        (after, wrote)
    }

    /// Rewrites `before + value + after` and gives back what the value became, once nothing else changed.
    fn value_of(blocks: &mut HeaderBlocks, before: &[u8], value: &[u8], after: &[u8]) -> String {
        let whole = [before, value, after].concat();
        let (rewritten, _) = rewritten(blocks, &whole);
        assert_eq!(rewritten.len(), whole.len());
        assert_eq!(&rewritten[..before.len()], before);
        assert_eq!(&rewritten[before.len() + value.len()..], after);
        let text = Reader { block: &rewritten, at: before.len() }.string().unwrap().text.into_owned();
        String::from_utf8(text).unwrap()
    }

    /// P8: each way to write the field, with a value that is text or coded.
    #[test]
    fn p8_every_literal_every_name_every_coding() {
        for kind in [Kept, Passing, Secret] {
            for name in [kind.at(1, vec![]), kind.named(raw(AUTHORITY), vec![]), kind.named(coded(AUTHORITY), vec![])] {
                for value in [raw(SOCKET), coded(SOCKET)] {
                    let before = [indexed(3), indexed(6), name.clone()].concat();
                    let after = Kept.named(raw("te"), raw("trailers"));
                    let got = value_of(&mut HeaderBlocks::new(), &before, &value, &after);
                    assert_eq!(got.len(), SOCKET.len());
                    assert!(got.parse::<Authority>().is_ok(), "{kind:?} {name:?} became {got}");
                }
            }
        }
    }

    /// P8: a value of any length is overwritten by one of that length.
    #[test]
    fn p8_lengths_1_to_300() {
        for len in 1..=300 {
            let text: String = "%2Frun%2Fu".chars().cycle().take(len).collect();
            for value in [raw(&text), coded(&text)] {
                let got = value_of(&mut HeaderBlocks::new(), &[0x41], &value, &[]);
                assert_eq!(got.len(), len);
                assert!(got.parse::<Authority>().is_ok(), "{got}");
            }
        }
    }

    /// P8: what `http` takes stays as it is, and so does what nothing can be done about.
    #[test]
    fn p8_valid_and_empty_values_are_left() {
        for text in ["localhost", "localhost:50051", "[::1]:80", "a%20b@host", "127.0.0.1", "", "~"] {
            for value in [raw(text), coded(text)] {
                assert_eq!(value_of(&mut HeaderBlocks::new(), &[0x41], &value, &[]), text);
            }
        }
        let (_, wrote) = rewritten(&mut HeaderBlocks::new(), &Kept.at(1, coded("\\")));
        assert!(!wrote, "one character of 19 bits");
        assert!(!rewritten(&mut HeaderBlocks::new(), &indexed(1)).1, "the static table's empty authority");
    }

    /// P8: no other field is touched, whatever it holds.
    #[test]
    fn p8_other_fields_are_left() {
        let block = [
            Kept.at(4, raw("/%2F")),
            Kept.named(raw(":authorit"), raw(SOCKET)),
            Kept.named(coded("authority"), coded(SOCKET)),
            Secret.at(38, raw(SOCKET)),
            indexed(64),
        ]
        .concat();
        assert!(!rewritten(&mut HeaderBlocks::new(), &block).1);
    }

    /// P8: the name by an index of the dynamic table, over several blocks, pushed down and pushed out.
    #[test]
    fn p8_names_by_the_dynamic_table() {
        let mut blocks = HeaderBlocks::new();
        let first = [Kept.at(1, raw(SOCKET)), Kept.at(4, raw("/a/b"))].concat();
        assert!(rewritten(&mut blocks, &first).1);
        // 62 is now :path and 63 is :authority.
        assert!(!rewritten(&mut blocks, &Passing.at(62, raw(SOCKET))).1);
        assert!(rewritten(&mut blocks, &Passing.at(63, raw(SOCKET))).1);
        // Kept once more, it is at 62 as well, and 64.
        assert!(rewritten(&mut blocks, &Kept.at(63, coded(SOCKET))).1);
        assert!(rewritten(&mut blocks, &Secret.at(62, coded(SOCKET))).1);
        assert!(rewritten(&mut blocks, &Secret.at(64, coded(SOCKET))).1);
        // Entries of 32 + 1 + 967 = 1000 bytes: four of them leave 96, and each authority counts 66.
        for pushed in 0..4 {
            assert!(rewritten(&mut blocks, &Secret.at(62 + pushed, raw(SOCKET))).1);
            assert!(!rewritten(&mut blocks, &Kept.named(raw("x"), raw(&"v".repeat(967)))).1);
        }
        assert!(rewritten(&mut blocks, &Secret.at(66, raw(SOCKET))).1, "the newest authority stayed");
        assert!(blocks.table.is_some());
        rewritten(&mut blocks, &indexed(67));
        assert!(blocks.table.is_none(), "what was pushed out is no index any more");
    }

    /// P8: the size of the table goes as the client says, within ours.
    #[test]
    fn p8_size_updates_empty_the_table() {
        let field = Kept.at(1, raw(SOCKET));
        let by_index = Passing.at(62, raw(SOCKET));

        let mut blocks = HeaderBlocks::new();
        rewritten(&mut blocks, &field);
        assert!(rewritten(&mut blocks, &[resize(66), resize(4096), by_index.clone()].concat()).1, "66 bytes: it fits");
        rewritten(&mut blocks, &[resize(65), resize(4096)].concat());
        assert!(blocks.table.as_ref().is_some_and(|table| table.entries.is_empty()));
        assert!(!rewritten(&mut blocks, &by_index).1, "there is no such entry");

        let mut blocks = HeaderBlocks::new();
        assert!(rewritten(&mut blocks, &[resize(65), field.clone()].concat()).1);
        assert!(blocks.table.as_ref().is_some_and(|table| table.entries.is_empty()), "it never fitted");

        for block in [resize(4097), [field.clone(), resize(0)].concat()] {
            let mut blocks = HeaderBlocks::new();
            assert!(!rewritten(&mut blocks, &block).1, "too large, or too late in the block");
            assert!(blocks.table.is_none());
        }
    }

    /// P8: a malformed block is left to the reader behind us, whatever else it holds.
    #[test]
    fn p8_malformed_blocks_are_left() {
        let field = Kept.at(1, raw(SOCKET));
        for tail in [
            vec![0x80],                               // index 0
            indexed(70),                              // an index that does not exist
            vec![0x40, 0x00, 0x00],                   // a name without text
            vec![0x41, 0x05, b'a'],                   // a value cut short
            vec![0x41, 0x81, 0b0000_0110],            // bad padding
            vec![0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f], // an integer too long
            vec![0x7f],                               // an integer cut short
            vec![0x41],                               // no value
        ] {
            let mut blocks = HeaderBlocks::new();
            assert!(!rewritten(&mut blocks, &[field.clone(), tail.clone()].concat()).1, "{tail:x?}");
            assert!(blocks.table.is_none());
        }
    }

    /// P8: after a block that went by unread, the ways that need no dynamic table still work, and no index is taken
    /// for what it is not.
    #[test]
    fn p8_after_a_skipped_block() {
        let mut blocks = HeaderBlocks::new();
        rewritten(&mut blocks, &Kept.at(1, raw(SOCKET)));
        blocks.skip();
        let unknown = [Kept.at(62, raw(SOCKET)), indexed(100)].concat();
        assert!(!rewritten(&mut blocks, &unknown).1);
        assert!(rewritten(&mut blocks, &[unknown, Kept.at(1, raw(SOCKET))].concat()).1);
        assert!(rewritten(&mut blocks, &Kept.at(1, raw(SOCKET))).1);
        assert!(rewritten(&mut blocks, &Kept.named(coded(AUTHORITY), coded(SOCKET))).1);
    }

    /// The `http` crate has the same names, which come from nowhere near here.
    #[test]
    fn the_static_names_are_spelled_right() {
        use http::header::*;
        #[rustfmt::skip]
        let ordinary = [
            ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCEPT_RANGES, ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, AGE,
            ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
            CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, COOKIE, DATE, ETAG, EXPECT, EXPIRES, FROM,
            HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, LINK,
            LOCATION, MAX_FORWARDS, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, REFERER, REFRESH, RETRY_AFTER,
            SERVER, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING, USER_AGENT, VARY, VIA, WWW_AUTHENTICATE,
        ];
        assert_eq!(STATIC_NAMES[14..], ordinary.each_ref().map(HeaderName::as_str));
    }

    /// As many bytes as h2 takes, and not one more.
    #[test]
    fn integers_have_five_bytes_at_most() {
        let read = |block: &[u8]| Reader { block, at: 0 }.integer(5).ok();
        assert_eq!(read(&[0xe0 | 10]), Some(10), "RFC 7541, appendix C.1.1");
        assert_eq!(read(&[0x1f, 0x9a, 0x0a]), Some(1337), "RFC 7541, appendix C.1.2");
        assert_eq!(read(&[0x1f, 0xff, 0xff, 0xff, 0x7f]), Some(31 + (1 << 28) - 1));
        assert_eq!(read(&[0x1f, 0x80, 0x80, 0x80, 0x00]), Some(31));
        assert_eq!(read(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x00]), None);
        assert_eq!(read(&[0x1f, 0x80]), None);
        assert_eq!(read(&[]), None);
    }

    proptest! {
        /// P8: what is not a block does no harm, and no length ever changes.
        #[test]
        fn p8_any_bytes(sent in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..8)) {
            let mut blocks = HeaderBlocks::new();
            for block in sent {
                rewritten(&mut blocks, &block);
                if let Some(table) = &blocks.table {
                    prop_assert_eq!(table.bytes, table.entries.iter().map(|entry| entry.bytes).sum::<usize>());
                    prop_assert!(table.bytes <= table.limit && table.limit <= TABLE_BYTES);
                }
            }
        }

        /// P8: any value at all becomes an authority of its length, or is one, or is left.
        #[test]
        fn p8_any_value(text in "[ -~]{0,300}", huffman in any::<bool>()) {
            let value = if huffman { coded(&text) } else { raw(&text) };
            let got = value_of(&mut HeaderBlocks::new(), &[0x41], &value, &[]);
            prop_assert_eq!(got.len(), text.len());
            // A coded value may need more bits than any authority of its length has.
            prop_assert!(got.parse::<Authority>().is_ok() || text.is_empty() || huffman && got == text, "{}", got);
        }
    }
}
