//! JSON in, faults out; specifications there and back; and nothing secret on the way.

mod any;
mod faults;
mod json;

use std::io::Write;
use std::sync::{Arc, Mutex};

use expect_test::expect;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::launcher::WorkerCommand;

/// A good specification with one piece of its text replaced.
fn but(piece: &str, other: &str) -> String {
    const GOOD: &str = r#"{"capabilities": {"supportedDataFormats": ["ARROW"], "supportedCommunicationPatterns": ["BIDIRECTIONAL_STREAMING"]}, "direct": {"runner": {"command": ["serve"]}, "properties": {"connection": {"tcp": {}}}}}"#;
    assert_eq!(GOOD.matches(piece).count(), 1, "{piece}");
    GOOD.replace(piece, other)
}

fn full() -> WorkerSpecification {
    WorkerSpecification::new("python3", ["worker.py", "--threads=2"])
        .with_transport(Transport::Tcp)
        .with_reuse()
        .with_concurrent_udfs()
        .with_initialization_timeout(Duration::from_secs(60))
        .with_graceful_termination_timeout(Duration::from_millis(2_500))
        .with_variable("ZONE", "a")
        .with_variable("LANG", "C")
        .with_variable("HOME", "\"\u{e9}\"\n")
        .with_installation("pip", ["install", "worker"])
        .with_verification("python3", ["-c", "import worker"])
        .with_cleanup("pip", ["uninstall", "worker"])
}

/// Another release must find what this one has cached.
#[test]
fn equal_specifications_have_one_identity_and_others_another() {
    let read = WorkerSpecification::from_json(&full().to_json()).expect("ours can be read");
    assert_eq!(read.identity(), full().identity());
    expect!["4994e1276b99748a00fbb0b3ce87d900"].assert_eq(&full().identity());
    expect!["6c62272e07bb014262b821756295c58d"]
        .assert_eq(&WorkerSpecification::from_json("{}").expect("an empty one").identity());
    let others = [
        full().with_variable("ZONE", "b"),
        full().with_initialization_timeout(Duration::ZERO),
        full().with_transport(Transport::Unix),
        WorkerSpecification::new("python3", ["worker.py", "--threads=2"]),
        WorkerSpecification::new("python3", ["worker.py", "--threads", "=2"]),
    ];
    for (place, other) in others.iter().enumerate() {
        assert_ne!(other, &full());
        assert!(others[place + 1..].iter().chain([&full()]).all(|one| one.identity() != other.identity()), "{place}");
    }
}

/// D2: what is unset gets a default, what is too long is cut, and whoever asked is told.
#[test]
fn d2_timeouts_have_defaults_and_a_maximum() {
    let plan = WorkerSpecification::new("serve", [""; 0]).plan(DEFAULT_MAX_TIMEOUT).expect("it is good");
    assert_eq!(plan.config.init_timeout, Duration::from_secs(10));
    assert_eq!(plan.config.termination_timeout, Duration::from_secs(5));
    assert_eq!((plan.config.transport, plan.clamped), (Transport::Unix, vec![]));

    let (plan, log) = logged(|| full().plan(DEFAULT_MAX_TIMEOUT).expect("it is good"));
    assert_eq!(plan.config.init_timeout, Duration::from_secs(30));
    assert_eq!(plan.config.termination_timeout, Duration::from_millis(2_500));
    assert_eq!(plan.config.transport, Transport::Tcp);
    let field = "direct.properties.initializationTimeoutMs";
    assert_eq!(plan.clamped, [Clamped { field, asked: Duration::from_secs(60), granted: Duration::from_secs(30) }]);
    assert!(log.contains("WARN") && log.contains(field) && log.contains("60s") && log.contains("30s"), "{log}");

    // A maximum below the defaults is the engine's own wish, of which nobody needs to hear.
    let (plan, log) = logged(|| full().plan(Duration::from_secs(90)).expect("it is good"));
    assert_eq!((plan.config.init_timeout, log.as_str()), (Duration::from_secs(60), ""));
    let short = || WorkerSpecification::new("serve", [""; 0]).plan(Duration::from_secs(1)).expect("it is good");
    let (plan, log) = logged(short);
    assert_eq!(
        (plan.config.init_timeout, plan.config.termination_timeout),
        (Duration::from_secs(1), Duration::from_secs(1))
    );
    assert_eq!(log, "");
}

