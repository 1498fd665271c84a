//! What the engine asks of a function, on the function's side.
//!
//! The thread of an execution takes it, and calls a function with it; a function that asks for its input is lent it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, mpsc};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::clock::{Call, Phase};
use crate::error::{Error, Result};
use crate::link::{Reason, Shared, ToUser};

/// Where what the engine asks is waited for.
#[derive(Debug)]
pub(crate) struct Inbox {
    shared: Arc<Shared>,
    /// Nobody but the function's threads takes it, and it is held while one waits.
    queue: Mutex<Queue>,
    /// The thread of the execution, when a function was lent this. The clock is that thread's alone: what others that it has
    /// started wait for is not its time, and no reason for its call to be in time.
    lent: OnceLock<ThreadId>,
    /// Time for which that thread has waited here, in nanoseconds.
    waited: AtomicU64,
    /// The function has returned that was lent it.
    returned: AtomicBool,
    /// And nobody waits for how the input ends.
    closed: AtomicBool,
}

#[derive(Debug)]
struct Queue {
    /// Gone when nobody will ask any more: then what comes is dropped where it would be put in, and its credit goes back.
    input: Option<mpsc::Receiver<ToUser>>,
    /// Messages of data that a function was given that asked.
    batch: u64,
    /// What a function was told that asked.
    end: Option<End>,
}

/// How input ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Finished,
    Cancelled,
}

