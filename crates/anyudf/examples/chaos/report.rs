//! What there is to say at the end.

use std::process::ExitCode;
use std::time::Duration;

use crate::callers::{CALL_TIMEOUT, Told};
use crate::plan::Plan;
use crate::{NEVER, Outcome};

/// How long after its deadline the caller of a function that hangs may have its error.
const TARGET: Duration = Duration::from_millis(100);

/// Prints it, and judges.
pub(crate) fn report(plan: &Plan, outcome: Outcome) -> ExitCode {
    let Plan { seconds, callers, workers, seed } = plan;
    let Outcome { tally, mischief, stats, left, unfinished } = outcome;
    println!("chaos for {seconds} s: {callers} callers, {workers} workers, seed {seed}");
    println!(
        "calls            {}: {} right, {} wrong, {} without an end",
        tally.calls, tally.right, tally.wrong, tally.endless
    );
    for (error, count) in &tally.errors {
        println!("  error          {count} x {error}");
    }
    println!(
        "monkey           {} killed, {} stopped, of which {} continued and {} neither continued nor ended",
        mischief.killed, mischief.stopped, mischief.continued, mischief.neglected
    );
    println!(
        "workers          {} started, {} did not start, {} crashed or were given up",
        stats.starts, stats.failed_starts, stats.crashes
    );
    println!("recovery         {}; {} not before the end", spread(mischief.recoveries), mischief.unseen);
    println!("longest wait     {:.1} ms", millis(stats.longest_wait));
    println!("hung functions   told after the deadline of {CALL_TIMEOUT:?}: {}", lateness(tally.told.iter()));
    // A worker that is stopped can't tell anybody. Which one served a call nobody knows, so any will do to leave it out.
    let undisturbed = |told: &&Told| mischief.stops.iter().all(|&(from, to)| told.heard < from || told.sent > to);
    println!("  none stopped   {}", lateness(tally.told.iter().filter(undisturbed)));
    println!("leaks            {}{}", left.len(), left.iter().map(|what| format!(", {what}")).collect::<String>());
    for what in &unfinished {
        println!("not within {NEVER:?}  {what}");
    }
    let ended = tally.endless == 0 && mischief.neglected == 0 && unfinished.is_empty();
    let good = tally.right > 0 && tally.wrong == 0 && ended && left.is_empty();
    println!("{}", if good { "good" } else { "BAD" });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn lateness<'a>(told: impl Iterator<Item = &'a Told>) -> String {
    let times: Vec<_> = told.map(Told::lateness).collect();
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
