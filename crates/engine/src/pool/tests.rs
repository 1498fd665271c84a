//! The pool as dialogues: what happens, an arrow, what the pool wants done. Workers are numbers, callers are letters.
//!
//! ```text
//! ask a [SCOPE]         a caller comes             leave a       and goes again
//! up 0 [ANNOUNCED]      a worker is ready          fail 0, hopeless 0   or is not
//! done 0, broken 0, unused 0       a session in it is over   overdue 0    a session's call in it hangs
//! beat 0 [overdue] [BYTES]         it answers       silent 0     it does not
//! die 0                 it dies                    gone 0        it is reaped
//! wait 1.5s             time passes                close
//! ```

use std::time::Duration;

use expect_test::{Expect, expect};

use super::words::Vitals;
use super::*;

/// One process for each session (D8).
pub(super) const PLAIN: Traits = Traits { supports_reuse: false, supports_concurrent_udfs: false };
/// One session after another.
pub(super) const REUSE: Traits = Traits { supports_reuse: true, supports_concurrent_udfs: false };
/// Several at once, again and again.
pub(super) const SHARED: Traits = Traits { supports_reuse: true, supports_concurrent_udfs: true };

/// So many workers, and nothing that only time brings about, so that a test says what it is about.
pub(super) fn workers(max_workers: usize) -> PoolConfig {
    let never = Duration::MAX;
    PoolConfig { max_workers, heartbeat_interval: never, check_after: never, idle_timeout: never, ..Default::default() }
}

/// Plays the left side of the dialogue, and compares the right.
fn check(traits: Traits, config: PoolConfig, dialogue: Expect) {
    let mut now = Instant::now();
    let mut pool = Pool::new(config, traits, now);
    let mut said = String::new();
    for line in dialogue.data().lines().map(str::trim).filter(|line| !line.is_empty()) {
        let event = line.split("->").next().unwrap_or(line).trim();
        let mut actions = Vec::new();
        match event.split_whitespace().collect::<Vec<_>>()[..] {
            ["open"] => {} // what a new pool wants
            ["wait", time] => {
                let (begun, time) = (now, seconds(time));
                while let Some(deadline) = pool.deadline().filter(|deadline| *deadline <= begun + time) {
                    assert!(deadline > now || begun == now, "{said}{event}: the pool asks for the same time again");
                    now = deadline;
                    pool.handle(Event::Elapsed, now);
                    let at = now - begun;
                    actions
                        .extend(std::iter::from_fn(|| pool.poll_action()).map(|what| format!("{at:?} {}", say(&what))));
                }
                now = begun + time;
            }
            ref words => pool.handle(parse(words), now),
        }
        actions.extend(std::iter::from_fn(|| pool.poll_action()).map(|action| say(&action)));
        said += &format!("{event} -> {}\n", if actions.is_empty() { "nothing".into() } else { actions.join(", ") });
    }
    dialogue.assert_eq(&said);
}

fn seconds(text: &str) -> Duration {
    let number = text.strip_suffix('s').and_then(|number| number.parse().ok());
    Duration::from_secs_f64(number.expect("seconds"))
}

fn parse(words: &[&str]) -> Event {
    let request = |name: &str| RequestId(u64::from(name.as_bytes()[0]));
    let worker = |number: &str| WorkerId(number.parse().expect("a worker's number"));
    match *words {
        ["ask", a] => Event::Requested(request(a), Scope::default()),
        ["ask", a, scope] => Event::Requested(request(a), Scope::new(scope)),
        ["leave", a] => Event::Abandoned(request(a)),
        ["up", w] => Event::Started { worker: worker(w), max_sessions: None },
        ["up", w, n] => Event::Started { worker: worker(w), max_sessions: Some(n.parse().expect("a number")) },
        ["fail", w] => Event::StartFailed(worker(w), Prospect::Open),
        ["hopeless", w] => Event::StartFailed(worker(w), Prospect::Hopeless),
        ["done", w] => Event::Released(worker(w), Outcome::Salvageable),
        ["overdue", w] => Event::Overdue(worker(w)),
        ["unused", w] => Event::Released(worker(w), Outcome::Unused),
        ["broken", w] => Event::Released(worker(w), Outcome::Broken),
        ["beat", w] => Event::Beat(worker(w), Vitals::default()),
        ["beat", w, "overdue"] => Event::Beat(worker(w), Vitals { overdue: 1, resident: None }),
        ["beat", w, bytes] => Event::Beat(worker(w), Vitals { overdue: 0, resident: bytes.parse().ok() }),
        ["silent", w] => Event::Silent(worker(w)),
        ["die", w] => Event::Died(worker(w)),
        ["gone", w] => Event::Ended(worker(w)),
        ["close"] => Event::Close,
        ref other => panic!("what is {other:?}?"),
    }
}