impl Inbox {
    pub(crate) fn new(shared: Arc<Shared>, input: mpsc::Receiver<ToUser>) -> Self {
        let queue = Mutex::new(Queue { input: Some(input), batch: 0, end: None });
        let (lent, waited) = (OnceLock::new(), AtomicU64::new(0));
        Inbox { shared, queue, lent, waited, returned: AtomicBool::new(false), closed: AtomicBool::new(false) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The next thing the engine asks; waits for it. Cancel overtakes what is queued before it.
    pub(crate) fn next(&self) -> ToUser {
        self.queue().next(&self.shared)
    }

    /// The next data, for a function that asks; `None` after Finish. The clock stands still while it waits, and starts anew
    /// for what comes (C11).
    ///
    /// # Errors
    /// Kind `Cancelled`. `INPUT_OVER` when the function has returned that was lent it.
    pub(crate) fn pull(&self) -> Result<Option<Bytes>> {
        let mut queue = self.queue();
        match queue.end {
            Some(End::Finished) => return Ok(None),
            Some(End::Cancelled) => return Err(Error::cancelled()),
            None => self.check_lent(&mut queue)?,
        }
        let began = Instant::now();
        let keeps_time = self.keeps_time();
        if keeps_time {
            self.shared.clock.pause(began);
        }
        let next = queue.next(&self.shared);
        let now = Instant::now();
        if keeps_time {
            let waited = u64::try_from(now.saturating_duration_since(began).as_nanos()).unwrap_or(u64::MAX);
            self.waited.fetch_add(waited, Ordering::Relaxed);
        }
        let (phase, given) = match next {
            ToUser::Data(data, credit) => {
                // The function takes it now: what it keeps is its own affair (E5).
                drop(credit);
                // When it returned meanwhile, nobody wants it.
                self.check_lent(&mut queue)?;
                queue.batch += 1;
                (Phase::Process, Ok(Some(data)))
            }
            ToUser::Finish => {
                queue.end = Some(End::Finished);
                (Phase::Finish, Ok(None))
            }
            ToUser::Cancel(_) => {
                queue.end = Some(End::Cancelled);
                (Phase::Cancel, Err(Error::cancelled()))
            }
        };
        self.begin(Call { phase, batch: queue.batch });
        given
    }

    /// The thread that asks for this is the execution's, and is about to call a function that asks.
    pub(crate) fn lend(&self) {
        self.lent.get_or_init(|| std::thread::current().id());
    }

    /// The function has input of its own to go on with: another batch of a message.
    ///
    /// # Errors
    /// As [`pull`](Inbox::pull) has them.
    pub(crate) fn go_on(&self, batch: u64) -> Result<()> {
        if self.shared.is_cancelled() {
            return Err(Error::cancelled());
        }
        if self.returned.load(Ordering::Acquire) {
            return Err(over());
        }
        self.begin(Call { phase: Phase::Process, batch });
        Ok(())
    }

    /// What the function has got is a call with a time of its own (C11).
    fn begin(&self, call: Call) {
        if self.keeps_time() && !self.returned.load(Ordering::Acquire) {
            self.shared.clock.start(call, Instant::now());
        }
    }

    fn keeps_time(&self) -> bool {
        self.lent.get() == Some(&std::thread::current().id())
    }

    fn check_lent(&self, queue: &mut Queue) -> Result<()> {
        if !self.returned.load(Ordering::Acquire) {
            return Ok(());
        }
        if self.closed.load(Ordering::Acquire) {
            queue.input = None;
        }
        Err(over())
    }

    /// The function has returned: whoever still has its input gets nothing more.
    pub(crate) fn take_back(&self) {
        self.returned.store(true, Ordering::Release);
    }

    /// Nobody asks any more, here either: what is queued and what comes is dropped, with its credit (C2). A thread that waits
    /// with the input in its hand does so when it wakes up.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.take_back();
        match self.queue.try_lock() {
            Ok(mut queue) => queue.input = None,
            Err(TryLockError::Poisoned(queue)) => queue.into_inner().input = None,
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// Drops what comes, with its credit, until the input ends.
    pub(crate) fn drain(&self) -> End {
        let mut queue = self.queue();
        loop {
            match queue.end {
                Some(end) => return end,
                None => match queue.next(&self.shared) {
                    ToUser::Data(..) => {}
                    ToUser::Finish => queue.end = Some(End::Finished),
                    ToUser::Cancel(_) => queue.end = Some(End::Cancelled),
                },
            }
        }
    }

    /// How long a function has waited that asked, since this was asked last.
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.swap(0, Ordering::Relaxed))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No user code runs while it is held, and nothing in it is half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is queued, and says whether Finish was among it.
    #[cfg(test)]
    pub(crate) fn is_finish_next(&self) -> bool {
        self.queue().input.iter().flat_map(|input| input.try_iter()).any(|what| matches!(what, ToUser::Finish))
    }
}

fn over() -> Error {
    Error::user("this input is of an execution whose function has returned").with_class("INPUT_OVER")
}

impl Queue {
    fn next(&mut self, shared: &Shared) -> ToUser {
        // The session's task never goes without a Cancel; if it panicked there is nobody left to answer.
        let gone = |_| ToUser::Cancel(Reason::Disconnected);
        let Some(input) = &self.input else { return ToUser::Cancel(Reason::Failed) };
        let first = match input.try_recv() {
            Ok(first) => first,
            Err(_) => {
                let began = Instant::now();
                let first = input.recv().unwrap_or_else(gone);
                shared.counters.waited_to_receive(began.elapsed());
                first
            }
        };
        if !shared.is_cancelled() {
            return first;
        }
        let mut next = first;
        loop {
            match next {
                cancel @ ToUser::Cancel(_) => return cancel,
                // Dropped unread, with its credit.
                ToUser::Data(..) | ToUser::Finish => next = input.recv().unwrap_or_else(gone),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use anyudf_grpc::Credit;

    use super::*;
    use crate::clock::{CallClock, Reading};
    use crate::counters::{Counters, Totals};
    use crate::link::link;

    const SECOND: Duration = Duration::from_secs(1);

    /// C11: the clock stands still while a function waits for the input that it asks for, and each batch has the whole time.
    #[test]
    fn c11_waiting_for_input_is_not_the_calls_time() {
        let base = Instant::now();
        let clock = CallClock::new(Some(SECOND), base);
        let (user, ends) = link(clock, Arc::new(Counters::new(Arc::new(Totals::default()))), 1);
        let (clock, inbox) = (&ends.shared.clock, &ends.inbox);
        // Long over its time.
        clock.start(Call { phase: Phase::Start, batch: 0 }, base);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                inbox.lend();
                inbox.pull()
            });
            let later = base + 100 * SECOND;
            while !matches!(clock.read(later), Reading::NotBefore(then) if then > later) {
                std::thread::yield_now();
            }
            user.tell(ToUser::Data("one".into(), Credit::free()));
            assert_eq!(asking.join().unwrap().unwrap().unwrap(), "one");
        });
        assert_eq!(clock.call(), Call { phase: Phase::Process, batch: 1 });
        let now = Instant::now();
        assert!(matches!(clock.read(now), Reading::NotBefore(then) if then > now && then <= now + SECOND));
        assert!(matches!(clock.read(now + SECOND), Reading::Expired(Call { phase: Phase::Process, batch: 1 })));
        assert!(inbox.waited() > Duration::ZERO);
        // Another thread asks: neither does the clock stand still for it, nor does what it gets begin a call.
        user.tell(ToUser::Data("two".into(), Credit::free()));
        user.tell(ToUser::Finish);
        assert_eq!(inbox.pull().unwrap().unwrap(), "two");
        assert!(matches!(inbox.pull(), Ok(None)));
        assert_eq!(clock.call(), Call { phase: Phase::Process, batch: 1 });
        assert!(matches!(clock.read(now + SECOND), Reading::Expired(Call { phase: Phase::Process, batch: 1 })));
        assert_eq!(inbox.waited(), Duration::ZERO);
    }

    /// C2, E5: what a function that has failed keeps of its input keeps no data.
    #[test]
    fn c2_e5_a_failed_function_keeps_no_queue() {
        let clock = CallClock::new(None, Instant::now());
        let (user, ends) = link(clock, Arc::new(Counters::new(Arc::new(Totals::default()))), 1);
        let data = bytes::Bytes::from(vec![7; 1 << 20]);
        user.tell(ToUser::Data(data.clone(), Credit::free()));
        let kept = Arc::clone(&ends.inbox);
        ends.inbox.close();
        user.tell(ToUser::Data(data.clone(), Credit::free()));
        assert!(data.is_unique(), "nobody else has it");
        assert_eq!(kept.pull().unwrap_err().condition(), "INPUT_OVER");
    }

    /// R10: who asks after the function has returned gets nothing, and takes no Finish from whoever waits for it.
    #[test]
    fn r10_nothing_is_given_behind_the_functions_back() {
        let clock = CallClock::new(None, Instant::now());
        let (user, ends) = link(clock, Arc::new(Counters::new(Arc::new(Totals::default()))), 1);
        ends.inbox.take_back();
        assert_eq!(ends.inbox.pull().unwrap_err().condition(), "INPUT_OVER");
        user.tell(ToUser::Data("one".into(), Credit::free()));
        user.tell(ToUser::Finish);
        assert_eq!(ends.inbox.drain(), End::Finished);
        assert!(matches!(ends.inbox.pull(), Ok(None)));
    }
}
