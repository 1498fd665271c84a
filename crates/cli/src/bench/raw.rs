//! The limit: a raw Unix-socket echo between two processes, a reader and a writer thread on each side.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;

use super::rate;
use crate::failure::{Failure, Result};

/// The name of the hidden command that is the other process.
pub(crate) const PEER: &str = "bench-peer";

#[derive(Debug, Args)]
pub(crate) struct PeerArguments {
    /// The size of a batch
    batch_bytes: usize,
}

/// Streams batches to another process and back for `time`, and says how many GiB went each way a second.
///
/// # Errors
/// When the process can't be started or the socket breaks.
pub(super) fn echo(batch_bytes: usize, time: Duration) -> Result<f64> {
    let (ours, theirs) = UnixStream::pair().context("can't make a pair of sockets")?;
    let program = std::env::current_exe().context("can't find our own binary")?;
    let peer =
        Command::new(program).args([PEER, &batch_bytes.to_string()]).stdin(Stdio::from(OwnedFd::from(theirs))).spawn();
    let mut peer = peer.context("can't start the other end of the raw socket")?;
    let measured = stream(&ours, batch_bytes, time);
    // Without our end it ends, also when the measurement failed.
    drop(ours);
    let exit = peer.wait().context("can't wait for the other end of the raw socket")?;
    let measured = measured.context("the raw socket echo failed")?;
    match exit.success() {
        true => Ok(measured),
        false => Err(Failure::failed(format_args!("the other end of the raw socket ended with {exit}"))),
    }
}

fn stream(mut socket: &UnixStream, batch_bytes: usize, time: Duration) -> io::Result<f64> {
    let batch = vec![0x5a; batch_bytes];
    let mut buffer = vec![0; batch_bytes];
    // The peer is up once a batch came back.
    socket.write_all(&batch)?;
    socket.read_exact(&mut buffer)?;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            while began.elapsed() < time {
                socket.write_all(&batch)?;
            }
            socket.shutdown(Shutdown::Write)
        });
        let mut bytes = 0;
        while read_batch(socket, &mut buffer)? {
            bytes += batch_bytes as u64;
        }
        let rate = rate(bytes, began);
        writer.join().expect("the writer does not panic")?;
        Ok(rate)
    })
}

/// Runs the hidden command: echoes batches on the socket that is its standard input, until it is shut down.
pub(crate) fn peer(arguments: &PeerArguments) -> Result {
    let socket = io::stdin().as_fd().try_clone_to_owned().context("no socket on standard input")?;
    let socket = UnixStream::from(socket);
    serve(&socket, arguments.batch_bytes).context("the raw socket broke")?;
    Ok(())
}

fn serve(mut socket: &UnixStream, batch_bytes: usize) -> io::Result<()> {
    // Two buffers let both threads work at once; for small batches, more keep them from waking each other each time.
    let buffers = (1 << 20) / batch_bytes.max(1);
    let (give, take) = mpsc::channel();
    let (full, filled) = mpsc::channel::<Vec<u8>>();
    for _ in 0..buffers.clamp(2, 64) {
        give.send(vec![0; batch_bytes]).expect("the other end is held below");
    }
    std::thread::scope(|scope| {
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
