//! Bytes of a peer on the layer that accepts any authority (P8): nothing panics or hangs, every byte comes out, and how
//! the bytes are cut changes nothing.
#![no_main]

use std::pin::Pin;
use std::task::{Context, Poll};

use anyudf_grpc::AnyAuthority;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Gives its bytes in pieces of a given size.
struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let count = self.size.min(self.bytes.len()).min(into.remaining());
        let (now, later) = self.bytes.split_at(count);
        into.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn read(bytes: &[u8], size: usize) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut out = Vec::new();
    runtime.block_on(AnyAuthority::new(Pieces { bytes, size }).read_to_end(&mut out)).expect("reading bytes");
    out
}

fuzz_target!(init: anyudf_fuzz::seed("authority"), |input: (u8, &[u8])| {
    let (size, tail) = input;
    let bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", tail].concat();
    let whole = read(&bytes, usize::MAX);
    assert_eq!(whole.len(), bytes.len(), "every byte comes out");
    assert_eq!(read(&bytes, usize::from(size).max(1)), whole, "in pieces of {size}");
});
