//! The workers' environment: verified or installed before the first worker, cleaned up after the last (D3).
//!
//! Three programs, each optional: a verification, which ends with 0 when everything is there; an installation; a
//! clean-up. They are run like workers (D4), but get no `--id`, no `--connection` and no token, and 120 s each (D2).
//!
//! ```text
//!   ready()      however many call it at once: one task registers the clean-up, verifies, installs; all learn how it
//!                went. The task goes on when its callers are gone, so that the next one finds the work done
//!   clean_up()   stops what is still being prepared, runs the clean-up here, with its output in the log
//!   else         the last clone and the last worker's socket are gone, or the engine has ended, in whatever way: the
//!                clean-up is run by the watchdog of the private directory, or by the next dispatcher's sweep
//! ```
//!
//! That the clean-up is run whatever happens is not done by a guard or a signal handler: a library must not touch its
//! host's signals, and no guard survives SIGKILL. It is a *debt of the private directory* ([`SocketDir`]), which has a
//! watchdog outside this process; dropping everything is therefore handled like dying. What it costs: one waiting shell
//! for each dispatcher, and the output of a clean-up that was run by the watchdog is lost.
//!
//! A clean-up runs once, unless it is cut off: when the engine dies while it runs it is begun again, so it should bear
//! that. What an installation leaves running in its process group is killed when it ends; a service has to leave the
//! group.

mod callable;

mod stage;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::error::{Error, ErrorKind};
use crate::launcher::{Role, WorkerCommand};
use crate::socket_dir::{Debt, SocketDir, shell_can_set};
use callable::Bounds;
use stage::{Event, Plan, Stage, Step};

/// What an environment is made by, and how long that may take.
///
/// `Debug` shows the programs' names alone (D13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvironmentConfig {
    /// Ends with 0 if the environment is there, and then nothing is installed.
    pub(crate) verification: Option<WorkerCommand>,
    /// Installs it.
    pub(crate) installation: Option<WorkerCommand>,
    /// Removes it.
    pub(crate) clean_up: Option<WorkerCommand>,
    /// How long each of the three may run (D2). 120 s by default.
    pub(crate) timeout: Duration,
    /// How long to wait for the system after SIGKILL (D2). 5 s by default.
    pub(crate) reap_timeout: Duration,
}

impl Default for EnvironmentConfig {
    fn default() -> Self {
        EnvironmentConfig {
            verification: None,
            installation: None,
            clean_up: None,
            timeout: Duration::from_secs(120),
            reap_timeout: Duration::from_secs(5),
        }
    }
}

impl EnvironmentConfig {
    /// Refuses what could not be run, before anything is.
    fn check(&self) -> Result<(), Error> {
        let commands = [
            (Role::Verification, &self.verification),
            (Role::Installation, &self.installation),
            (Role::CleanUp, &self.clean_up),
        ];
        for (role, command) in commands {
            command.as_ref().map_or(Ok(()), |command| command.check(role))?;
        }
        // The others are started by us, the clean-up perhaps by a shell.
        if let Some(clean_up) = &self.clean_up
            && let Some(place) = clean_up.environment.iter().position(|(name, _)| !shell_can_set(name))
        {
            let text = format!(
                "variable {} of {} `{}` has a name that a shell cannot set; use letters, digits and `_` (D3)",
                place + 1,
                Role::CleanUp,
                clean_up.program.display(),
            );
            return Err(Error::new(ErrorKind::Misuse, Role::CleanUp.invalid(), text));
        }
        Ok(())
    }
}

/// The environment of a dispatcher's workers. Clones are the same one.
///
/// When the last clone is gone what is being prepared is stopped, and a clean-up that is owed is run in the background, as
/// soon as nobody owns the private directory either: a worker's socket does. A worker without one is given a clone.
#[derive(Clone)]
pub(crate) struct Environment {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// Owns the debt.
    dir: Arc<SocketDir>,
    /// The task that prepares. Locked while one begins, so that closing cannot miss it.
    preparing: Mutex<Option<JoinHandle<()>>>,
    /// Where the tasks run, whoever calls.
    runtime: Handle,
}

/// What the tasks have of it: they keep neither the environment nor its directory.
struct Shared {
    config: EnvironmentConfig,
    stage: watch::Sender<Stage>,
}

