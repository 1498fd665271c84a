//! The driver of the engine under test, as a process.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::report::Reported;
use crate::process::{Subject, Tail};
use crate::wire::Place;

/// A driver that runs, or has ended. Dropping it kills its process group.
#[derive(Debug)]
pub(crate) struct Driver {
    child: Child,
    group: Option<Pid>,
    told: Option<ChildStdin>,
    /// What it reports; ends with its standard output.
    pub(crate) reports: mpsc::UnboundedReceiver<(Reported, Instant)>,
    tail: Tail,
}

impl Driver {
    /// Starts it for one scenario.
    pub(crate) fn start(subject: &Subject, place: &Place, scenario: &str) -> io::Result<Self> {
        let mut command = Command::new(&subject.program);
        command.args(&subject.arguments).args(["--connection", &place.to_string(), "--scenario", scenario]);
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let tail = Tail::default();
        if let Some(errors) = child.stderr.take() {
            tail.keep(errors);
        }
        let (tell, reports) = mpsc::unbounded_channel();
        if let Some(output) = child.stdout.take() {
            tokio::spawn(async move {
                let mut lines = BufReader::new(output).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    if line.trim().is_empty() {
                        continue;
                    }
                    if tell.send((Reported::read(&line), Instant::now())).is_err() {
                        break;
                    }
                }
            });
        }
        let group = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        Ok(Driver { told: child.stdin.take(), child, group, reports, tail })
    }

    /// Tells it to act.
    pub(crate) async fn tell(&mut self) {
        if let Some(told) = &mut self.told {
            // One that has ended is noticed by what it does not do.
            let _ = told.write_all(b"now\n").await;
            let _ = told.flush().await;
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end: its exit status, or that it did not come.
    pub(crate) async fn exit(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        match timeout(patience, self.child.wait()).await {
            Ok(exit) => exit.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the driver still runs {patience:?} after its scenario")),
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Adds the end of what it wrote to standard error.
    pub(crate) fn explain(&self, what: String) -> String {
        let lines = self.tail.lines();
        match lines.is_empty() {
            true => what,
            false => format!("{what}; the driver printed last:\n    {}", lines.join("\n    ")),
        }
    }

    /// Kills it and all that it has started, and waits until it is reaped.
    pub(crate) async fn kill(&mut self) {
        self.kill_group();
        let _ = timeout(Duration::from_secs(5), self.child.wait()).await;
    }

    fn kill_group(&self) {
        // Once it is reaped its number may be a stranger's.
        if let (Some(_), Some(group)) = (self.child.id(), self.group) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.kill_group();
    }
}
