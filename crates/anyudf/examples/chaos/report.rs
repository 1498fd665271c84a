//! What there is to say at the end.

use std::process::ExitCode;
use std::time::Duration;

use anyudf_engine::DispatcherStats;

use crate::Outcome;
use crate::callers::CALL_TIMEOUT;
use crate::ledger::Records;
use crate::plan::Plan;

/// How long after its deadline the caller of a function that hangs may have its error.
const TARGET: Duration = Duration::from_millis(100);

/// Prints it, and judges.
pub(crate) fn report(plan: &Plan, outcome: Outcome) -> ExitCode {
    let Plan { seconds, callers, workers, seed } = plan;
    let Outcome { mut records, mischief, stats, left } = outcome;
    judge(plan, &mut records, &stats, &left);
    println!("chaos for {seconds} s: {callers} callers, {workers} workers, seed {seed}");
    let errors: u64 = records.errors.values().sum();
    println!("calls            {}: {} right, {errors} errors", records.calls, records.right);
    for (error, count) in &records.errors {
        println!("  error          {count} x {error}");
    }
    println!(
        "monkey           {} killed, {} stopped, of which {} continued",
        mischief.killed, mischief.stopped, mischief.continued
    );
    println!(
        "workers          {} started, {} did not start, {} crashed or were given up; at most {} at once",
        stats.starts, stats.failed_starts, stats.crashes, records.most_workers
    );
    println!("recovery         {}; {} not before the end", spread(mischief.recoveries), mischief.unseen);
    println!("longest wait     {:.1} ms", millis(stats.longest_wait));
    println!("hung functions   told after the deadline of {CALL_TIMEOUT:?}: {}", lateness(records.told));
    println!("  if stopped     {}", lateness(records.told_by_stopped));
    println!("leaks            {}", if left.is_empty() { "none".into() } else { left.join(", ") });
    let mut good = true;
    for (what, count, examples) in records.findings.iter() {
        good = false;
        println!("FOUND            {count} x {what}");
        examples.iter().for_each(|example| println!("  such as        {example}"));
    }
    println!("{}", if good { "good" } else { "BAD" });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Finds what shows only when all is over.
fn judge(plan: &Plan, records: &mut Records, stats: &DispatcherStats, left: &[String]) {
    let (right, most, touched) = (records.right, records.most_workers as u64, records.touched());
    let findings = &mut records.findings;
    if right == 0 {
        findings.add("run in which no call came out right", || "so nothing is proven".into());
    }
    if most > plan.workers {
        findings.add("more workers than there may be", || format!("{most} at once, {} allowed (D10)", plan.workers));
    }
    // Each worker is lost at most once, whether or not anybody had a session in it.
    let lost = stats.crashes + stats.failed_starts;
    if lost > touched {
        let example = || format!("{lost} lost, and something was done to {touched}");
        findings.add("more workers lost than anything was done to", example);
    }
    left.iter().for_each(|what| findings.add("leaks", || what.clone()));
}

fn lateness(times: Vec<Duration>) -> String {
    let in_time = times.iter().filter(|&&time| time <= TARGET).count();
    format!("{}, {in_time} within {TARGET:?}", spread(times))
}

/// Median, 99th percentile and maximum.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |hundredths: usize| {
        let rank = (times.len() * hundredths).div_ceil(100);
        times.get(rank.saturating_sub(1)).map_or("-".into(), |&time| format!("{:.1} ms", millis(time)))
    };
    format!("median {}, p99 {}, at the most {}, of {}", at(50), at(99), at(100), times.len())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