impl Environment {
    /// An environment that nobody has asked for yet. `dir` is the dispatcher's private directory.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`], `INVALID_ENVIRONMENT_COMMAND`: a command without a program, bytes that no process can be
    /// given, or a variable of the clean-up whose name no shell can set.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub(crate) fn new(config: EnvironmentConfig, dir: Arc<SocketDir>) -> Result<Self, Error> {
        config.check()?;
        let shared = Arc::new(Shared { config, stage: watch::Sender::new(Stage::Untouched) });
        let inner = Inner { shared, dir, preparing: Mutex::default(), runtime: Handle::current() };
        Ok(Environment { inner: Arc::new(inner) })
    }

    /// Waits until the environment is there (D3). The first call begins, every other one waits for the same outcome.
    ///
    /// # Errors
    /// The first four are permanent, and said again to whoever calls. They have the last lines of the output.
    /// - [`ErrorKind::Worker`], `ENVIRONMENT_INSTALLATION_FAILED`: it did not end with 0.
    /// - [`ErrorKind::Timeout`], `ENVIRONMENT_INSTALLATION_TIMEOUT`.
    /// - [`ErrorKind::Launch`], `ENVIRONMENT_INSTALLATION_NOT_STARTED`, and `ENVIRONMENT_NOT_REGISTERED` when the record of
    ///   the clean-up can't be written.
    /// - [`ErrorKind::Launch`], `ENVIRONMENT_ABANDONED`: the runtime in which this was made ended meanwhile.
    /// - [`ErrorKind::Misuse`], `ENVIRONMENT_CLOSED`: it is cleaned up, or being so.
    ///
    /// # Cancel safety
    /// Safe: the work goes on without the caller.
    pub(crate) async fn ready(&self) -> Result<(), Error> {
        {
            let mut preparing = self.inner.preparing.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Stage::Doing(first)) = self.inner.shared.on(Event::Asked) {
                let (shared, dir) = (Arc::clone(&self.inner.shared), Arc::downgrade(&self.inner.dir));
                let task = Task { shared, step: first };
                *preparing = Some(self.inner.runtime.spawn(task.prepare(dir)));
            }
        }
        self.outcome(|stage| match stage {
            Stage::Untouched | Stage::Doing(Step::Register | Step::Verify | Step::Install) => None,
            Stage::Ready => Some(Ok(())),
            Stage::Failed(error) => Some(Err(error.clone())),
            Stage::Doing(Step::CleanUp) | Stage::Closed(_) => {
                let text = "the workers' environment is cleaned up already; make another dispatcher (D3, D12)";
                Some(Err(Error::new(ErrorKind::Misuse, "ENVIRONMENT_CLOSED", text)))
            }
        })
        .await
    }

    /// Cleans up, if [`ready`](Environment::ready) was ever called: to be called after the last worker's end. Whatever is
    /// still being prepared is stopped first. More than once is harmless: the clean-up runs once, and every call says how
    /// it went.
    ///
    /// # Errors
    /// It is not tried again, and they have the last lines of the output.
    /// - [`ErrorKind::Worker`], `ENVIRONMENT_CLEAN_UP_FAILED`: it did not end with 0.
    /// - [`ErrorKind::Timeout`], `ENVIRONMENT_CLEAN_UP_TIMEOUT`.
    /// - [`ErrorKind::Launch`], `ENVIRONMENT_CLEAN_UP_NOT_STARTED`; `ENVIRONMENT_ABANDONED` when the runtime ended
    ///   meanwhile, and then the clean-up is run once everything is dropped.
    ///
    /// # Cancel safety
    /// Safe: the work goes on without the caller.
    pub(crate) async fn clean_up(&self) -> Result<(), Error> {
        {
            let mut preparing = self.inner.preparing.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Stage::Doing(step)) = self.inner.shared.on(Event::Closed) {
                let task = Task { shared: Arc::clone(&self.inner.shared), step };
                // The debt is not the watchdog's while it is being paid, so the directory is kept.
                self.inner.runtime.spawn(task.clean_up(preparing.take(), Arc::clone(&self.inner.dir)));
            }
        }
        self.outcome(|stage| match stage {
            Stage::Closed(outcome) => Some(outcome.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for a stage that answers.
    async fn outcome(&self, answer: impl Fn(&Stage) -> Option<Result<(), Error>>) -> Result<(), Error> {
        let mut stage = self.inner.shared.stage.subscribe();
        let reached = stage.wait_for(|stage| answer(stage).is_some()).await.expect("its sender is ours");
        answer(&reached).expect("it was waited for")
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { config, stage } = &*self.inner.shared;
        f.debug_struct("Environment").field("config", config).field("stage", &*stage.borrow()).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.on(Event::LetGo);
    }
}

impl Shared {
    /// Lets `event` happen, and says which stage was entered by it, if any was.
    fn on(&self, event: Event) -> Option<Stage> {
        let plan = Plan { verifies: self.config.verification.is_some(), installs: self.config.installation.is_some() };
        let mut entered = None;
        self.stage.send_if_modified(|stage| {
            entered = stage.after(event, plan);
            entered.as_ref().is_some_and(|next| {
                stage.clone_from(next);
                true
            })
        });
        entered
    }

    /// Waits until `step` is not what is to be done any more.
    async fn overtaken(&self, step: Step) {
        let mut stage = self.stage.subscribe();
        let _ = stage.wait_for(|stage| !matches!(stage, Stage::Doing(doing) if *doing == step)).await;
    }

    /// Runs one of the three, if there is one.
    async fn run(&self, step: Step, dir: &Weak<SocketDir>) -> Result<(), Error> {
        let EnvironmentConfig { verification, installation, clean_up, timeout, reap_timeout } = &self.config;
        let (role, command) = match step {
            Step::Register => return self.register(dir).await,
            Step::Verify => (Role::Verification, verification),
            Step::Install => (Role::Installation, installation),
            Step::CleanUp => (Role::CleanUp, clean_up),
        };
        let Some(command) = command else { return Ok(()) };
        let bounds = Bounds { timeout: *timeout, reap_timeout: *reap_timeout };
        callable::run(role, command, bounds, dir, self.overtaken(step)).await
    }

    /// Makes sure that the clean-up is run, before there is anything to be cleaned up.
    async fn register(&self, dir: &Weak<SocketDir>) -> Result<(), Error> {
        let failed = |error: std::io::Error| {
            let text = "cannot register the environment's clean-up (D3); check that the directory for workers' sockets may \
                        be written, and that the disk is not full";
            Error::with_source(ErrorKind::Launch, "ENVIRONMENT_NOT_REGISTERED", text, error)
        };
        // Without a directory there is nobody any more who could want it ready.
        let (Some(clean_up), Some(dir)) = (&self.config.clean_up, dir.upgrade()) else { return Ok(()) };
        let debt = Debt::new(clean_up, self.config.timeout).map_err(failed)?;
        let owed = spawn_blocking(move || dir.owe(&debt)).await;
        owed.unwrap_or_else(|lost| Err(std::io::Error::other(lost))).map_err(failed)
    }
}

/// A task's hold on what it works for: when its runtime drops it, whoever waits is told.
struct Task {
    shared: Arc<Shared>,
    step: Step,
}

impl Task {
    async fn prepare(mut self, dir: Weak<SocketDir>) {
        loop {
            let outcome = self.shared.run(self.step, &dir).await;
            if let (Step::Verify, Err(error)) = (self.step, &outcome) {
                match error.kind() {
                    ErrorKind::Worker => tracing::debug!("the environment is not there yet: {error}"),
                    ErrorKind::Cancelled => {}
                    _ => tracing::warn!("it is not known whether the environment is there, so it is not: {error}"),
                }
            }
            match self.shared.on(Event::Ended(self.step, outcome)) {
                Some(Stage::Doing(next)) => self.step = next,
                _ => return,
            }
        }
    }

    async fn clean_up(self, before: Option<JoinHandle<()>>, dir: Arc<SocketDir>) {
        if let Some(before) = before {
            // It ends at once, because it is overtaken. If it panicked that is reported already.
            let _ = before.await;
        }
        let outcome = self.shared.run(self.step, &Arc::downgrade(&dir)).await;
        if let Err(error) = &outcome {
            tracing::warn!("{error}");
        }
        dir.settle();
        // Before anybody is told: then they may be the last owner, and see it gone.
        drop(dir);
        self.shared.on(Event::Ended(self.step, outcome));
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // It changes nothing when the step has ended, or was overtaken.
        let text = "the runtime that prepared the workers' environment ended meanwhile; make the dispatcher in one that \
                    lives as long as it does";
        let abandoned = Error::new(ErrorKind::Launch, "ENVIRONMENT_ABANDONED", text);
        self.shared.on(Event::Abandoned(self.step, abandoned));
    }
}
