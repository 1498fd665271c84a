//! Where HTTP/2 frames begin and end, and which of them make a header block (RFC 9113, sections 4.1, 4.3 and 6.2).
//! Pure: it is shown bytes as they come and counts.

use std::ops::Range;

use super::hpack::HeaderBlocks;

/// What a client says before its first frame.
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;

/// The largest block that is gathered, in bytes from its first payload to its last, the heads between included. A
/// larger one passes unread.
const BLOCK_BYTES: usize = 64 * 1024;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// The stream dependency and weight that [`PRIORITY`] announces.
const PRIORITY_BYTES: usize = 5;

/// One client's bytes, followed frame by frame, with its header blocks rewritten.
#[derive(Debug)]
pub(super) struct Frames {
    at: At,
    blocks: HeaderBlocks,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum At {
    /// The preface, or a payload that does not concern us: `left` bytes of it.
    Payload { left: usize },
    /// A frame's head, of which `have` bytes are known.
    Head { bytes: [u8; HEAD_BYTES], have: usize },
    /// A header block, which is looked at from its first byte each time until it is whole.
    Block(Block),
    /// Something that we do not follow: what came was not HTTP/2, and the reader behind us ends the connection, or the
    /// connection ended by itself.
    Lost,
}

/// How far some bytes may go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// How many may be read; the rest begin a header block that is not whole. They are to be shown again, in front of
    /// what follows them.
    pub(super) bytes: usize,
    /// How many bytes that block lacks to be whole or to tell how long it is; 0 when there is none.
    pub(super) missing: usize,
}

impl Frames {
    pub(super) fn new() -> Self {
        Frames { at: At::Payload { left: PREFACE_BYTES }, blocks: HeaderBlocks::new() }
    }

    /// The connection ended or failed within a block: whatever comes now passes.
    pub(super) fn lose(&mut self) {
        self.at = At::Lost;
    }

    /// Looks at the next bytes, and rewrites the header blocks that are whole in them. Unless they continue a block, at
    /// least one of them passes.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) -> Passed {
        let mut passed = 0;
        loop {
            let rest = &mut bytes[passed..];
            self.at = match &mut self.at {
                At::Payload { left } if *left > rest.len() => {
                    *left -= rest.len();
                    return Passed { bytes: bytes.len(), missing: 0 };
                }
                At::Payload { left } => {
                    passed += *left;
                    At::Head { bytes: [0; HEAD_BYTES], have: 0 }
                }
                At::Head { bytes: head, have } => {
                    let taken = rest.len().min(HEAD_BYTES - *have);
                    head[*have..*have + taken].copy_from_slice(&rest[..taken]);
                    *have += taken;
                    passed += taken;
                    if *have < HEAD_BYTES {
                        return Passed { bytes: passed, missing: 0 };
                    }
                    let head = Head::parse(head);
                    match head.kind {
                        HEADERS => At::Block(Block::new(&head)),
                        _ => At::Payload { left: head.payload },
                    }
                }
                At::Block(block) => match block.look(rest) {
                    Look::Lacks(missing) => return Passed { bytes: passed, missing },
                    Look::Whole => {
                        passed += block.bytes;
                        block.rewrite(&mut rest[..block.bytes], &mut self.blocks);
                        At::Head { bytes: [0; HEAD_BYTES], have: 0 }
                    }
                    Look::TooLarge => {
                        self.blocks.skip();
                        At::Payload { left: block.bytes }
                    }
                    Look::Nonsense => At::Lost,
                },
                At::Lost => return Passed { bytes: bytes.len(), missing: 0 },
            };
        }
    }
}

/// The head of a frame.
struct Head {
    payload: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    fn parse(bytes: &[u8; HEAD_BYTES]) -> Self {
        let [len @ .., kind, flags, a, b, c, d] = *bytes;
        let [high, middle, low] = len;
        Head {
            payload: u32::from_be_bytes([0, high, middle, low]) as usize,
            kind,
            flags,
            // The highest bit means nothing.
            stream: u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff,
        }
    }

    fn ends_block(&self) -> bool {
        self.flags & END_HEADERS != 0
    }
}

/// A HEADERS frame after its head, and the CONTINUATION frames after it.
#[derive(Debug)]
struct Block {
    stream: u32,
    /// The flags of the HEADERS frame,
    flags: u8,
    /// and its payload.
    first: usize,
    /// From the first byte after the HEADERS frame's head to the end of the last frame known.
    bytes: usize,
    /// Whether that frame is the last one.
    ended: bool,
}

/// What the bytes at hand make of a block.
enum Look {
    /// At least so many more are needed.
    Lacks(usize),
    Whole,
    TooLarge,
    /// Another frame in the middle of a block.
    Nonsense,
}

impl Block {
    fn new(head: &Head) -> Self {
        Block {
            stream: head.stream,
            flags: head.flags,
            first: head.payload,
            bytes: head.payload,
            ended: head.ends_block(),
        }
    }

    /// Follows the block's frames through `bytes`, which begin with its first.
    fn look(&mut self, bytes: &[u8]) -> Look {
        loop {
            if self.bytes > BLOCK_BYTES {
                return Look::TooLarge;
            }
            if self.ended {
                return match self.bytes.saturating_sub(bytes.len()) {
                    0 => Look::Whole,
                    missing => Look::Lacks(missing),
                };
            }
            let Some(head) = bytes.get(self.bytes..).and_then(|rest| rest.first_chunk()).map(Head::parse) else {
                return Look::Lacks(self.bytes + HEAD_BYTES - bytes.len());
            };
            if head.kind != CONTINUATION || head.stream != self.stream {
                return Look::Nonsense;
            }
            self.bytes += HEAD_BYTES + head.payload;
            self.ended = head.ends_block();
        }
    }

    /// Rewrites the whole block, whatever frames it is cut into.
    fn rewrite(&self, bytes: &mut [u8], blocks: &mut HeaderBlocks) {
        match self.fragments(bytes).as_deref() {
            Some([only]) => {
                blocks.rewrite(&mut bytes[only.clone()]);
            }
            Some(fragments) => {
                let mut joined = Vec::with_capacity(bytes.len());
                fragments.iter().for_each(|fragment| joined.extend_from_slice(&bytes[fragment.clone()]));
                if blocks.rewrite(&mut joined) {
                    let mut joined = &joined[..];
                    for fragment in fragments {
                        let (part, rest) = joined.split_at(fragment.len());
                        bytes[fragment.clone()].copy_from_slice(part);
                        joined = rest;
                    }
                }
            }
            None => blocks.skip(),
        }
    }

    /// Where the fragments of the block are: the payloads without padding and priority. None if those do not fit.
    fn fragments(&self, bytes: &[u8]) -> Option<Vec<Range<usize>>> {
        let mut first = 0..self.first;
        if self.flags & PADDED != 0 {
            let padding = usize::from(*bytes[first.clone()].first()?);
            first = 1..self.first.checked_sub(padding)?;
        }
        if self.flags & PRIORITY != 0 {
            first.start += PRIORITY_BYTES;
        }
        if first.start > first.end {
            return None;
        }
        let mut fragments = vec![first];
        let mut at = self.first;
        while let Some(head) = bytes[at..].first_chunk().map(Head::parse) {
            let start = at + HEAD_BYTES;
            at = start + head.payload;
            fragments.push(start..at);
        }
        Some(fragments)
    }
}
