//! Workers that do not start, die, stop or will not go: whoever asks has a clear error or a session, and nothing is left.

use std::time::Duration;

use anyudf_engine::{Error, ErrorKind, Scope, WorkerSpecification};
use rustix::process::Signal;

use crate::support::*;

/// For bounds that a test waits out.
const SHORT: Duration = Duration::from_millis(150);

/// What a caller is told when no worker of this specification starts.
async fn refused(specification: &WorkerSpecification, attempts: u32) -> Error {
    let (dispatcher, base) = dispatcher(specification, |config| {
        config.pool.start_attempts = attempts;
        config.pool.backoff_initial = Duration::from_millis(5);
    });
    let error = soon("a refusal", dispatcher.open(echo())).await.expect_err("it can't start");
    close(dispatcher, &base).await;
    error
}

/// D6, D10: what keeps a worker from starting is said, with what it printed last; what can't get better is not tried again.
#[tokio::test]
async fn d6_d10_a_worker_that_does_not_start() {
    let shell = |script: &str| WorkerSpecification::new("sh", ["-c", script]);
    let late = |specification: WorkerSpecification| specification.with_initialization_timeout(SHORT);
    for (specification, attempts, condition, says) in [
        (WorkerSpecification::new("no-such-program", [""; 0]), 3, "WORKER_NOT_FOUND", "no such program"),
        (shell("echo last words >&2; exit 3"), 1, "WORKER_EXITED", "exit status: 3"),
        (shell("echo last words >&2; exit 3"), 1, "WORKER_EXITED", "last words"),
        (shell("exit 3"), 3, "WORKER_EXITED", "the last of 3 attempts"),
        (late(shell("exec sleep 600")), 1, "WORKER_START_TIMEOUT", "never bound"),
        (late(mute()), 1, "WORKER_START_TIMEOUT", "answered no call"),
    ] {
        let error = refused(&specification, attempts).await;
        assert_eq!(error.condition(), condition, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// D3: an environment that can't be installed is permanent, however often it is asked for.
#[tokio::test]
async fn d3_an_installation_that_fails_is_permanent() {
    let hopeless = specification().with_installation("sh", ["-c", "echo installing; exit 9"]);
    let (dispatcher, base) = dispatcher(&hopeless, |_| {});
    for _ in 0..3 {
        let error = soon("a refusal", dispatcher.open(echo())).await.expect_err("it can't be installed");
        assert_eq!(error.condition(), "ENVIRONMENT_INSTALLATION_FAILED");
        assert!(error.to_string().contains("installing") && error.to_string().contains("exit status: 9"), "{error}");
    }
    close(dispatcher, &base).await;
}

/// D4, D6, D7: odd ways to start and to end are survived, and nothing is left of them.
#[tokio::test]
async fn d4_d6_d7_odd_workers_serve_and_go() {
    for script in [
        // Prints 10 MB first.
        r#"head -c 10000000 /dev/zero | tr '\0' 'x' >&2; exec "$0" "$@""#,
        // Binds late.
        r#"sleep 0.2; exec "$0" "$@""#,
        // Has a grandchild that holds the pipes.
        r#"sleep 600 & exec "$0" "$@""#,
        // Is a launcher that stays, and ignores SIGTERM for ever.
        r#"trap '' TERM; "$0" "$@"; while :; do sleep 600; done"#,
    ] {
        let stubborn = behind(script).with_graceful_termination_timeout(SHORT);
        let (dispatcher, base) = dispatcher(&stubborn, |_| {});
        serves(&dispatcher).await;
        serves(&dispatcher).await;
        assert_eq!(stats(&dispatcher).await.starts, 1, "{script}");
        close(dispatcher, &base).await;
    }
}

/// D10: one bad start in two keeps nobody from a session.
#[tokio::test]
async fn d10_every_second_start_fails() {
    let place = tempfile::tempdir().expect("a directory");
    let flag = place.path().join("flag");
    let script = format!(r#"if [ -e {0} ]; then rm {0}; exec "$0" "$@"; fi; : > {0}; exit 5"#, flag.display());
    let (dispatcher, base) = dispatcher(&behind(&script), |config| {
        config.pool.max_sessions = Some(1);
        config.pool.max_workers = 1;
        config.pool.backoff_initial = Duration::from_millis(5);
    });
    for _ in 0..4 {
        serves(&dispatcher).await;
    }
    let now = stats(&dispatcher).await;
    assert_eq!((now.granted, now.failed_starts), (4, 4));
    close(dispatcher, &base).await;
}

/// D10, E14: a worker that dies fails the session that runs on it, with its last words, and the next one has another worker.
#[tokio::test]
async fn d10_e14_a_worker_that_dies_is_replaced() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        config.pool.backoff_initial = Duration::from_millis(5);
    });
    for what in ["die open", "die process", "die finish"] {
        let phase = what.split_once(' ').expect("two words").1;
        let run = async {
            let session = dispatcher.open(odd_one(what)).await?;
            echoed(session, "a batch").await
        };
        let error = soon("it fails", run).await.expect_err("the worker died");
        assert_eq!((error.kind(), error.condition()), (ErrorKind::Transport, "WORKER_DIED"), "{what}: {error}");
        assert!(error.to_string().contains(&format!("last words of {phase}")), "{error}");
        serves(&dispatcher).await;
    }
    let now = stats(&dispatcher).await;
    assert_eq!((now.starts, now.crashes), (4, 3));
    close(dispatcher, &base).await;
}

/// D10, E1: a session whose worker dies before it has begun is told how, when it begins.
#[tokio::test]
async fn d10_e1_a_worker_that_dies_before_its_session_begins() {
    let (dispatcher, base) = dispatcher(&specification(), |_| {});
    let session = dispatcher.session(echo(), Scope::default()).await.expect("a seat");
    signal(pid(&dispatcher).await, Signal::KILL);
    eventually(&dispatcher, "it is noticed", |now| now.crashes == 1).await;
    let error = soon("it fails", session.init()).await.expect_err("its worker is dead");
    assert_eq!(error.condition(), "WORKER_DIED", "{error}");
    assert!(error.to_string().contains("SIGKILL"), "{error}");
    serves(&dispatcher).await;
    close(dispatcher, &base).await;
}

/// C7, D10, E14: a worker that somebody else ends says so to its sessions; they may be run again, and on another worker.
#[tokio::test]
async fn c7_d10_e14_a_worker_that_shuts_down_is_gone() {
    // No grace, so that it ends its sessions at once.
    let hasty = behind(r#"exec "$0" "$@" --grace 0"#);
    let (dispatcher, base) = dispatcher(&hasty, |config| config.pool.backoff_initial = Duration::from_millis(1));
    let session = dispatcher.open(echo()).await.expect("it opens");
    let leaving = pid(&dispatcher).await;
    signal(leaving, Signal::TERM);
    let control = session.control();
    soon("its end", control.ended()).await;
    let error = soon("its error", echoed(session, "a batch")).await.expect_err("its worker ends");
    assert_eq!((error.kind(), error.condition()), (ErrorKind::Worker, "SHUTTING_DOWN"), "{error}");
    assert!(error.is_worker_gone(), "{error}");
    serves(&dispatcher).await;
    assert_ne!(pid(&dispatcher).await, leaving);
    close(dispatcher, &base).await;
}

/// D10: a worker that dies while it is idle is not handed out once that is known, and in the moment of being handed out its
/// caller has a clear error.
#[tokio::test]
async fn d10_a_worker_that_dies_while_idle_or_handed_out() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        config.pool.backoff_initial = Duration::from_millis(1);
    });
    serves(&dispatcher).await;
    signal(pid(&dispatcher).await, Signal::KILL);
    eventually(&dispatcher, "it is noticed", |now| now.crashes == 1).await;
    serves(&dispatcher).await;
    for _ in 0..20 {
        signal(pid(&dispatcher).await, Signal::KILL);
        let run = async { echoed(dispatcher.open(echo()).await?, "a batch").await };
        match soon("an end", run).await {
            Ok(echoed) => assert_eq!(echoed, "a batch"),
            Err(error) => assert!(error.is_worker_gone(), "{error}"),
        }
        serves(&dispatcher).await;
    }
    close(dispatcher, &base).await;
}

