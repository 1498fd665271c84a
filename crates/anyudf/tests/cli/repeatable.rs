//! `anyudf run --repeatable`, while somebody kills workers.

use std::collections::BTreeSet;
use std::fs;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{DISTANCE, Place, rows, sample, text};

/// Workers killed in one run.
const KILLS: usize = 10;

/// Small numbers that look random, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// The worker processes of this run: its children that are workers.
fn workers(run: &Child) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", run.id())).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> =
        children.flat_map(|line| line.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
    let is_worker = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).nth(1) == Some(b"worker")
    };
    children.into_iter().filter(is_worker).collect()
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("it is a process id");
    // It may have gone by itself just now.
    let _ = kill_process(pid, Signal::KILL);
}

/// A batch whose worker is killed is run again on another: the answer is whole and right, whenever that happens.
#[test]
fn e14_a_repeatable_run_survives_its_workers() {
    let place = Place::new();
    let plain = place.path("plain.parquet");
    place.run(&DISTANCE.join(" "), &["--input", &sample(), "--output", text(&plain)]).done();

    let (input, output) = (sample(), place.path("out.parquet"));
    let files = ["--input", &input, "--output", text(&output), "--batch-rows", "100", "--jobs", "3", "--repeatable"];
    let mut child = place.start(&[&DISTANCE[..], &files].concat());
    let (mut random, mut killed) = (Random(0x9e37_79b9_7f4a_7c15), BTreeSet::new());
    let mut patience = random.below(40);
    while killed.len() < KILLS && child.try_wait().expect("it is ours").is_none() {
        for pid in workers(&child) {
            if patience == 0 && killed.insert(pid) {
                kill(pid);
                patience = random.below(40);
            }
            patience = patience.saturating_sub(1);
        }
        std::thread::yield_now();
    }
    let ran = place.finish(child.wait_with_output().expect("it ends"));
    ran.done();
    assert_eq!(killed.len(), KILLS, "the run was over too soon");
    assert_eq!(rows(&output), rows(&plain), "every row, once, in order");
}

/// Without the flag a killed worker is the end, and there is no output file.
#[test]
fn e14_another_run_does_not() {
    let place = Place::new();
    let (input, output) = (sample(), place.path("out.parquet"));
    let files = ["--input", &input, "--output", text(&output), "--batch-rows", "100"];
    let mut child = place.start(&[&DISTANCE[..], &files].concat());
    let worker = loop {
        assert!(child.try_wait().expect("it is ours").is_none(), "it was over too soon");
        if let Some(worker) = workers(&child).pop() {
            break worker;
        }
    };
    kill(worker);
    let ran = place.finish(child.wait_with_output().expect("it ends"));
    ran.failed(1, &["signal: 9 (SIGKILL)"]);
    assert!(place.listing().is_empty(), "no output file");
}

/// What a batch by itself could change is refused.
#[test]
fn only_scalar_functions_are_repeated() {
    let place = Place::new();
    let line = "--function explode_words --repeatable --input";
    place.run(line, &[&sample()]).failed(2, &["`explode_words`", "kind map", "--repeatable"]);
    let line = "--function generate_series --repeatable";
    place.run(line, &[]).failed(2, &["kind table", "--repeatable"]);
}
