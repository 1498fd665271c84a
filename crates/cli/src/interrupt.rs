//! Ctrl-C and SIGTERM: the first asks for a clean end, the second gets one at once.

use std::io;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The exit code of a command that was interrupted, whichever of the two signals it was.
const INTERRUPTED: i32 = 130;

/// Whether a signal came. Clones see the same.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    raised: watch::Receiver<bool>,
}

impl Interrupt {
    /// Takes over SIGINT and SIGTERM, on a thread of its own, so that the second one is heard whatever the others do.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub(crate) fn listen() -> io::Result<Self> {
        let (raise, raised) = watch::channel(false);
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate) = {
            let _context = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let listen = move || {
            runtime.block_on(async {
                loop {
                    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                    if raise.send_replace(true) {
                        std::process::exit(INTERRUPTED);
                    }
                }
            });
        };
        std::thread::Builder::new().name("anyudf-signals".into()).spawn(listen)?;
        Ok(Interrupt { raised })
    }

    /// Whether a signal came.
    pub(crate) fn is_raised(&self) -> bool {
        *self.raised.borrow()
    }

    /// Waits for a signal.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn raised(&self) {
        let mut raised = self.raised.clone();
        if raised.wait_for(|raised| *raised).await.is_err() {
            // The thread that listens only ends with the process.
            std::future::pending::<()>().await;
        }
    }
}
