//! The thread on which all sockets are read and written, and how other threads wait for what happens there.

use std::future::Future;
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;

/// A runtime on a thread of its own. Dropping it ends the thread, and with it every worker that is still there.
#[derive(Debug)]
pub(crate) struct Io {
    handle: Handle,
    interrupt: Interrupt,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Io {
    /// Starts the thread, and from here on Ctrl-C is ours.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub(crate) fn start() -> Result<Self> {
        Self::start_on(&mut Builder::new_current_thread())
    }

    /// The same with `threads` beside it, for what computes as well.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    #[cfg(feature = "sql")]
    pub(crate) fn start_parallel(threads: usize) -> Result<Self> {
        Self::start_on(Builder::new_multi_thread().worker_threads(threads.max(1)).thread_name("anyudf-sql"))
    }

    fn start_on(builder: &mut Builder) -> Result<Self> {
        let interrupt = Interrupt::listen().context("can't listen for signals")?;
        let runtime = builder.enable_all().build().context("can't start the I/O thread")?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            // Resolves when the sender is dropped.
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new().name("anyudf-io".into()).spawn(run);
        let thread = thread.context("can't start the I/O thread")?;
        Ok(Io { handle, interrupt, stop: Some(stop), thread: Some(thread) })
    }

    /// For threads that wait by themselves.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The signals that end what is waited for here.
    #[cfg(feature = "sql")]
    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Waits, whatever signals come.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle.block_on(future)
    }

    /// Between things that wait for no signal.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] after a signal.
    pub(crate) fn check(&self) -> Result {
        if self.interrupt.is_raised() { Err(Failure::Interrupted) } else { Ok(()) }
    }

    /// Waits until it is done or a signal comes; the future is dropped then.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] after a signal, at once if it came before.
    pub(crate) fn wait_or_interrupt<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        self.handle.block_on(async {
            tokio::select! {
                biased;
                () = self.interrupt.raised() => Err(Failure::Interrupted),
                done = future => Ok(done),
            }
        })
    }

    /// Waits for what tidies up after a failure, until somebody insists on an end at once; the future is dropped then.
    pub(crate) fn wait_unless_insisted(&self, future: impl Future<Output = ()>) {
        self.handle.block_on(async {
            tokio::select! { biased; () = self.interrupt.insisted() => {}, () = future => {} }
        });
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic there was printed already.
            let _ = thread.join();
        }
    }
}
