//! Those who call, one call after the other, and look at what comes back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyudf_engine::{Dispatcher, Error, Init};
use tokio::time::timeout;

use crate::NEVER;
use crate::plan::Random;

/// How long each call into a function may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_millis(200);

/// What has come of the calls.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) right: u64,
    pub(crate) wrong: u64,
    pub(crate) endless: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) told: Vec<Told>,
}

/// The caller of a function that hangs was told so.
pub(crate) struct Told {
    pub(crate) sent: Instant,
    pub(crate) heard: Instant,
}

impl Told {
    /// How long after the deadline.
    pub(crate) fn lateness(&self) -> Duration {
        (self.heard - self.sent).saturating_sub(CALL_TIMEOUT)
    }
}

/// One caller.
pub(crate) async fn call_until(
    until: Instant,
    dispatcher: Dispatcher,
    caller: u64,
    mut random: Random,
    shared: Arc<Mutex<Tally>>,
) {
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        let ended = match random.below(200) {
            0 => timeout(NEVER, hang(&dispatcher, &shared)).await,
            kind => {
                let init = if kind < 10 { Init::new("echo/slow", "5") } else { Init::new("echo", "") };
                let batches = batches(caller, number, &mut random);
                timeout(NEVER, echo(&dispatcher, init, &batches)).await
            }
        };
        let mut tally = lock(&shared);
        tally.calls += 1;
        match ended {
            Ok(Ok(true)) => tally.right += 1,
            Ok(Ok(false)) => tally.wrong += 1,
            Ok(Err(error)) => {
                *tally.errors.entry(format!("{:?} {}", error.kind(), error.condition())).or_default() += 1;
            }
            Err(_) => tally.endless += 1,
        }
    }
}

/// Several, none of which is like any other of the whole run.
fn batches(caller: u64, number: u64, random: &mut Random) -> Vec<String> {
    let filling = |random: &mut Random| "x".repeat(random.below(50_000) as usize);
    let batch = |batch| format!("caller {caller}, call {number}, batch {batch}, {}", filling(random));
    (0..2 + number % 5).map(batch).collect()
}

/// There and back, both at once. Says whether what came back is right.
async fn echo(dispatcher: &Dispatcher, init: Init, batches: &[String]) -> Result<bool, Error> {
    let (mut input, mut output) = dispatcher.open(init).await?.split();
    let send = async {
        for batch in batches {
            input.send([batch.clone().into()]).await?;
        }
        input.finish().await
    };
    let receive = async {
        let mut expected = batches.iter();
        let mut right = true;
        while let Some(batch) = output.next().await? {
            right &= expected.next().is_some_and(|expected| batch == expected.as_bytes());
        }
        output.close().await?;
        Ok(right && expected.next().is_none())
    };
    let ((), right) = futures::try_join!(send, receive)?;
    Ok(right)
}

/// A function that never returns: right is the error that says so.
async fn hang(dispatcher: &Dispatcher, shared: &Mutex<Tally>) -> Result<bool, Error> {
    let init = Init::new("echo/hang", "").with_call_timeout(CALL_TIMEOUT);
    let (mut input, mut output) = dispatcher.open(init).await?.split();
    input.send(["hang".into()]).await?;
    let sent = Instant::now();
    match output.next().await {
        Err(error) if error.condition() == "CALL_TIMEOUT" => {
            lock(shared).told.push(Told { sent, heard: Instant::now() });
            Ok(true)
        }
        Err(error) => Err(error),
        Ok(_) => Ok(false),
    }
}

pub(crate) fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().expect("nothing panics while it is held")
}
