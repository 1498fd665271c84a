//! Ctrl-C and SIGTERM: the first asks for a clean end, the second for one at once.

use std::io;
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

/// How often a signal came. Clones see the same.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    signals: watch::Receiver<u32>,
}

impl Interrupt {
    /// Takes over SIGINT and SIGTERM, on a thread of its own, so that the second one is heard whatever the others do.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub(crate) fn listen() -> io::Result<Self> {
        let (tell, signals) = watch::channel(0);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate) = {
            let _context = runtime.enter();
            // A file that may not grow further (`ulimit -f`) is an error of whoever writes it, and not the end of a process
            // that could not tidy up: once listened to, the signal does nothing by itself.
            drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let listen = move || {
            runtime.block_on(async {
                for count in 1..=2 {
                    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                    tell.send_replace(count);
                }
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, () = sleep(TIDYING) => {} }
                std::process::exit(INTERRUPTED);
            });
        };
        std::thread::Builder::new().name("anyudf-signals".into()).spawn(listen)?;
        Ok(Interrupt { signals })
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
        let mut signals = self.signals.clone();
        if signals.wait_for(|signals| *signals >= count).await.is_err() {
            // The thread that listens only ends with the process.
            std::future::pending::<()>().await;
        }
    }
}
