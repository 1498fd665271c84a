//! The flows: what a caller of the engine does, on as many threads as it takes.
//!
//! Reading is done on the flow's own thread, sending on another. What the kit asks for is done by the one that listens to
//! it, unless it is the input's to do. Threads that wait for what never comes end with the process.

use std::iter::{empty, once, repeat_n};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use anyudf_engine::blocking::{BatchInput, BatchOutput, Control, Input, Output, Session, Worker};
use anyudf_engine::{DataSchema, Error, Init, Termination};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;

use super::report::{Call, Digest, Event, Report};
use super::scenario::{Action, Flow, Scenario};
use super::told;

/// What a source says that fails.
const SOURCE_FAILED: &str = "the source failed";

/// Plays a scenario to its end.
pub(super) fn play(scenario: Scenario, worker: &Worker, report: &Report) {
    match scenario.flow {
        Flow::Two => two(worker, report),
        _ => {
            let play = Play::new(scenario, worker, report.clone());
            play.listen();
            play.run();
        }
    }
}

/// Two sessions of one worker.
fn two(worker: &Worker, report: &Report) {
    let session =
        |name, flow| Play::new(Scenario { flow, action: None, idle_limit: false }, worker, report.of_session(name));
    let (a, b) = (session("a", Flow::Unread), session("b", Flow::Echo));
    a.listen();
    if a.init().is_none() {
        return a.end();
    }
    let b = thread::spawn(move || b.run());
    a.go_on();
    // What went wrong there was printed.
    let _ = b.join();
}

/// One session and what has come of it.
struct Play {
    scenario: Scenario,
    session: Session,
    report: Report,
    moments: Moments,
}

/// What threads tell each other.
#[derive(Clone, Default)]
struct Moments {
    /// The kit has spoken, and what it asked of the session is done.
    told: Moment,
    /// The input has failed.
    failed: Moment,
    /// The handles are being let go of.
    dropped: Moment,
    /// The session has ended.
    over: Moment,
}

/// Something that happens once.
#[derive(Clone, Default)]
struct Moment(Arc<OnceLock<()>>);

impl Moment {
    fn come(&self) {
        let _ = self.0.set(());
    }

    fn has_come(&self) -> bool {
        self.0.get().is_some()
    }

    fn wait(&self) {
        self.0.wait();
    }
}

/// Where output comes from.
enum Reader {
    Bytes(Output),
    Rows(BatchOutput),
}

impl Reader {
    fn next(&mut self) -> Result<Option<Event>, Error> {
        Ok(match self {
            Reader::Bytes(output) => output.next()?.map(|data| Event::Data(Digest::of(Some(&data)))),
            Reader::Rows(output) => output.next()?.map(|batch| Event::Rows { rows: batch.num_rows() }),
        })
    }
}

impl Play {
    fn new(scenario: Scenario, worker: &Worker, report: Report) -> Self {
        Play { scenario, session: worker.session(init(scenario.flow)), report, moments: Moments::default() }
    }

    /// From here on the kit may tell when it is time.
    fn listen(&self) {
        let (action, control, told_now) = (self.scenario.action, self.session.control(), self.moments.told.clone());
        thread::spawn(move || {
            told();
            act(action, &control);
            told_now.come();
        });
    }

    fn run(self) {
        if self.scenario.flow == Flow::ProcessFirst {
            self.misuse_process();
        }
        match self.scenario.flow {
            Flow::Pipelined => return self.pipelined(),
            Flow::Unopened => self.moments.told.wait(),
            _ => {}
        }
        let opened = self.init();
        if self.scenario.flow == Flow::InitTwice {
            self.init();
        }
        match (opened, self.scenario.flow) {
            (None, _) | (_, Flow::Unopened) => {}
            (_, Flow::Open) => {
                self.moments.told.wait();
                if self.scenario.action == Some(Action::Drop) {
                    self.moments.dropped.come();
                }
            }
            _ => return self.go_on(),
        }
        self.end();
    }

    /// Initialises, and reports how that went; nothing when it has failed.
    fn init(&self) -> Option<()> {
        let data = self.told(Call::Init, self.session.init())?;
        self.report.event(&Event::Init(Digest::of(data.as_ref())));
        Some(())
    }

    /// From a good init on.
    fn go_on(self) {
        let (reader, source) = match self.scenario.flow {
            Flow::Rows(rows) => {
                let Some((input, output)) = self.told(Call::Process, self.session.process_batches()) else {
                    return self.end();
                };
                (Reader::Rows(output), thread::spawn(move || send_rows(input, rows)))
            }
            _ => {
                let Some((input, output)) = self.told(Call::Process, self.session.process()) else {
                    return self.end();
                };
                (Reader::Bytes(output), self.send(input))
            }
        };
        self.take(reader, source);
    }

    /// Init and processing in one (C1).
    fn pipelined(self) {
        let Some((input, opening)) = self.told(Call::Init, self.session.pipelined()) else { return self.end() };
        let source = self.send(input);
        let Some((data, output)) = self.told(Call::Init, opening.init()) else { return self.end() };
        self.report.event(&Event::Init(Digest::of(data.as_ref())));
        self.take(Reader::Bytes(output), source);
    }

    /// Reads, and what comes after it.
    fn take(self, mut reader: Reader, source: JoinHandle<()>) {
        match self.scenario.flow {
            Flow::Unread => self.moments.told.wait(),
            // It fails whatever has come of the session until then, and that is what its caller gets (E8).
            Flow::SourceFails | Flow::SourceFailsAtOnce => drop(source.join()),
            _ => {}
        }
        self.read(&mut reader);
        match self.scenario.flow {
            Flow::ProcessTwice => self.misuse_process(),
            Flow::Afterwards => {
                self.close();
                self.read(&mut reader);
                self.session.control().cancel("afterwards");
            }
            _ => {}
        }
        drop(reader);
        self.end();
    }

