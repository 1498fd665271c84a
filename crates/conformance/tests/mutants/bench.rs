//! What is measured of the right worker, and what is said of those that can't be measured.

use std::env;
use std::time::Duration;

use anyudf_conformance::{BenchConfig, Capabilities, Error, ErrorKind, Figure, bench};

use super::mutant::Mutation as M;
use super::worker_with;
use crate::mutation::{Mistake as _, RIGHT, ROLE};

/// A bench that is as short as can be.
fn brief(role: &str) -> BenchConfig {
    let mut capabilities = Capabilities::default();
    capabilities.offer_test_functions();
    BenchConfig {
        capabilities,
        time: Duration::from_millis(200),
        batch_bytes: vec![16 << 10, 4 << 20],
        ..BenchConfig::new("/usr/bin/env", worker_with(role))
    }
}

fn measure(config: &BenchConfig) -> Result<Vec<Figure>, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    // Whoever has a runtime of many threads may spawn it.
    fn spawnable<T: Send>(future: T) -> T {
        future
    }
    runtime.expect("a runtime").block_on(spawnable(bench(config, |_| {})))
}

#[test]
fn the_right_worker_has_every_figure() {
    if env::var_os(ROLE).is_some() {
        return;
    }
    let figures = measure(&brief(RIGHT)).expect("it can be measured");
    let mut latencies = Vec::new();
    for figure in &figures {
        match figure {
            Figure::Throughput(through) => assert!(through.ratio() > 0.0, "{figure}"),
            Figure::Latency(latency) => {
                assert!(latency.samples > 0 && !latency.median.is_zero(), "{figure}");
                assert!(latency.median <= latency.p99 && latency.p99 <= latency.max, "{figure}");
                latencies.push(latency.what.name());
            }
            other => panic!("what is {other}?"),
        }
    }
    assert_eq!(figures.len() - latencies.len(), 2, "one throughput for each size");
    let all = ["warm_open", "heartbeat_idle", "heartbeat_under_load", "cancel_full_queue", "cold_start"];
    assert_eq!(latencies, all);
}

/// What is not right in a worker is not measured: the error says what was, and what came.
#[test]
fn a_wrong_worker_has_an_error() {
    if env::var_os(ROLE).is_some() {
        return;
    }
    for (mutation, says) in [
        (M::EchoAddsAByte, &["throughput in batches of 16 KiB: answer 1 is not what was sent (S1)"][..]),
        (M::FinishResponseOvertakes, &["throughput", "before FinishResponse (S1)"]),
        (M::FinishIsNotAnswered, &["throughput", "came back, and FinishResponse did not come for"]),
        (M::NoTerminator, &["throughput", "(R13)"]),
        (M::InitResponseTwice, &["throughput", "the worker broke the grammar", "(R4)"]),
        (M::InitResponseWaitsForData, &["throughput", "InitResponse was awaited"]),
        (M::CancelIsAnError, &["warm open", "Cancel was answered with"]),
        (M::HeartbeatIsAnsweredByShutdown, &["heartbeat: the answer to a heartbeat has another branch (M1)"]),
    ] {
        // So that silence is told soon.
        let config = BenchConfig { timeout: Duration::from_millis(2500), ..brief(mutation.name()) };
        let error = measure(&config).expect_err(mutation.name());
        assert_eq!(error.kind(), ErrorKind::Worker, "{error}");
        println!("{}: {error}", mutation.name());
        for part in says {
            assert!(error.to_string().contains(part), "{}: `{part}` is missing from: {error}", mutation.name());
        }
    }
}

/// P7: a batch of 4 MiB is a message that is within gRPC's own limit; of a larger one it is said that it may be too large.
#[test]
fn p7_a_batch_over_the_limit_says_so() {
    if env::var_os(ROLE).is_some() {
        return;
    }
    let config = brief(M::LimitOfGrpc.name());
    assert!(measure(&config).is_ok());
    let error = measure(&BenchConfig { batch_bytes: vec![5 << 20], ..config }).expect_err("it is too large");
    let text = error.to_string();
    assert!(text.contains("RESOURCE_EXHAUSTED") && text.contains("messages of 5 MiB (P7)"), "{text}");
}

#[test]
fn bounds_of_the_bench_are_told() {
    let none = || BenchConfig::new("no-such-program", []);
    for config in [
        BenchConfig { batch_bytes: vec![1 << 10, 63], ..none() },
        BenchConfig { batch_bytes: vec![1 << 30], ..none() },
        BenchConfig { window: 1 << 10, ..none() },
        BenchConfig { window: u32::MAX, ..none() },
    ] {
        let error = measure(&config).expect_err("it is out of bounds");
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    }
    assert_eq!(measure(&none()).expect_err("it is not there").kind(), ErrorKind::Worker);
}
