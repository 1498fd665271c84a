//! An `:authority` that no HTTP library of ours would send (P8), put into the frames on their way out.
//!
//! gRPC's C core sends the percent-encoded path of a Unix socket there; the http crate refuses that. So requests are made
//! with a placeholder, and its code in the header blocks makes room for the authority itself. HPACK's tables agree on
//! which entry it is; they differ in how long they take it to be, which matters only to a table that is full.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What stands for the authority in requests: eight zeros, which are five zero bytes in HPACK's Huffman code.
pub(crate) const PLACEHOLDER: &str = "00000000";

/// The placeholder as HPACK first writes it: a literal to remember, with the name of the static table's first entry.
const CODED: [u8; 7] = [0x41, 0x85, 0, 0, 0, 0, 0];

/// The longest authority: far less than a table holds.
pub(crate) const LONGEST: usize = 1024;

/// What an HTTP/2 connection begins with.
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;

/// A connection of whose own words some are changed.
#[derive(Debug)]
pub(crate) struct Splice<T> {
    io: T,
    /// The authority, as HPACK has it without Huffman's code.
    coded: Vec<u8>,
    /// What was written and is no whole frame yet.
    begun: BytesMut,
    /// What may go.
    ready: BytesMut,
    preface_left: usize,
}

impl<T> Splice<T> {
    pub(crate) fn new(io: T, authority: &str) -> Self {
        let mut coded = vec![CODED[0]];
        // A length of seven bits, and from 127 on the rest of it in groups of seven.
        let len = authority.len();
        coded.push(len.min(127) as u8);
        if let Some(mut rest) = len.checked_sub(127) {
            while rest >= 128 {
                coded.push(rest as u8 | 128);
                rest >>= 7;
            }
            coded.push(rest as u8);
        }
        coded.extend_from_slice(authority.as_bytes());
        Splice { io, coded, begun: BytesMut::new(), ready: BytesMut::new(), preface_left: PREFACE }
    }

    /// Lets go what is whole.
    fn pass(&mut self) {
        let preface = self.preface_left.min(self.begun.len());
        self.ready.extend_from_slice(&self.begun.split_to(preface));
        self.preface_left -= preface;
        while self.preface_left == 0 && self.begun.len() >= FRAME_HEAD {
            let len = u32::from_be_bytes([0, self.begun[0], self.begun[1], self.begun[2]]) as usize;
            if self.begun.len() < FRAME_HEAD + len {
                break;
            }
            let frame = self.begun.split_to(FRAME_HEAD + len);
            let at = frame.windows(CODED.len()).position(|bytes| bytes == CODED).filter(|_| frame[3] == HEADERS);
            let Some(at) = at else {
                self.ready.extend_from_slice(&frame);
                continue;
            };
            let len = (len - CODED.len() + self.coded.len()) as u32;
            self.ready.extend_from_slice(&len.to_be_bytes()[1..]);
            self.ready.extend_from_slice(&frame[3..at]);
            self.ready.extend_from_slice(&self.coded);
            self.ready.extend_from_slice(&frame[at + CODED.len()..]);
        }
    }
}

impl<T: AsyncWrite + Unpin> Splice<T> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ready.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.ready))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.ready.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Splice<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Splice<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_ready(cx))?;
        this.begun.extend_from_slice(bytes);
        this.pass();
        // What does not go now goes before the next, or is flushed.
        match this.poll_ready(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_ready(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_ready(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// What a client of h2's writes when it asks with the placeholder.
    async fn written(authority: &str) -> Vec<u8> {
        let (near, mut far) = tokio::io::duplex(64 << 10);
        let handshake = h2::client::handshake(Splice::new(near, authority));
        let (mut requests, connection) = handshake.await.expect("it writes to memory");
        let connection = tokio::spawn(connection);
        let mut answers = Vec::new();
        for _ in 0..2 {
            let request = Request::post(format!("http://{PLACEHOLDER}/a")).body(()).expect("a request");
            answers.push(requests.send_request(request, true).expect("the connection is there"));
        }
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while count(&all, &[0, 0, 0, 3]) == 0 {
            let read = far.read(&mut buffer).await.expect("it is there");
            all.extend_from_slice(&buffer[..read]);
        }
        connection.abort();
        all
    }

    fn count(bytes: &[u8], part: &[u8]) -> usize {
        bytes.windows(part.len()).filter(|bytes| *bytes == part).count()
    }

    /// P8: the authority stands in the first header block as it is; the second one points back to it, and frames have
    /// their new lengths.
    #[tokio::test]
    async fn p8_an_authority_is_put_in_place() {
        for (authority, head) in
            [("tmp%2Fw.sock", &[0x41, 12][..]), (&"%2F".repeat(100), &[0x41, 127, 173, 1]), ("%", &[0x41, 1])]
        {
            let all = written(authority).await;
            assert_eq!(count(&all, &[head, authority.as_bytes()].concat()), 1, "{authority}");
            assert_eq!(count(&all, &CODED), 0, "{authority}");
            let mut rest = &all[PREFACE..];
            let mut headers = 0;
            while rest.len() >= FRAME_HEAD {
                let len = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
                headers += usize::from(rest[3] == HEADERS);
                rest = rest.get(FRAME_HEAD + len..).unwrap_or_default();
            }
            assert_eq!(headers, 2, "{authority}");
        }
    }
}
