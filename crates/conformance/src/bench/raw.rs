//! The limit: a raw Unix-socket echo, with a reader and a writer thread at each end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Streams batches to the other end and back for `time`; bytes a second, one way.
///
/// # Errors
/// When the system gives no sockets.
pub(super) fn echo(batch_bytes: usize, time: Duration) -> io::Result<f64> {
    let (ours, theirs) = UnixStream::pair()?;
    thread::scope(|scope| {
        let peer = scope.spawn(move || {
            let served = serve(&theirs, batch_bytes);
            // When it failed, nobody is to wait for it.
            let _ = theirs.shutdown(Shutdown::Both);
            served
        });
        let measured = stream(&ours, batch_bytes, time);
        let _ = ours.shutdown(Shutdown::Both);
        peer.join().expect("the other end does not panic").and(measured)
    })
}

fn stream(mut socket: &UnixStream, batch_bytes: usize, time: Duration) -> io::Result<f64> {
    let batch = vec![0x5a; batch_bytes];
    let mut buffer = vec![0; batch_bytes];
    let began = Instant::now();
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            // One at least, however late this thread comes to it.
            loop {
                socket.write_all(&batch)?;
                if began.elapsed() >= time {
                    return socket.shutdown(Shutdown::Write);
                }
            }
        });
        let mut bytes = 0;
        while read_batch(socket, &mut buffer)? {
            bytes += batch_bytes;
        }
        let rate = bytes as f64 / began.elapsed().as_secs_f64();
        writer.join().expect("the writer does not panic")?;
        Ok(rate)
    })
}

/// The other end: echoes batches until the socket is shut down.
fn serve(mut socket: &UnixStream, batch_bytes: usize) -> io::Result<()> {
    // Two buffers let both threads work at once; for small batches, more keep them from waking each other each time.
    let buffers = (1 << 20) / batch_bytes.max(1);
    let (give, take) = mpsc::channel();
    let (full, filled) = mpsc::channel::<Vec<u8>>();
    for _ in 0..buffers.clamp(2, 64) {
        give.send(vec![0; batch_bytes]).expect("the other end is held below");
    }
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for batch in filled {
                socket.write_all(&batch)?;
                // The reader has ended when nobody takes it.
                let _ = give.send(batch);
            }
            socket.shutdown(Shutdown::Write)
        });
        let read = loop {
            let Ok(mut buffer) = take.recv() else { break Ok(()) };
            match read_batch(socket, &mut buffer) {
                Ok(true) if full.send(buffer).is_ok() => {}
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        drop(full);
        read.and(writer.join().expect("the writer does not panic"))
    })
}

/// Whether there was one more batch.
fn read_batch(mut socket: &UnixStream, buffer: &mut [u8]) -> io::Result<bool> {
    match socket.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_socket_has_a_rate() {
        for size in [64, 16 << 10, 4 << 20] {
            let rate = echo(size, Duration::ZERO).expect("there are sockets");
            assert!(rate > 0.0, "{size}: {rate}");
        }
    }
}
