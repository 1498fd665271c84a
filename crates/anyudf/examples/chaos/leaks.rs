//! What is left when the dispatcher is closed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::processes::{children, workers};

/// A thread or a connection that was told to end may need this long. Processes and files have no such time (D12).
const SETTLING: Duration = Duration::from_secs(2);

/// What this process holds. It is counted while the runtime lives, whose end would hide what it takes along.
#[derive(Clone, Copy)]
pub(crate) struct Holdings {
    threads: usize,
    descriptors: usize,
    tasks: usize,
}

impl Holdings {
    pub(crate) fn now() -> Self {
        let entries = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
        Holdings {
            threads: entries("/proc/self/task"),
            descriptors: entries("/proc/self/fd"),
            tasks: Handle::current().metrics().num_alive_tasks(),
        }
    }

    fn more_than(self, before: Holdings) -> Vec<String> {
        let more = |what: &str, now: usize, before: usize| (now > before).then(|| format!("{} {what}", now - before));
        let threads = more("threads", self.threads, before.threads);
        let descriptors = more("descriptors", self.descriptors, before.descriptors);
        let tasks = more("tasks", self.tasks, before.tasks);
        [threads, descriptors, tasks].into_iter().flatten().collect()
    }
}

/// What is there that was not there before, beginning with what should have been gone when `close` returned.
pub(crate) async fn leaks(base: &Path, before: Holdings) -> Vec<String> {
    let mut left: Vec<_> = workers().iter().map(|worker| format!("worker {}", worker.pid)).collect();
    left.extend(children().into_iter().map(|pid| format!("child {pid}")));
    match fs::read_dir(base) {
        Ok(files) => left.extend(files.flatten().map(|file| format!("file {}", file.file_name().display()))),
        Err(error) => left.push(format!("who knows what: {error}")),
    }
    let began = Instant::now();
    let mut held = Holdings::now().more_than(before);
    while !held.is_empty() && began.elapsed() < SETTLING {
        sleep(Duration::from_millis(10)).await;
        held = Holdings::now().more_than(before);
    }
    left.extend(held);
    left
}