    /// Takes output until there is no more, and reports it and its end.
    fn read(&self, reader: &mut Reader) {
        let last = loop {
            match reader.next() {
                // Nobody is there any more who would read it.
                _ if self.moments.dropped.has_come() => return,
                Ok(Some(event)) => self.report.event(&event),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match last {
            _ if self.moments.failed.has_come() => self.report.source(SOURCE_FAILED),
            Ok(()) => self.report.event(&done(&self.session.control())),
            Err(error) => self.report.error(Call::Read, &error),
        }
    }

    /// Asks for processing when it is not the time for it.
    fn misuse_process(&self) {
        // To be given the ends would be the engine's mistake, and the kit misses the error.
        drop(self.told(Call::Process, self.session.process()));
    }

    /// What a call has given; its error is reported.
    fn told<T>(&self, call: Call, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.report.error(call, &error)).ok()
    }

    fn close(&self) {
        self.report.closed(&self.session.close());
    }

    /// Ends the session by asking for it, or by letting go of it.
    fn end(self) {
        let Play { session, report, moments, .. } = self;
        let termination = match moments.dropped.has_come() {
            true => {
                let control = session.control();
                drop(session);
                control.ended()
            }
            false => session.close(),
        };
        moments.over.come();
        report.closed(&termination);
    }

    /// Sends what the flow has to send, on a thread of its own. What goes wrong there is told by reading as well.
    fn send(&self, mut input: Input) -> JoinHandle<()> {
        let (Scenario { flow, action, .. }, moments) = (self.scenario, self.moments.clone());
        thread::spawn(move || {
            let sent = data(flow).try_for_each(|data| input.send([data]));
            let fail = |input: Input| {
                // Before anybody can know of the Cancel.
                moments.failed.come();
                input.fail(SOURCE_FAILED);
            };
            match flow {
                Flow::SourceFails | Flow::SourceFailsAtOnce => return fail(input),
                _ if sent.is_err() => return,
                Flow::Held => moments.told.wait(),
                _ => {}
            }
            match (flow, action) {
                (Flow::Held, Some(Action::Fail)) => fail(input),
                (Flow::Held, Some(Action::Drop)) => {
                    moments.dropped.come();
                    drop(input);
                }
                (
                    Flow::Held,
                    Some(Action::Cancel | Action::CancelTwice | Action::CancelLong | Action::Close | Action::Interrupt),
                ) => {
                    // To drop it would be to cancel for another reason.
                    moments.over.wait();
                    drop(input);
                }
                _ => drop(input.finish()),
            }
        })
    }
}

/// Does to a session what is not its input's to do.
fn act(action: Option<Action>, control: &Control) {
    let cancel = || control.cancel("told");
    match action {
        Some(Action::Cancel) => cancel(),
        Some(Action::CancelTwice) => thread::scope(|scope| {
            scope.spawn(cancel);
            scope.spawn(cancel);
        }),
        Some(Action::CancelLong) => control.cancel("x".repeat(65_536)),
        Some(Action::Close) => drop(control.close()),
        Some(Action::Interrupt) => control.interrupt(),
        Some(Action::Finish | Action::Fail | Action::Drop) | None => {}
    }
}

/// What a flow's Init says.
fn init(flow: Flow) -> Init {
    let init = Init::new("echo", "payload");
    match flow {
        Flow::Payload(bytes) => {
            let byte = |i: u32| (i ^ (i >> 8) ^ (i >> 16)) as u8;
            Init { payload: (0..bytes).map(byte).collect(), ..init }
        }
        Flow::Everything => Init {
            name: Some("f".into()),
            eval_type: Some("scalar".into()),
            timezone: Some("Europe/Berlin".into()),
            parameters: Some("p".into()),
            input_schema: Some(DataSchema::Encoded("in".into())),
            output_schema: Some(DataSchema::Encoded("out".into())),
            session_conf: [("a".into(), "b".into())].into(),
            task_context: [("c".into(), "d".into())].into(),
            ..init
        },
        Flow::Rows(_) => init.with_input_schema(numbers()).with_output_schema(numbers()),
        _ => init,
    }
}

fn numbers() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

/// What a flow sends.
fn data(flow: Flow) -> Box<dyn Iterator<Item = Bytes>> {
    match flow {
        Flow::Nothing | Flow::SourceFailsAtOnce => Box::new(empty()),
        Flow::Held | Flow::Unread | Flow::SourceFails => Box::new(once("one".into())),
        Flow::Flood => Box::new(repeat_n(Bytes::from(vec![0; 16 << 10]), 4096)),
        _ => Box::new(["one", "two", "three"].into_iter().map(Bytes::from)),
    }
}

/// Sends one batch. What goes wrong is told by reading as well.
fn send_rows(mut input: BatchInput, rows: u32) {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..i64::from(rows)));
    let batch = RecordBatch::try_new(numbers(), vec![column]).expect("a column of the schema's type");
    if input.send(&batch).is_ok() {
        let _ = input.finish();
    }
}

/// The output has ended well.
fn done(control: &Control) -> Event {
    let Some(Termination::Finished(finish)) = control.termination() else {
        unreachable!("only a session that has finished ends its output so")
    };
    let metrics = finish.metrics.iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Event::Done { metrics, digest: Digest::of(finish.data.as_ref()) }
}