#[test]
fn a_plan_has_what_the_launcher_needs() {
    let plan = full().plan(DEFAULT_MAX_TIMEOUT).expect("it is good");
    let variable = |(name, value): (&str, &str)| (name.into(), value.into());
    let runner = WorkerCommand {
        environment: [("HOME", "\"\u{e9}\"\n"), ("LANG", "C"), ("ZONE", "a")].map(variable).into(),
        ..WorkerCommand::new("python3", ["worker.py", "--threads=2"])
    };
    assert_eq!(plan.runner, runner);
    let environment = WorkerEnvironment {
        installation: Some(WorkerCommand::new("pip", ["install", "worker"])),
        verification: Some(WorkerCommand::new("python3", ["-c", "import worker"])),
        cleanup: Some(WorkerCommand::new("pip", ["uninstall", "worker"])),
    };
    assert_eq!(plan.environment, environment);
    assert!(plan.supports_reuse && plan.supports_concurrent_udfs && !plan.environment.is_empty());

    // The words of the command come before the arguments, and the defaults are those of one process a session.
    let json = but(r#"["serve"]"#, r#"["sh", "-c"], "arguments": ["true"]"#);
    let plan =
        WorkerSpecification::from_json(&json).and_then(|read| read.plan(DEFAULT_MAX_TIMEOUT)).expect("it is good");
    assert_eq!(plan.runner, WorkerCommand::new("sh", ["-c", "true"]));
    assert!(!plan.supports_reuse && !plan.supports_concurrent_udfs && plan.environment.is_empty());
}

/// D13: whatever is done with it, arguments and values stay where they are.
#[test]
fn d13_secrets_are_in_no_debug_output_error_or_log() {
    let secretive = |specification: WorkerSpecification| {
        specification.with_variable("TOKEN", "hush").with_installation("pip", ["hush"]).with_cleanup("rm", ["hush"])
    };
    let good = secretive(WorkerSpecification::new("serve", ["--password", "hush"]));
    let good = good.with_initialization_timeout(Duration::MAX);
    let bad =
        secretive(WorkerSpecification::new("serve", ["--id", "hush", "hush\0"])).with_variable("A=hush", "hush\0");
    let (said, log) = logged(|| {
        let plan = good.plan(DEFAULT_MAX_TIMEOUT).expect("it is good");
        let error = bad.check().expect_err("it is bad");
        format!("{good:?} {good:#?} {plan:?} {bad:?} {:?} {error} {error:?}", bad.faults())
    });
    assert!(!said.contains("hush"), "{said}");
    assert!(!log.contains("hush") && log.contains("cut to"), "{log}");
    assert_eq!(format!("{good:?}"), r#"WorkerSpecification { program: Some("serve"), .. }"#);
    // With a piece missing here and there, and every other value in place of each.
    let json = good.to_json();
    for cut in (0..json.len()).filter(|&cut| json.is_char_boundary(cut)) {
        for text in [&json[..cut], &json[cut..], &[&json[..cut], "5", &json[cut..]].concat()] {
            if let Err(error) = WorkerSpecification::from_json(text) {
                assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
            }
        }
    }
}

/// The log of `act`, as text.
fn logged<T>(act: impl FnOnce() -> T) -> (T, String) {
    let lines = Lines::default();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    let done = tracing::subscriber::with_default(log, act);
    let bytes = lines.0.lock().expect("nothing panics while it is held").clone();
    (done, String::from_utf8(bytes).expect("a log is text"))
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nothing panics while it is held").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Lines;

    fn make_writer(&self) -> Lines {
        self.clone()
    }
}
