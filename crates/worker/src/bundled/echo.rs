//! The test functions of rule S: payload formats over bytes, which engines and conformance runs are tested with.

use std::time::Duration;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::invocation::Invocation;
use crate::raw::{Opened, RawFunction, RawOutput};

/// Opens `echo`: every DataRequest's bytes come back as one DataResponse (S1). The payload `INIT_ERROR` fails.
pub(super) fn open_echo(invocation: &mut Invocation) -> Result<Opened> {
    match &invocation.payload()[..] {
        b"INIT_ERROR" => Err(Error::worker("SIMULATED", "simulated init failure").verbatim()), // S1
        _ => Ok(Opened::new(Echo)),
    }
}

struct Echo;

impl RawFunction for Echo {
    fn process(&mut self, data: Bytes, out: &mut RawOutput<'_>) -> Result<()> {
        if data == "ERROR" {
            return Err(Error::user("simulated user-code error").with_class("SimulatedError")); // S2
        }
        out.send([data])
    }

    fn finish(self: Box<Self>, out: &mut RawOutput<'_>) -> Result<()> {
        out.metric("status", "ok"); // S3
        Ok(())
    }
}

/// Opens `echo/generate`: the payload is a decimal N; "0", "1", … N-1 go out right after InitResponse (S4).
pub(super) fn open_generate(invocation: &mut Invocation) -> Result<Opened> {
    Ok(Opened::new(Generate { count: decimal(invocation)? }))
}

struct Generate {
    count: u64,
}

impl RawFunction for Generate {
    fn start(&mut self, out: &mut RawOutput<'_>) -> Result<()> {
        for number in 0..self.count {
            out.send([number.to_string().into()])?;
        }
        Ok(())
    }

    fn process(&mut self, _: Bytes, _: &mut RawOutput<'_>) -> Result<()> {
        Err(Error::user("echo/generate takes no input").with_class("UNEXPECTED_INPUT"))
    }

    fn finish(self: Box<Self>, out: &mut RawOutput<'_>) -> Result<()> {
        out.metric("status", "ok");
        Ok(())
    }
}

/// Opens `echo/sink`: takes everything, answers nothing; its result is the decimal number of batches (S5).
pub(super) fn open_sink(_: &mut Invocation) -> Result<Opened> {
    Ok(Opened::new(Sink { batches: 0 }))
}

struct Sink {
    batches: u64,
}

impl RawFunction for Sink {
    fn process(&mut self, _: Bytes, _: &mut RawOutput<'_>) -> Result<()> {
        self.batches += 1;
        Ok(())
    }

    fn finish(self: Box<Self>, out: &mut RawOutput<'_>) -> Result<()> {
        out.metric("status", "ok");
        out.set_result(self.batches.to_string());
        Ok(())
    }
}

/// Opens `echo/slow`: the payload is decimal milliseconds, slept in user code for each DataRequest (S6).
pub(super) fn open_slow(invocation: &mut Invocation) -> Result<Opened> {
    Ok(Opened::new(Slow { pause: Duration::from_millis(decimal(invocation)?) }))
}

struct Slow {
    pause: Duration,
}

impl RawFunction for Slow {
    fn process(&mut self, data: Bytes, out: &mut RawOutput<'_>) -> Result<()> {
        // Not looking at cancellation while it sleeps is the point of it.
        std::thread::sleep(self.pause);
        out.send([data])
    }

    fn finish(self: Box<Self>, out: &mut RawOutput<'_>) -> Result<()> {
        out.metric("status", "ok");
        Ok(())
    }
}

/// Opens `echo/hang`: never returns from its first batch and never looks (S6).
pub(super) fn open_hang(_: &mut Invocation) -> Result<Opened> {
    Ok(Opened::new(Hang))
}

struct Hang;

impl RawFunction for Hang {
    fn process(&mut self, _: Bytes, _: &mut RawOutput<'_>) -> Result<()> {
        loop {
            std::thread::park();
        }
    }

    fn finish(self: Box<Self>, out: &mut RawOutput<'_>) -> Result<()> {
        out.metric("status", "ok");
        Ok(())
    }
}

/// The payload as a decimal number.
fn decimal(invocation: &Invocation) -> Result<u64> {
    let text = std::str::from_utf8(invocation.payload()).ok();
    text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
        let text = format!("the payload of {} must be a decimal number (S4, S6)", invocation.format());
        Error::protocol("INVALID_PAYLOAD", text)
    })
}