/// D10, E6: a worker that is stopped does not answer; its sessions are told so, and it is ended and replaced.
#[tokio::test]
async fn d10_e6_a_stopped_worker_is_replaced() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        config.pool.heartbeat_interval = Duration::from_millis(40);
        config.pool.heartbeat_misses = 2;
    });
    let session = dispatcher.open(echo()).await.expect("it opens");
    let stopped = pid(&dispatcher).await;
    stop(stopped).await;
    let error = soon("its end", echoed(session, "a batch")).await.expect_err("it is stopped");
    assert_eq!(error.condition(), "WORKER_LOST");
    assert!(error.to_string().contains("worker does not answer"), "{error}");
    serves(&dispatcher).await;
    assert_ne!(pid(&dispatcher).await, stopped);
    close(dispatcher, &base).await;
}

/// D10: an idle worker that is stopped is found out before it is handed out.
#[tokio::test]
async fn d10_a_stopped_idle_worker_is_not_handed_out() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        config.pool.check_after = Duration::ZERO;
        config.pool.check_timeout = SHORT;
    });
    serves(&dispatcher).await;
    stop(pid(&dispatcher).await).await;
    serves(&dispatcher).await;
    close(dispatcher, &base).await;
}

/// D10, D2: a worker that has less time to start than to answer a heartbeat is found out all the same when it is stopped.
#[tokio::test]
async fn d10_d2_a_short_start_timeout_hides_no_stopped_worker() {
    let hasty = specification().with_initialization_timeout(Duration::from_secs(1));
    let (dispatcher, base) = dispatcher(&hasty, |config| {
        config.pool.heartbeat_interval = Duration::from_millis(1200);
        config.pool.heartbeat_misses = 1;
    });
    let session = dispatcher.open(echo()).await.expect("it opens");
    stop(pid(&dispatcher).await).await;
    let ended = soon("it is given up", session.control().ended()).await;
    assert!(ended.to_string().contains("worker does not answer"), "{ended}");
    serves(&dispatcher).await;
    close(dispatcher, &base).await;
}

