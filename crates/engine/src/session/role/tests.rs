//! The role without I/O or a clock: a dialogue is a line of words.
//!
//! ```text
//! > WORD    the caller does it: data, finish, reads
//! > cancel  the same, past all that waits
//! < WORD    the worker says it: init, data, finish
//! =         the transport takes what waits
//! ~ 1.5s    time passes
//! ```

use anyudf_grpc::queue;
use anyudf_protocol::wire;
use bytes::Buf;
use futures::FutureExt;
use futures::task::noop_waker_ref;

use super::*;

/// The role, and the ends of those who talk to it.
struct Stage {
    role: EngineRole,
    input: anyudf_grpc::Sender<FromCaller>,
    stops: mpsc::UnboundedSender<Stop>,
    output: mpsc::UnboundedReceiver<(Bytes, Credit)>,
    news: mpsc::UnboundedReceiver<News>,
    counters: Arc<Counters>,
    now: Instant,
}

impl Stage {
    /// With an idle limit of a second.
    fn new() -> Self {
        let (input, from_caller) = queue(1 << 20);
        let (stops, stopped) = mpsc::unbounded_channel();
        let (to_caller, output) = mpsc::unbounded_channel();
        let (opened, _) = oneshot::channel();
        let (tell, news) = mpsc::unbounded_channel();
        let ends = Ends { input: from_caller, stops: stopped, output: to_caller, opened, news: tell };
        let config = SessionConfig { idle_limit: Some(Duration::from_secs(1)), ..SessionConfig::default() };
        let (counters, now) = (Arc::new(Counters::new(Instant::now())), Instant::now());
        let role = EngineRole::new(wire::Init::default(), VecDeque::new(), config, Arc::clone(&counters), ends, now);
        Stage { role, input, stops, output, news, counters, now }
    }

    fn play(&mut self, script: &str) {
        let mut words = script.split_whitespace();
        while let Some(who) = words.next() {
            let mut word = || words.next().expect("a word follows");
            match who {
                ">" => self.caller(word()),
                "<" => self.worker(word()),
                "=" => self.role.outbox().clear(),
                "~" => {
                    let seconds = word().strip_suffix('s').expect("seconds").parse().expect("a number");
                    self.now += Duration::from_secs_f64(seconds);
                    if self.role.deadline().is_some_and(|deadline| deadline <= self.now) {
                        self.role.handle(Event::Elapsed, self.now);
                    }
                }
                other => panic!("what is {other}?"),
            }
            let mut cx = Context::from_waker(noop_waker_ref());
            while self.role.poll_asked(&mut cx, self.now).is_ready() {}
        }
    }

    fn caller(&mut self, word: &str) {
        let what = match word {
            "cancel" => return self.stops.send(Stop::Cancel(None)).expect("the role listens"),
            "data" => FromCaller::Data(Outgoing::data([Bytes::from_static(b"batch")]), 5),
            "finish" => FromCaller::Finish,
            "reads" => {
                self.output.try_recv().expect("there is something to read");
                return self.counters.taken(Some(self.now));
            }
            other => panic!("what is {other}?"),
        };
        self.input.send(what, 1).now_or_never().expect("there is room").expect("the session is open");
    }

    fn worker(&mut self, word: &str) {
        let response = match word {
            "init" => Response::Init(InitResponse::default()),
            "data" => Response::Data(Bytes::from_static(b"answer")),
            "finish" => Response::Finish(FinishResponse::default()),
            other => panic!("what is {other}?"),
        };
        self.role.handle(Event::Message(response, Credit::free()), self.now);
    }

    /// How it ended, if it did.
    fn ended(&mut self) -> Option<Termination> {
        match self.news.try_recv() {
            Ok(News::Ended(termination)) => Some(termination),
            _ => None,
        }
    }
}

/// Plays a dialogue whose last word ends it as idle, and nothing before.
#[track_caller]
fn idle(script: &str) {
    let (before, last) = script.rsplit_once('~').expect("time passes at last");
    let mut stage = Stage::new();
    stage.play(before);
    assert_eq!(stage.ended(), None, "too early: {script}");
    stage.play(&format!("~ {last}"));
    let ended = stage.ended();
    assert!(matches!(ended, Some(Termination::TransportFailed(Cause::Idle(_)))), "{ended:?}: {script}");
}

/// Plays a dialogue that goes on.
#[track_caller]
fn patient(script: &str) {
    let mut stage = Stage::new();
    stage.play(script);
    assert_eq!(stage.ended(), None, "{script}");
}

/// E7: it is the worker's turn after Finish, and while it does not take what waits; each message begins the time anew.
#[test]
fn e7_silence_counts_while_it_is_the_workers_turn() {
    idle("= < init > data = > finish = ~ 0.9s ~ 0.1s");
    idle("= < init > finish = ~ 0.9s < data > reads ~ 0.9s ~ 0.1s");
    idle("= < init > data = > data ~ 0.9s ~ 0.1s");
    idle("= < init > data > data > data ~ 0.9s = ~ 0.9s = ~ 0.9s ~ 0.1s");
    idle("= < init > data = ~ 100s > data ~ 0.9s ~ 0.1s");
}

/// E7, R6: a slow source is not the worker's silence, whether the function answers or not; nor is what comes before
/// InitResponse, which has a limit of its own (E3).
#[test]
fn e7_r6_a_slow_source_is_not_the_workers_silence() {
    patient("= < init ~ 100s");
    patient("= < init > data = ~ 100s > data = ~ 100s");
    patient("= < init > data = < data > reads ~ 100s > data = < data ~ 100s");
    patient("= ~ 20s > data ~ 9s");
}

/// E7: time in which the caller does not read does not count, and the limit is a whole one from when it has caught up.
#[test]
fn e7_time_in_which_the_caller_does_not_read_does_not_count() {
    idle("= < init > finish = < data < data ~ 0.9s ~ 0.9s ~ 5s ~ 0.5s > reads ~ 3s > reads ~ 0.9s ~ 0.1s");
    idle("= < init > data = < data > data ~ 5s > reads ~ 0.9s ~ 0.1s");
}

/// E9: a reason of any length fits what the window keeps free for Cancel.
/// R11: either terminator is taken behind Cancel and Finish. But output that was dropped in between is missing from the
/// result, and nobody may take the rest for the whole.
#[test]
fn r11_e9_a_result_whose_output_was_dropped_is_a_cancellation() {
    for (script, whole) in [
        ("= < init > finish = < data > cancel = < finish", true),
        ("= < init > finish = > cancel = < finish", true),
        ("= < init > finish = < data > cancel = < data < finish", false),
    ] {
        let mut stage = Stage::new();
        stage.play(script);
        let ended = stage.ended();
        match whole {
            true => assert!(matches!(ended, Some(Termination::Finished(_))), "{ended:?}: {script}"),
            false => assert!(matches!(ended, Some(Termination::Cancelled(_))), "{ended:?}: {script}"),
        }
    }
}

#[test]
fn e9_a_long_reason_is_cut() {
    let mut stage = Stage::new();
    stage.play("= < init > data");
    let asked = Stop::Cancel(Some("because ".repeat(100_000)));
    stage.stops.send(asked).expect("the role listens");
    stage.play("~ 0s");
    let [message] = stage.role.outbox().make_contiguous() else { panic!("Cancel alone is left") };
    assert!(message.remaining() < 5_000, "{} bytes", message.remaining());
}
