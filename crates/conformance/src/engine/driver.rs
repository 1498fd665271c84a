//! The driver of the engine under test, as a process.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::report::Reported;
use crate::leader::Leader;
use crate::lines::next_line;
use crate::process::{Subject, Tail};
use crate::wire::Place;

/// Reports that wait for a step; a driver that goes on has to wait itself.
const WAITING: usize = 16_384;

/// A driver that runs, or has ended. Dropping it kills its process group.
#[derive(Debug)]
pub(crate) struct Driver {
    leader: Leader,
    told: Option<ChildStdin>,
    /// What it reports; ends with its standard output.
    pub(crate) reports: mpsc::Receiver<(Reported, Instant)>,
    tail: Tail,
    errors: Option<JoinHandle<()>>,
}

impl Driver {
    /// Starts it for one scenario.
    pub(crate) fn start(subject: &Subject, place: &Place, scenario: &str) -> io::Result<Self> {
        let mut command = Command::new(&subject.program);
        command.args(&subject.arguments).args(["--connection", &place.to_string(), "--scenario", scenario]);
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let tail = Tail::default();
        let errors = child.stderr.take().map(|errors| tail.keep(errors));
        let (tell, reports) = mpsc::channel(WAITING);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(async move {
                let mut output = BufReader::new(output);
                while let Ok(Some(line)) = next_line(&mut output).await {
                    if line.trim().is_empty() {
                        continue;
                    }
                    if tell.send((Reported::read(&line), Instant::now())).await.is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Driver { told: child.stdin.take(), leader: Leader::new(child), reports, tail, errors })
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
        self.leader.pid()
    }

    /// The script is over: nobody is told any more.
    pub(crate) fn tell_no_more(&mut self) {
        self.told = None;
    }

    /// Waits for its end: its exit status, or that it did not come.
    pub(crate) async fn exit(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        let late = || format!("the driver still runs {:.1} s after its scenario", patience.as_secs_f64());
        self.leader.exit_within(patience).await.ok_or_else(late)
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.leader.ended()
    }

    /// What it has started and left behind, by name, once it has ended.
    pub(crate) async fn left_behind(&self) -> Vec<String> {
        self.leader.left_behind().await
    }

    /// Adds the end of what it wrote to standard error; all of it, if it has ended.
    pub(crate) async fn explain(&mut self, what: String) -> String {
        if let (Some(_), Some(errors)) = (self.ended(), self.errors.take()) {
            // Those that it has left behind may hold it open.
            let _ = timeout(Duration::from_millis(500), errors).await;
        }
        let lines = self.tail.lines();
        match lines.is_empty() {
            true => what,
            false => format!("{what}; the driver printed last:\n    {}", lines.join("\n    ")),
        }
    }

    /// Kills it and all that it has started, and waits until it is reaped.
    pub(crate) async fn kill(&mut self) {
        self.leader.kill().await;
    }
}
