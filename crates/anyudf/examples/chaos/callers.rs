//! Those who call, one call after the other, and look at what comes back.

use std::time::{Duration, Instant};

use anyudf_engine::{Dispatcher, Error, Init, OpenSession, Scope};
use tokio::sync::Barrier;
use tokio::time::timeout;

use crate::NEVER;
use crate::ledger::{Ledger, Records};
use crate::plan::Random;

/// How long each call into a function that hangs may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_millis(200);

/// Calls that each makes when the monkey is gone.
const CALM_CALLS: u64 = 30;

/// One caller.
pub(crate) struct Caller {
    dispatcher: Dispatcher,
    name: u64,
    calls: u64,
    random: Random,
}

/// What a call has come to that is not right.
enum Fault {
    Wrong(&'static str),
    Failed { worker: Option<String>, error: Error },
}

impl Caller {
    pub(crate) fn new(dispatcher: Dispatcher, name: u64, random: Random) -> Self {
        Caller { dispatcher, name, calls: 0, random }
    }

    /// Calls, also what hangs. Gives itself back for the calm round.
    pub(crate) async fn call_until(mut self, until: Instant, ledger: &Ledger) -> Self {
        while Instant::now() < until {
            let ended = match self.random.below(200) {
                0 => timeout(NEVER, self.hang(ledger)).await,
                kind => {
                    let init = if kind < 10 { Init::new("echo/slow", "5") } else { Init::new("echo", "") };
                    timeout(NEVER, self.echo(init, None)).await
                }
            };
            let mut records = ledger.lock();
            if let Some(Fault::Failed { worker, error }) = self.take_down(ended, &mut records) {
                records.failed(worker.as_deref(), &error);
            }
        }
        self
    }

    /// Calls when nobody does anything to the workers any more: any error is one too many. Of the first calls none ends
    /// before all have begun, so that a lost seat is missed (D10).
    pub(crate) async fn call_calmly(mut self, all: &Barrier, ledger: &Ledger) {
        for call in 0..CALM_CALLS {
            let meeting = (call == 0).then_some(all);
            let ended = timeout(NEVER, self.echo(Init::new("echo", ""), meeting)).await;
            let mut records = ledger.lock();
            if let Some(Fault::Failed { worker, error }) = self.take_down(ended, &mut records) {
                let example = || format!("{worker:?} {}: {error}", error.condition());
                records.findings.add("errors in the calm round", example);
            }
        }
    }

    /// Counts the call. What is left to be judged is an error.
    fn take_down<E>(&mut self, ended: Result<Result<(), Fault>, E>, records: &mut Records) -> Option<Fault> {
        let Caller { name, calls, .. } = *self;
        records.calls += 1;
        match ended {
            Ok(Ok(())) => records.right += 1,
            Ok(Err(Fault::Wrong(how))) => {
                records.findings.add("wrong answers", || format!("caller {name}, call {calls}: {how}"));
            }
            Ok(Err(failed)) => return Some(failed),
            Err(_) => records.findings.add("calls without an end", || format!("caller {name}, call {calls}")),
        }
        None
    }

    async fn open(&mut self, init: Init) -> Result<(String, OpenSession), Fault> {
        self.calls += 1;
        let session = self.dispatcher.session(init, Scope::default()).await;
        let session = session.map_err(|error| Fault::Failed { worker: None, error })?;
        let worker = session.worker_id().unwrap_or_default().to_owned();
        match session.init().await {
            Ok(open) => Ok((worker, open)),
            Err(error) => Err(Fault::Failed { worker: Some(worker), error }),
        }
    }

    /// There and back, both at once, when all who are to meet have a worker.
    async fn echo(&mut self, init: Init, meeting: Option<&Barrier>) -> Result<(), Fault> {
        let opened = self.open(init).await;
        if let Some(meeting) = meeting {
            // Whoever has none comes, too: the others are not to blame.
            meeting.wait().await;
        }
        let (worker, open) = opened?;
        let batches = self.batches();
        let (mut input, mut output) = open.split();
        let send = async {
            for batch in &batches {
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
            Ok((right, expected.len()))
        };
        match futures::try_join!(send, receive) {
            Ok(((), (true, 0))) => Ok(()),
            Ok(((), (false, _))) => Err(Fault::Wrong("a batch that was not sent, or not then")),
            Ok(((), (true, _))) => Err(Fault::Wrong("it finished, and batches are missing")),
            Err(error) => Err(Fault::Failed { worker: Some(worker), error }),
        }
    }

    /// A function that never returns: right is the error that says so.
    async fn hang(&mut self, ledger: &Ledger) -> Result<(), Fault> {
        let (worker, open) = self.open(Init::new("echo/hang", "").with_call_timeout(CALL_TIMEOUT)).await?;
        ledger.lock().hang(&worker);
        let (mut input, mut output) = open.split();
        let sent = Instant::now();
        let answer = match input.send(["hang".into()]).await {
            Ok(()) => output.next().await,
            Err(error) => Err(error),
        };
        match answer {
            Err(error) if error.condition() == "CALL_TIMEOUT" => {
                ledger.lock().told(&worker, sent, sent.elapsed().saturating_sub(CALL_TIMEOUT));
                Ok(())
            }
            Err(error) => Err(Fault::Failed { worker: Some(worker), error }),
            Ok(_) => Err(Fault::Wrong("a function that hangs gave something")),
        }
    }

    /// Several, none of which is like any other of the whole run.
    fn batches(&mut self) -> Vec<String> {
        let Caller { name, calls, ref mut random, .. } = *self;
        let mut filling = || "x".repeat(random.below(50_000) as usize);
        let batch = |batch| format!("caller {name}, call {calls}, batch {batch}, {}", filling());
        (0..2 + calls % 5).map(batch).collect()
    }
}
