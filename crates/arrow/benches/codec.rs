//! How fast batches of the flights' columns are encoded and decoded, beside copying their bytes.
//!
//! `cargo bench -p anyudf-arrow`. One line for each size: GiB/s of the message's length, the best of several rounds.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyudf_arrow::{Decoder, Encoder, Limits};
use arrow_array::{ArrayRef, Date32Array, Int16Array, Int32Array, RecordBatch, StringArray};
use bytes::Bytes;

const AIRPORTS: [&str; 12] = ["ATL", "ORD", "DFW", "LAX", "PHX", "DEN", "DTW", "IAH", "MSP", "LAS", "STL", "CLT"];

/// Flights like those of 2001: a date, minutes of delay, miles, origin and destination.
fn flights(rows: usize, accents: bool) -> RecordBatch {
    let airport = |i: usize| if accents && i.is_multiple_of(3) { "Zürich" } else { AIRPORTS[i * 7 % 12] };
    let columns: [(&str, ArrayRef); 5] = [
        ("date", Arc::new(Date32Array::from_iter_values((0..rows).map(|i| 11_323 + (i / 16_000) as i32)))),
        (
            "delay",
            Arc::new(Int16Array::from_iter((0..rows).map(|i| (i % 97 > 0).then_some((i * 31 % 180) as i16 - 20)))),
        ),
        ("distance", Arc::new(Int32Array::from_iter_values((0..rows).map(|i| (i * 131 % 2_600) as i32)))),
        ("origin", Arc::new(StringArray::from_iter_values((0..rows).map(airport)))),
        ("destination", Arc::new(StringArray::from_iter_values((0..rows).map(|i| airport(i + 5))))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

/// The same bytes, `shift` bytes after a multiple of 64.
fn shifted(bytes: &[u8], shift: usize) -> Bytes {
    let mut room = Vec::<u8>::with_capacity(bytes.len() + 128);
    let start = room.as_ptr().align_offset(64) + shift;
    room.resize(start, 0);
    room.extend_from_slice(bytes);
    Bytes::from(room).slice(start..)
}

/// GiB/s of `work`, which handles `bytes` bytes a call.
fn rate(bytes: usize, mut work: impl FnMut()) -> f64 {
    let calls = ((64 << 20) / bytes).max(1);
    let best = (0..15).map(|_| {
        let start = Instant::now();
        (0..calls).for_each(|_| work());
        start.elapsed()
    });
    let best = best.min().unwrap_or(Duration::MAX);
    (bytes * calls) as f64 / best.as_secs_f64() / f64::from(1u32 << 30)
}

fn main() {
    println!(
        "{:>9} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "bytes", "parts", "memcpy", "encode", "sliced", "decode", "misalig.", "accents"
    );
    for size in [16 << 10, 256 << 10, 1 << 20, 4 << 20] {
        let batch = flights(size / 24, false);
        let encoder = Encoder::new(batch.schema(), usize::MAX).expect("a schema");
        let encode = |batch: &RecordBatch| encoder.encode(batch).next().expect("a message").expect("encodes");
        let message = encode(&batch);
        let (parts, length) = (message.parts.len(), message.len());
        let bytes = message.into_bytes();

        let copied = rate(length, || drop(black_box(bytes.to_vec())));
        let encoded = rate(length, || drop(black_box(encode(&batch))));
        let twice = flights(size / 24 * 2, false);
        let half = twice.slice(size / 24 + 1, size / 24 - 1);
        let sliced = rate(length, || drop(black_box(encode(&half))));
        let decode = |bytes: &[u8], shift: usize| {
            let bytes = shifted(bytes, shift);
            let mut decoder = Decoder::new(batch.schema(), Limits::default()).expect("a schema");
            rate(bytes.len(), || drop(black_box(decoder.decode(bytes.clone()).expect("decodes"))))
        };
        let (aligned, misaligned) = (decode(&bytes, 0), decode(&bytes, 5));
        let accents = decode(&encode(&flights(size / 24, true)).into_bytes(), 0);
        println!(
            "{length:>9} {parts:>6} {copied:>8.1} {encoded:>8.1} {sliced:>8.1} {aligned:>8.1} {misaligned:>8.1} {accents:>8.1}"
        );
    }
}