/// D5: without the directory for its sockets a dispatcher goes on with the workers it has, and then says what is wrong.
#[tokio::test]
async fn d5_the_socket_directory_is_removed() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        config.pool.start_attempts = 1;
        config.pool.backoff_initial = Duration::from_millis(1);
    });
    serves(&dispatcher).await;
    for entry in std::fs::read_dir(base.path()).expect("it is there") {
        std::fs::remove_dir_all(entry.expect("one").path()).expect("it is ours");
    }
    serves(&dispatcher).await;
    signal(pid(&dispatcher).await, Signal::KILL);
    eventually(&dispatcher, "it is noticed", |now| now.crashes == 1).await;
    let error = soon("a refusal", dispatcher.open(echo())).await.expect_err("it has no place to listen");
    assert_eq!(error.condition(), "WORKER_EXITED");
    assert!(error.to_string().contains("can't listen"), "{error}");
    close(dispatcher, &base).await;
}

/// D10: a worker that holds more than it may is ended, and the error names the function and the peak.
#[tokio::test]
async fn d10_a_leak_is_blamed_on_its_function() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        config.pool.heartbeat_interval = Duration::from_millis(20);
        config.pool.memory_limit = Some(128 << 20);
    });
    let (mut input, mut output) = dispatcher.open(odd_one("leak")).await.expect("it opens").split();
    let leak = async {
        loop {
            if let Err(error) = input.send(["more".into()]).await {
                return error;
            }
            if let Err(error) = output.next().await {
                return error;
            }
        }
    };
    let error = soon("its end", leak).await;
    assert_eq!((error.kind(), error.condition()), (ErrorKind::Worker, "WORKER_MEMORY_LIMIT"), "{error}");
    let text = error.to_string();
    let peak: u64 = text.split(" MiB").next().and_then(|text| text.rsplit(' ').next()?.parse().ok()).expect("a number");
    assert!(peak >= 128 && text.contains("ran leak"), "{text}");
    serves(&dispatcher).await;
    close(dispatcher, &base).await;
}
