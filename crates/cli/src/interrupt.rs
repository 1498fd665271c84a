//! Ctrl-C and SIGTERM: the first asks for a clean end, the second for one at once.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

/// The exit code of a command that was interrupted, whichever of the two signals it was.
const INTERRUPTED: i32 = 130;

/// How long after the second signal the process may still tidy up. Nobody waits for anybody then, so that it is longer
/// only when something is stuck, such as a write to a pipe that nobody reads.
const TIDYING: Duration = Duration::from_millis(500);

/// What is done before a signal ends the process while it does nothing but wait for its user.
type LastRites = Box<dyn FnOnce() + Send>;

/// How often a signal came. Clones see the same.
#[derive(Clone)]
pub(crate) struct Interrupt {
    signals: watch::Sender<u32>,
    resting: Arc<Mutex<Option<LastRites>>>,
}

impl Interrupt {
    /// Takes over SIGINT and SIGTERM, on a thread of its own, so that the second one is heard whatever the others do.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub(crate) fn listen() -> io::Result<Self> {
        let interrupt = Interrupt { signals: watch::Sender::new(0), resting: Arc::default() };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (mut keyboard, mut terminate) = {
            let _context = runtime.enter();
            // A file that may not grow further (`ulimit -f`) is an error of whoever writes it, and not the end of a process
            // that could not tidy up: once listened to, the signal does nothing by itself.
            drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let heard = interrupt.clone();
        let listen = move || {
            runtime.block_on(async {
                loop {
                    tokio::select! { _ = keyboard.recv() => {}, _ = terminate.recv() => {} }
                    if let Some(last_rites) = heard.rests() {
                        last_rites();
                        break;
                    }
                    heard.signals.send_modify(|count| *count += 1);
                    if *heard.signals.borrow() > 1 {
                        tokio::select! { _ = keyboard.recv() => {}, _ = terminate.recv() => {}, () = sleep(TIDYING) => {} }
                        break;
                    }
                }
                std::process::exit(INTERRUPTED);
            });
        };
        std::thread::Builder::new().name("anyudf-signals".into()).spawn(listen)?;
        Ok(interrupt)
    }

    /// Whether a signal came.
    pub(crate) fn is_raised(&self) -> bool {
        *self.signals.borrow() > 0
    }

    /// Waits for the first signal.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn raised(&self) {
        self.reached(1).await;
    }

    /// Waits for the second signal: from here on nobody is waited for.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn insisted(&self) {
        self.reached(2).await;
    }

    async fn reached(&self, count: u32) {
        let mut signals = self.signals.subscribe();
        if signals.wait_for(|signals| *signals >= count).await.is_err() {
            // The sender is ours.
            std::future::pending::<()>().await;
        }
    }
}

/// For a prompt, whose signals end what it runs and not the prompt.
#[cfg(feature = "sql")]
impl Interrupt {
    /// What was interrupted has ended: the next signal is the first one again.
    pub(crate) fn forget(&self) {
        self.signals.send_replace(0);
    }

    /// Until the guard is dropped nothing is under way that could be ended: a signal ends the process, once `last_rites` are
    /// done, such as giving back the terminal.
    pub(crate) fn rest(&self, last_rites: impl FnOnce() + Send + 'static) -> Resting<'_> {
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(last_rites));
        Resting(self)
    }
}

impl Interrupt {
    /// What is to be done before the process ends, if it rests.
    fn rests(&self) -> Option<LastRites> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// While it lives, a signal ends the process.
#[cfg(feature = "sql")]
pub(crate) struct Resting<'a>(&'a Interrupt);

#[cfg(feature = "sql")]
impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.rests();
    }
}

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupt").field("signals", &self.signals).finish_non_exhaustive()
    }
}
