//! Throughput through a session and a worker process.

use std::time::{Duration, Instant};

use anyudf_engine::{Init, Worker};
use arrow::array::RecordBatch;
use bytes::Bytes;

use super::rate;
use crate::failure::{Failure, Result};
use crate::io::Io;

/// Streams opaque batches through the worker's `echo` for `time`; GiB/s one way.
///
/// # Errors
/// How the session failed.
pub(super) fn bytes(io: &Io, worker: &Worker, batch_bytes: usize, time: Duration) -> Result<f64> {
    let session = io.wait(worker.open(Init::new("echo", "")))?;
    let (mut input, mut output) = session.split();
    let batch = Bytes::from(vec![0x5a; batch_bytes]);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let feeder = scope.spawn(move || {
            while began.elapsed() < time {
                io.wait(input.send([batch.clone()]))?;
            }
            io.wait(input.finish())
        });
        let mut bytes = 0;
        while let Some(batch) = io.wait(output.next())? {
            bytes += batch.len() as u64;
        }
        let rate = rate(bytes, began);
        feeder.join().expect("the feeder does not panic")?;
        io.wait(output.close())?;
        Ok(rate)
    })
}

/// Streams record batches through the worker's `echo_batches`, which decodes and encodes each; GiB/s of encoded bytes
/// one way.
///
/// # Errors
/// How the session failed, or when rows got lost.
pub(super) fn arrow(io: &Io, worker: &Worker, batches: &[RecordBatch], time: Duration) -> Result<f64> {
    let init = Init::new("function", r#"{"function":"echo_batches"}"#).with_input_schema(batches[0].schema());
    let session = io.wait(worker.open(init))?;
    let control = session.control();
    let (mut input, mut output) = session.batches()?;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let feeder = scope.spawn(move || {
            let mut rows = 0;
            for batch in batches.iter().cycle() {
                if began.elapsed() >= time {
                    break;
                }
                io.wait(input.send(batch))?;
                rows += batch.num_rows();
            }
            io.wait(input.finish()).map(|()| rows)
        });
        let mut rows = 0;
        while let Some(batch) = io.wait(output.next())? {
            rows += batch.num_rows();
        }
        let rate = rate(control.progress().bytes_received, began);
        let sent = feeder.join().expect("the feeder does not panic")?;
        if rows != sent {
            return Err(Failure::failed(format_args!("{sent} rows went out, {rows} came back")));
        }
        io.wait(output.close())?;
        Ok(rate)
    })
}