fn say(action: &Action) -> String {
    let name = |id: &RequestId| char::from(u8::try_from(id.0).expect("a letter"));
    match action {
        Action::Start(WorkerId(w)) => format!("start {w}"),
        Action::Beat(WorkerId(w)) => format!("beat? {w}"),
        Action::Grant(a, WorkerId(w)) => format!("{} gets {w}", name(a)),
        Action::Refuse(a, why) => format!("{} refused: {why:?}", name(a)),
        Action::FailSessions(WorkerId(w), why) => format!("fail sessions of {w}: {why:?}"),
        Action::CancelSessions(WorkerId(w)) => format!("cancel sessions of {w}"),
        Action::End(WorkerId(w), Manner::Politely) => format!("end {w}"),
        Action::End(WorkerId(w), Manner::AtOnce) => format!("kill {w}"),
        Action::Closed => "closed".into(),
    }
}

/// D8: without reuse and sharing there is a process for each session.
#[test]
fn d8_one_process_a_session() {
    check(
        PLAIN,
        workers(2),
        expect![[r#"
            ask a -> start 0
            up 0 256 -> a gets 0
            ask b -> start 1
            done 0 -> end 0
            up 1 -> b gets 1
            gone 0 -> nothing
            done 1 -> end 1
        "#]],
    );
}

/// D8: with reuse a worker goes back to the pool, and serves one session at a time.
#[test]
fn d8_reuse_is_one_session_after_another() {
    check(
        REUSE,
        workers(1),
        expect![[r#"
            ask a -> start 0
            up 0 256 -> a gets 0
            ask b -> nothing
            done 0 -> b gets 0
            done 0 -> nothing
            ask c -> c gets 0
        "#]],
    );
}

/// D8, E14: a worker with a broken session is not used again, though its neighbours may finish, without a bound.
#[test]
fn d8_e14_a_broken_session_is_its_workers_last() {
    check(
        SHARED,
        workers(1),
        expect![[r#"
            ask a -> start 0
            ask b -> nothing
            up 0 2 -> a gets 0, b gets 0
            broken 0 -> nothing
            ask c -> nothing
            wait 50s -> nothing
            done 0 -> end 0
            gone 0 -> start 1
            up 1 2 -> c gets 1
        "#]],
    );
}

/// D8, M6: sessions share a worker, never more than it announced, nor than the configuration says.
#[test]
fn d8_sharing_has_the_smaller_of_two_limits() {
    let script = |expect: Expect, config| check(SHARED, config, expect);
    script(
        expect![[r#"
            ask a -> start 0
            up 0 3 -> a gets 0
            ask b -> b gets 0
            ask c -> c gets 0
            ask d -> nothing
            done 0 -> d gets 0
        "#]],
        workers(1),
    );
    script(
        expect![[r#"
            ask a -> start 0
            up 0 3 -> a gets 0
            ask b -> b gets 0
            ask c -> nothing
        "#]],
        PoolConfig { sessions_per_worker: Some(2), ..workers(1) },
    );
    // Who announces nothing shares nothing, unless we say how much.
    script(
        expect![[r#"
            ask a -> start 0
            up 0 -> a gets 0
            ask b -> nothing
        "#]],
        workers(1),
    );
    script(
        expect![[r#"
            ask a -> start 0
            up 0 -> a gets 0
            ask b -> b gets 0
        "#]],
        PoolConfig { sessions_per_worker: Some(2), ..workers(1) },
    );
}

/// D8: sharing without reuse: nobody comes in after the first has gone.
#[test]
fn d8_sharing_without_reuse() {
    check(
        Traits { supports_reuse: false, supports_concurrent_udfs: true },
        workers(1),
        expect![[r#"
            ask a -> start 0
            up 0 8 -> a gets 0
            ask b -> b gets 0
            done 0 -> nothing
            ask c -> nothing
            done 0 -> end 0
        "#]],
    );
}

/// D9: a worker serves one scope; one that has served nobody takes the first that comes.
#[test]
fn d9_a_worker_serves_one_scope() {
    check(
        SHARED,
        PoolConfig { min_idle: 1, ..workers(3) },
        expect![[r#"
            open -> start 0
            up 0 8 -> nothing
            ask a alice -> a gets 0, start 1
            ask b alice -> b gets 0
            up 1 8 -> nothing
            ask c bob -> c gets 1, start 2
            done 0 -> nothing
            done 0 -> nothing
            ask d bob -> d gets 1
        "#]],
    );
}

/// D9: when all slots are taken, the idle worker of another scope that was used least lately makes room.
#[test]
fn d9_the_idle_make_room_for_another_scope() {
    check(
        REUSE,
        workers(2),
        expect![[r#"
            ask a alice -> start 0
            up 0 -> a gets 0
            ask b bob -> start 1
            up 1 -> b gets 1
            done 1 -> nothing
            wait 1s -> nothing
            done 0 -> nothing
            ask c carol -> end 1
            gone 1 -> start 2
            up 2 -> c gets 2
        "#]],
    );
}

/// D9, D10: the oldest claims a busy worker of another scope; without that alice's would go on among themselves forever.
#[test]
fn d9_d10_a_busy_scope_does_not_starve_another() {
    check(
        SHARED,
        workers(1),
        expect![[r#"
            ask a alice -> start 0
            up 0 8 -> a gets 0
            ask b bob -> nothing
            ask c alice -> nothing
            done 0 -> end 0
            gone 0 -> start 1
            up 1 8 -> b gets 1
            done 1 -> end 1
            gone 1 -> start 2
            up 2 8 -> c gets 2
        "#]],
    );
}

/// D9, D10: who claims holds others back no longer than it may wait itself.
#[test]
fn d9_d10_a_claim_ends_with_the_wait() {
    check(
        SHARED,
        workers(1),
        expect![[r#"
            ask a alice -> start 0
            up 0 8 -> a gets 0
            ask b bob -> nothing
            wait 30s -> nothing
            ask c alice -> nothing
            wait 30s -> 30s b refused: Timeout(Room), 30s c gets 0
            ask d bob -> nothing
            leave d -> nothing
            ask e alice -> e gets 0
        "#]],
    );
}

/// D10: there are never more than `max_workers`; those who wait are served in their order.
#[test]
fn d10_fair_waiting() {
    check(
        REUSE,
        workers(2),
        expect![[r#"
            ask a -> start 0
            ask b -> start 1
            ask c -> nothing
            ask d -> nothing
            up 1 -> a gets 1
            up 0 -> b gets 0
            done 0 -> c gets 0
            leave d -> nothing
            done 1 -> nothing
        "#]],
    );
}

/// D10: a caller waits for its time, and is told for what.
#[test]
fn d10_waiting_has_a_bound() {
    check(
        REUSE,
        PoolConfig { wait_timeout: Duration::from_secs(10), ..workers(1) },
        expect![[r#"
            ask a -> start 0
            wait 4s -> nothing
            ask b -> nothing
            wait 6s -> 6s a refused: Timeout(Start)
            up 0 -> b gets 0
            ask c -> nothing
            wait 20s -> 10s c refused: Timeout(Seat)
            done 0 -> nothing
        "#]],
    );
}

/// D10: a start that hangs blocks nobody: whoever becomes free serves the one it was for.
#[test]
fn d10_one_slow_start_blocks_nobody() {
    check(
        REUSE,
        workers(2),
        expect![[r#"
            ask a -> start 0
            ask b -> start 1
            up 1 -> a gets 1
            done 1 -> b gets 1
            ask c -> nothing
            done 1 -> c gets 1
            ask d -> nothing
            done 1 -> d gets 1
            fail 0 -> nothing
            ask e -> nothing
        "#]],
    );
}

/// D10: a request survives failed starts, with growing pauses between, until it has had enough of them.
#[test]
fn d10_failed_starts_are_tried_again() {
    check(
        REUSE,
        workers(1),
        expect![[r#"
            ask a -> start 0
            fail 0 -> nothing
            wait 1s -> 100ms start 1
            fail 1 -> nothing
            ask b -> nothing
            wait 1s -> 200ms start 2
            fail 2 -> a refused: StartFailed { attempts: 3 }
            wait 1s -> 400ms start 3
            up 3 -> b gets 3
            done 3 -> nothing
            ask c -> c gets 3
            ask d -> nothing
            die 3 -> kill 3
            gone 3 -> nothing
            wait 1s -> 100ms start 4
        "#]],
    );
}

/// D10: of starts that fail together each is held against another request, and the pause grows once.
#[test]
fn d10_starts_that_fail_together() {
    check(
        REUSE,
        workers(3),
        expect![[r#"
            ask a -> start 0
            ask b -> start 1
            ask c -> start 2
            fail 0 -> nothing
            fail 1 -> nothing
            fail 2 -> nothing
            wait 0.1s -> 100ms start 3, 100ms start 4, 100ms start 5
            fail 3 -> nothing
            fail 4 -> nothing
            up 5 -> a gets 5
            wait 0.2s -> 200ms start 6, 200ms start 7
            fail 6 -> nothing
            done 5 -> b gets 5
        "#]],
    );
}

/// D10: when no start can succeed, those who count on one are told; those who have a worker to wait for are not.
#[test]
fn d10_hopeless_starts() {
    check(
        REUSE,
        workers(2),
        expect![[r#"
            ask a -> start 0
            ask b -> start 1
            ask c -> nothing
            hopeless 0 -> a refused: StartFailed { attempts: 1 }, c refused: StartFailed { attempts: 0 }
            hopeless 1 -> b refused: StartFailed { attempts: 1 }
        "#]],
    );
    check(
        REUSE,
        workers(2),
        expect![[r#"
            ask a alice -> start 0
            up 0 -> a gets 0
            ask b alice -> start 1
            ask c bob -> nothing
            hopeless 1 -> c refused: StartFailed { attempts: 0 }
            done 0 -> b gets 0
        "#]],
    );
}

/// D10: idle workers are kept ready; one that dies is replaced after a pause.
#[test]
fn d10_warm_up() {
    check(
        REUSE,
        PoolConfig { min_idle: 2, ..workers(3) },
        expect![[r#"
            open -> start 0, start 1
            up 0 -> nothing
            up 1 -> nothing
            ask a -> a gets 0, start 2
            up 2 -> nothing
            ask b -> b gets 1
            done 1 -> nothing
            die 2 -> kill 2
            gone 2 -> nothing
            wait 1s -> 100ms start 3
            fail 3 -> nothing
            wait 1s -> 200ms start 4
        "#]],
    );
}

/// D10: idle workers end after their time, the one unused for longest first, but for those that are kept.
#[test]
fn d10_idle_timeout() {
    check(
        REUSE,
        PoolConfig { min_idle: 1, idle_timeout: Duration::from_secs(10), ..workers(3) },
        expect![[r#"
            open -> start 0
            up 0 -> nothing
            ask a -> a gets 0, start 1
            ask b -> start 2
            up 1 -> b gets 1
            up 2 -> nothing
            done 0 -> nothing
            wait 4s -> nothing
            done 1 -> nothing
            wait 20s -> 6s end 0, 6s end 2
            gone 0 -> nothing
            gone 2 -> nothing
        "#]],
    );
}

/// D10: a worker that was not heard of lately is asked before it is handed out; the one before it in use is not.
#[test]
fn d10_liveness_is_checked_before_a_worker_is_handed_out() {
    let config = || PoolConfig { check_after: Duration::from_secs(1), ..workers(2) };
    check(
        REUSE,
        config(),
        expect![[r#"
            ask a -> start 0
            up 0 -> a gets 0
            done 0 -> nothing
            wait 1s -> nothing
            ask b -> b gets 0
            done 0 -> nothing
            wait 1.1s -> nothing
            ask c -> beat? 0
            beat 0 -> c gets 0
        "#]],
    );
    // One that does not answer is ended, and the caller gets another.
    check(
        REUSE,
        config(),
        expect![[r#"
            ask a -> start 0
            up 0 -> a gets 0
            done 0 -> nothing
            wait 2s -> nothing
            ask b -> beat? 0
            wait 1s -> 1s kill 0
            gone 0 -> nothing
            wait 1s -> 100ms start 1
            up 1 -> b gets 1
        "#]],
    );
    // While it is asked, it dies; or another becomes free.
    check(
        REUSE,
        config(),
        expect![[r#"
            ask a -> start 0
            ask b -> start 1
            up 0 -> a gets 0
            up 1 -> b gets 1
            done 0 -> nothing
            wait 2s -> nothing
            ask c -> beat? 0
            done 1 -> c gets 1
            beat 0 -> nothing
            wait 2s -> nothing
            ask d -> beat? 0
            die 0 -> kill 0
            wait 1s -> nothing
        "#]],
    );
}

/// D10: a grant to a worker that dies at that moment stands; the slot comes back when it is gone.
#[test]
fn d10_death_comes_at_any_moment() {
    // Idle, busy, draining, ending.
    check(
        REUSE,
        workers(1),
        expect![[r#"
            ask a -> start 0
            up 0 -> a gets 0
            done 0 -> nothing
            die 0 -> kill 0
            ask b -> nothing
            done 0 -> nothing
            gone 0 -> nothing
            wait 1s -> 100ms start 1
            up 1 -> b gets 1
            ask c -> nothing
            die 1 -> kill 1
            broken 1 -> nothing
            gone 1 -> nothing
            wait 1s -> 200ms start 2
            gone 2 -> nothing
            wait 1s -> 400ms start 3
        "#]],
    );
    check(
        SHARED,
        workers(1),
        expect![[r#"
            ask a -> start 0
            ask b -> nothing
            up 0 2 -> a gets 0, b gets 0
            broken 0 -> nothing
            die 0 -> kill 0
            broken 0 -> nothing
            die 0 -> nothing
            gone 0 -> nothing
            gone 0 -> nothing
        "#]],
    );
}

/// D10, E6: a heartbeat every 5 s, idle and busy; after three that are missed the sessions fail and the worker ends.
#[test]
fn d10_e6_heartbeats() {
    let config = PoolConfig { heartbeat_interval: Duration::from_secs(5), ..workers(1) };
    check(
        REUSE,
        config.clone(),
        expect![[r#"
            ask a -> start 0
            up 0 -> a gets 0
            wait 12s -> 5s beat? 0
            beat 0 -> nothing
            wait 5s -> 5s beat? 0
            silent 0 -> beat? 0
            beat 0 -> nothing
            wait 5s -> 5s beat? 0
            silent 0 -> beat? 0
            silent 0 -> beat? 0
            silent 0 -> fail sessions of 0: Silent { misses: 3 }, kill 0
            broken 0 -> nothing
            gone 0 -> nothing
        "#]],
    );
    // Idle; and one that has missed a heartbeat is not handed out unasked.
    check(
        REUSE,
        config,
        expect![[r#"
            ask a -> start 0
            up 0 -> a gets 0
            done 0 -> nothing
            wait 5s -> 5s beat? 0
            silent 0 -> beat? 0
            ask b -> nothing
            silent 0 -> kill 0
            gone 0 -> nothing
        "#]],
    );
}

/// D10: a busy worker that missed a heartbeat takes no more sessions until it answers.
#[test]
fn d10_a_silent_worker_gets_no_sessions() {
    check(
        SHARED,
        workers(1),
        expect![[r#"
            ask a -> start 0
            up 0 2 -> a gets 0
            silent 0 -> beat? 0
            ask b -> nothing
            beat 0 -> b gets 0
        "#]],
    );
}

/// D10: an old worker takes no new sessions; its last one takes the time it takes.
#[test]
fn d10_max_age() {
    check(
        REUSE,
        PoolConfig { max_age: Some(Duration::from_secs(100)), ..workers(2) },
        expect![[r#"
            ask a -> start 0
            ask b -> start 1
            up 0 -> a gets 0
            wait 50s -> nothing
            up 1 -> b gets 1
            done 1 -> nothing
            wait 50s -> nothing
            ask c -> c gets 1
            wait 50s -> nothing
            done 0 -> end 0
        "#]],
    );
}

/// D10: a worker serves so many sessions in its life.
#[test]
fn d10_max_sessions() {
    check(
        SHARED,
        PoolConfig { max_sessions: Some(3), ..workers(1) },
        expect![[r#"
            ask a -> start 0
            up 0 2 -> a gets 0
            ask b -> b gets 0
            ask c -> nothing
            done 0 -> c gets 0
            ask d -> nothing
            done 0 -> nothing
            wait 50s -> nothing
            done 0 -> end 0
            gone 0 -> start 1
        "#]],
    );
}

/// D10: a worker that holds too much memory is ended at once, and its sessions are told its peak.
#[test]
fn d10_memory_limit() {
    check(
        REUSE,
        PoolConfig { memory_limit: Some(100), ..workers(1) },
        expect![[r#"
            ask a -> start 0
            up 0 -> a gets 0
            beat 0 100 -> nothing
            beat 0 101 -> fail sessions of 0: Memory { peak: 101 }, kill 0
            broken 0 -> nothing
            gone 0 -> nothing
            ask b -> nothing
            wait 1s -> 100ms start 1
            up 1 -> b gets 1
            done 1 -> nothing
            beat 1 150 -> end 1
        "#]],
    );
}

/// D10: a session in which nothing was said is no sign of life, and no success.
#[test]
fn d10_an_unused_session_proves_nothing() {
    check(
        REUSE,
        PoolConfig { check_after: Duration::from_secs(1), ..workers(1) },
        expect![[r#"
            ask a -> start 0
            up 0 -> a gets 0
            wait 2s -> nothing
            unused 0 -> nothing
            ask b -> beat? 0
        "#]],
    );
    // The second failure in a row has the longer pause, since nothing has succeeded between them.
    check(
        REUSE,
        workers(2),
        expect![[r#"
            ask a -> start 0
            up 0 -> a gets 0
            ask b -> start 1
            fail 1 -> nothing
            unused 0 -> b gets 0
            ask c -> nothing
            wait 0.1s -> 100ms start 2
            fail 2 -> nothing
            wait 1s -> 200ms start 3
        "#]],
    );
}

/// D11: a worker with an overdue call takes no new sessions; its neighbours finish, and it is replaced.
#[test]
fn d11_c11_neighbours_of_an_overdue_call_finish() {
    check(
        SHARED,
        workers(1),
        expect![[r#"
            ask a -> start 0
            ask b -> nothing
            ask c -> nothing
            up 0 3 -> a gets 0, b gets 0, c gets 0
            overdue 0 -> nothing
            done 0 -> nothing
            ask d -> nothing
            beat 0 overdue -> nothing
            done 0 -> nothing
            done 0 -> end 0
            gone 0 -> start 1
            up 1 3 -> d gets 1
        "#]],
    );
}

/// D11: the bound counts from the first news, and then those who still run fail.
#[test]
fn d11_neighbours_have_a_bound() {
    check(
        SHARED,
        workers(2),
        expect![[r#"
            ask a -> start 0
            up 0 3 -> a gets 0
            ask b -> b gets 0
            beat 0 overdue -> nothing
            wait 20s -> nothing
            beat 0 overdue -> nothing
            ask c -> start 1
            done 0 -> nothing
            wait 20s -> 10s fail sessions of 0: DrainBound { misses: 0 }, 10s kill 0
            broken 0 -> nothing
            gone 0 -> nothing
        "#]],
    );
    // Whether it is silent by then is said, too.
    check(
        SHARED,
        workers(1),
        expect![[r#"
            ask a -> start 0
            ask b -> nothing
            up 0 2 -> a gets 0, b gets 0
            overdue 0 -> nothing
            wait 29s -> nothing
            silent 0 -> beat? 0
            wait 1s -> 1s fail sessions of 0: DrainBound { misses: 1 }, 1s kill 0
        "#]],
    );
    // Also in a worker that drains for another reason; and nobody waits for one that is idle.
    check(
        SHARED,
        workers(1),
        expect![[r#"
            ask a -> start 0
            ask b -> nothing
            up 0 2 -> a gets 0, b gets 0
            broken 0 -> nothing
            beat 0 overdue -> nothing
            wait 30s -> 30s fail sessions of 0: DrainBound { misses: 0 }, 30s kill 0
            gone 0 -> nothing
            ask c -> nothing
            wait 1s -> 100ms start 1
            up 1 -> c gets 1
            done 1 -> nothing
            beat 1 overdue -> end 1
        "#]],
    );
}

/// D12: nobody is let in, live sessions are cancelled, all workers end at the same time, and twice is harmless.
#[test]
fn d12_close() {
    check(
        REUSE,
        PoolConfig { min_idle: 1, ..workers(4) },
        expect![[r#"
            open -> start 0
            ask a -> start 1
            up 0 -> a gets 0
            up 1 -> nothing
            ask b -> b gets 1, start 2
            ask c -> start 3
            ask d -> nothing
            ask e -> nothing
            close -> c refused: Closed, d refused: Closed, e refused: Closed, cancel sessions of 0, cancel sessions of 1, kill 2, kill 3
            close -> nothing
            ask f -> f refused: Closed
            up 2 -> nothing
            done 0 -> end 0
            gone 2 -> nothing
            gone 3 -> nothing
            gone 0 -> nothing
            broken 1 -> end 1
            gone 1 -> closed
            ask g -> g refused: Closed
            close -> nothing
        "#]],
    );
}

/// D12: what does not end when it is cancelled is ended after a bound.
#[test]
fn d12_close_has_a_bound() {
    check(
        REUSE,
        workers(1),
        expect![[r#"
            ask a -> start 0
            up 0 -> a gets 0
            close -> cancel sessions of 0
            wait 60s -> 30s fail sessions of 0: DrainBound { misses: 0 }, 30s kill 0
            gone 0 -> closed
        "#]],
    );
    check(
        REUSE,
        workers(1),
        expect![[r#"
            close -> closed
        "#]],
    );
}

/// D13: a scope may be a secret.
#[test]
fn d13_a_scope_is_not_shown() {
    let mut pool = Pool::new(workers(1), REUSE, Instant::now());
    pool.handle(Event::Requested(RequestId(0), Scope::new("planted")), Instant::now());
    let shown = format!("{pool:?} {:?}", Event::Requested(RequestId(1), Scope::new("planted")));
    // As text and as bytes. One byte alone would be found in the clock's nanoseconds now and then.
    let bytes = format!("{:?}", b"planted");
    let bytes = bytes.trim_matches(['[', ']']);
    assert!(!shown.contains("planted") && !shown.contains(bytes), "{shown}");
}

/// D10: a snapshot counts slots, sessions and waits.
#[test]
fn d10_a_snapshot_adds_up() {
    let mut now = Instant::now();
    let mut pool = Pool::new(workers(2), REUSE, now);
    for event in ["ask a", "ask b", "ask c", "up 0"] {
        pool.handle(parse(&event.split(' ').collect::<Vec<_>>()), now);
        now += Duration::from_secs(1);
    }
    expect![[r#"
        PoolSnapshot {
            starting: 1,
            idle: 0,
            checking: 0,
            busy: 1,
            draining: 0,
            ending: 0,
            sessions: 1,
            waiting: 2,
            totals: Totals {
                starts: 2,
                failed_starts: 0,
                crashes: 0,
                granted: 1,
                refused: 0,
                waited: 3s,
                longest_wait: 3s,
            },
        }
    "#]]
    .assert_debug_eq(&pool.snapshot());
}
