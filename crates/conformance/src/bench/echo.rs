//! Batches through an echo function, both directions at once, as fast as flow control lets them.

use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::batches::Batches;
use super::figure::show_bytes;
use super::session::{Session, told};
use crate::answer::Heard;

/// How much longer than silence may last a run may take to end.
const LONGEST: u32 = 4;

/// gRPC's RESOURCE_EXHAUSTED.
const TOO_LARGE: u32 = 8;

/// What a run of echo has moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echoed {
    bytes: u64,
    took: Duration,
}

impl Echoed {
    /// Bytes a second, one way.
    pub(super) fn rate(&self) -> f64 {
        self.bytes as f64 / self.took.as_secs_f64()
    }
}

/// What is sent next.
enum Next {
    Data,
    Finish,
    Nothing,
}

/// Sends batches until `until`, then Finish; compares what comes back, to the end.
///
/// One loop sends and listens, since whoever waits to send goes on listening (R6).
///
/// # Errors
/// When what comes back is not what was sent, in the same order, or when it takes too long.
pub(super) async fn echo(
    mut session: Session,
    batches: &Batches,
    finish: &bytes::Bytes,
    until: Instant,
    patience: Duration,
) -> Result<Echoed, String> {
    let began = Instant::now();
    let end = until + LONGEST * patience;
    let (mut sent, mut answered, mut last) = (0, 0, began);
    let (mut pending, mut next) = (batches.framed(0), Next::Data);
    loop {
        let event = {
            let Session { stream, heard, .. } = &mut session;
            let step = async {
                tokio::select! {
                    biased;
                    event = heard.recv() => Some(event),
                    taken = stream.out.send_some(&mut pending, usize::MAX), if !pending.is_empty() => {
                        if taken.is_err() {
                            // What comes back says why.
                            pending.clear();
                            next = Next::Nothing;
                        }
                        None
                    }
                }
            };
            timeout_at((last + patience).min(end).into(), step).await
        };
        let Ok(event) = event else {
            let size = show_bytes(batches.size);
            return Err(match answered == sent {
                true => {
                    format!("all {sent} batches of {size} came back, and FinishResponse did not come for {patience:?}")
                }
                false if last + patience < end => {
                    format!("{answered} of {sent} batches of {size} came back, and then none for {patience:?}")
                }
                false => format!("{answered} of {sent} batches of {size} came back; the rest would take too long"),
            });
        };
        let Some(event) = event else {
            if pending.is_empty() {
                match next {
                    Next::Data if Instant::now() < until => {
                        sent += 1;
                        pending = batches.framed(sent);
                    }
                    Next::Data => {
                        sent += 1;
                        session.finishes();
                        (pending, next) = (finish.clone(), Next::Finish);
                    }
                    Next::Finish | Next::Nothing => next = Next::Nothing,
                }
            }
            continue;
        };
        match session.judge(event)? {
            (Heard::Data(data), at) => {
                batches.check(answered, &data)?;
                (answered, last) = (answered + 1, at);
            }
            (Heard::Finish(finish), _) if finish.error.is_none() && answered == sent => {}
            (Heard::Finish(finish), _) if finish.error.is_none() => {
                return Err(format!("{sent} batches went out and {answered} came back before FinishResponse (S1)"));
            }
            (Heard::End(status), _) if status.code == 0 => break,
            (Heard::End(status), _) if status.code == TOO_LARGE => {
                return Err(format!(
                    "the stream ended with {status} after {answered} batches: does the worker take messages of {} (P7)?",
                    show_bytes(batches.size)
                ));
            }
            (other, _) => return Err(format!("after {answered} batches the worker answered {}", told(&other))),
        }
    }
    session.stream.out.half_close(); // R13
    Ok(Echoed { bytes: answered * batches.size as u64, took: last - began })
}
