//! A client that can say what `http::Uri` can't: HTTP/2 frames and HPACK written by hand, and a connection that
//! delivers them in any pieces.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use anyudf_grpc::AnyAuthority;
use futures::executor::block_on;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// The like of what gRPC's C core sends for a Unix socket.
pub(crate) const SOCKET: &str = "%2Ftmp%2Fanyudf%2Fw.sock";

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 0x01;
pub(crate) const END_HEADERS: u8 = 0x04;
pub(crate) const PADDED: u8 = 0x08;
pub(crate) const PRIORITY: u8 = 0x20;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface and our settings, with which a connection begins.
pub(crate) fn hello() -> Vec<u8> {
    [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat()
}

/// The padding and priority that a HEADERS frame with those flags has around its fragment.
pub(crate) fn dressed(flags: u8, fragment: &[u8], padding: u8) -> Vec<u8> {
    let mut payload = Vec::new();
    if flags & PADDED != 0 {
        payload.push(padding);
    }
    if flags & PRIORITY != 0 {
        payload.extend([0x80, 0, 0, 0, 15]);
    }
    payload.extend(fragment);
    if flags & PADDED != 0 {
        payload.extend(vec![0x41; usize::from(padding)]);
    }
    payload
}

/// A block as HEADERS and as many CONTINUATION frames as `cuts` makes.
pub(crate) fn block_frames(flags: u8, stream: u32, block: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut parts = pieces(block, cuts);
    let first = dressed(flags, &parts.remove(0), 5);
    let ends = |last: bool| if last { END_HEADERS } else { 0 };
    let mut frames = frame(HEADERS, flags | ends(parts.is_empty()), stream, &first);
    for (i, part) in parts.iter().enumerate() {
        frames.extend(frame(CONTINUATION, ends(i + 1 == parts.len()), stream, part));
    }
    frames
}

/// `bytes` cut at the given places, which may repeat and come in any order.
pub(crate) fn pieces(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.min(&bytes.len())).collect();
    cuts.sort_unstable();
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([bytes.len()]);
    starts.zip(ends).map(|(start, end)| bytes[start..end].to_vec()).collect()
}

pub(crate) fn integer(prefix: u32, bits: u8, value: usize) -> Vec<u8> {
    let mask = (1_usize << prefix) - 1;
    if value < mask {
        return vec![bits | u8::try_from(value).unwrap()];
    }
    let (mut bytes, mut rest) = (vec![bits | u8::try_from(mask).unwrap()], value - mask);
    while rest >= 0x80 {
        bytes.push((rest % 0x80) as u8 | 0x80);
        rest /= 0x80;
    }
    bytes.push(rest as u8);
    bytes
}

/// A string as it is.
pub(crate) fn raw(text: &str) -> Vec<u8> {
    [integer(7, 0, text.len()), text.as_bytes().to_vec()].concat()
}

/// A string in HPACK's Huffman code, of which the ordinary characters are here.
pub(crate) fn coded(text: &str) -> Vec<u8> {
    const GROUPS: [(usize, usize, &str); 4] = [
        (5, 0b0_0000, "012aceiost"),
        (6, 0b01_0100, " %-./3456789=A_bdfghlmnpru"),
        (7, 0b101_1100, ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
        (8, 0b1111_1000, "&*,;XZ"),
    ];
    let mut bits = String::new();
    for char in text.chars() {
        let (len, first, group) = GROUPS.into_iter().find(|(.., group)| group.contains(char)).unwrap();
        bits += &format!("{:0len$b}", first + group.find(char).unwrap());
    }
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    let bytes: Vec<u8> = (0..bits.len()).step_by(8).map(|i| u8::from_str_radix(&bits[i..i + 8], 2).unwrap()).collect();
    [integer(7, 0x80, bytes.len()), bytes].concat()
}

/// A literal field that goes into the dynamic table, its name by index; 0 if `value` begins with the name's text.
pub(crate) fn kept(index: usize, value: Vec<u8>) -> Vec<u8> {
    [integer(6, 0x40, index), value].concat()
}

/// A literal field that does not.
pub(crate) fn passing(index: usize, value: Vec<u8>) -> Vec<u8> {
    [integer(4, 0, index), value].concat()
}

/// A literal field that never must.
pub(crate) fn secret(index: usize, value: Vec<u8>) -> Vec<u8> {
    [integer(4, 0x10, index), value].concat()
}

/// A request to `/p` with the given field for its authority. It leaves the dynamic table to that field.
pub(crate) fn request(authority: &[u8]) -> Vec<u8> {
    [&[0x83, 0x86][..], &passing(4, raw("/p")), authority, &passing(0, [raw("te"), coded("trailers")].concat())]
        .concat()
}

/// What happens after the last piece.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// The client closes.
    Eof,
    /// The connection breaks, which it says once; then it is at its end.
    Broken,
    /// The client is silent.
    Silence,
}

/// A connection whose client says what is written down. Each piece is read by itself and after a Pending; what the
/// server writes is dropped.
#[derive(Debug)]
pub(crate) struct Script {
    pieces: VecDeque<Vec<u8>>,
    end: End,
    asleep: bool,
    drained: Arc<AtomicBool>,
}

impl Script {
    pub(crate) fn new(bytes: &[u8], cuts: &[usize], end: End) -> Self {
        let pieces = pieces(bytes, cuts).into_iter().filter(|piece| !piece.is_empty()).collect();
        Script { pieces, end, asleep: true, drained: Arc::default() }
    }

    /// Becomes true when the server has read everything and asks for more.
    pub(crate) fn drained(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.drained)
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(piece) = this.pieces.front_mut() else {
            this.drained.store(true, Ordering::Relaxed);
            return match this.end {
                End::Eof => Poll::Ready(Ok(())),
                End::Broken => {
                    this.end = End::Eof;
                    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
                }
                End::Silence => Poll::Pending,
            };
        };
        if std::mem::take(&mut this.asleep) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(piece);
        *piece = rest;
        if piece.is_empty() {
            this.pieces.pop_front();
            this.asleep = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, _: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a server reads of `bytes`, delivered in pieces, with a buffer of `room` bytes; and how it ends.
pub(crate) fn read(bytes: &[u8], cuts: &[usize], room: usize, end: End) -> (Vec<u8>, io::Result<()>) {
    let mut layer = AnyAuthority::new(Script::new(bytes, cuts, end));
    let (mut got, mut buf) = (Vec::new(), vec![0; room]);
    block_on(async {
        loop {
            match layer.read(&mut buf).await {
                Ok(0) => return (got, Ok(())),
                Ok(n) => got.extend(&buf[..n]),
                Err(error) => return (got, Err(error)),
            }
        }
    })
}

/// What a server reads of `bytes`.
pub(crate) fn through(bytes: &[u8]) -> Vec<u8> {
    let (got, end) = read(bytes, &[], bytes.len() + 1, End::Eof);
    end.unwrap();
    got
}
