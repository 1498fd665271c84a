//! Any text, and any specification.

use proptest::prelude::*;

use super::*;

/// Text that is nearly a specification: its words, in any order.
fn nearly() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"direct\"",
        "\"runner\"",
        "\"command\"",
        "\"environmentVariables\"",
        "\"tcp\"",
        "\"properties\"",
        "\"connection\"",
        "\"capabilities\"",
        "\"supportedDataFormats\"",
        "\"initializationTimeoutMs\"",
        "\"supports_reuse\"",
        "\"ARROW\"",
        "true",
        "null",
        "-5",
        "1e9",
        "99999999999999999999",
        "\"\\u0000\"",
        "\"=\"",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..40).prop_map(|words| words.concat())
}

/// Any specification, with faults or without.
fn any_specification() -> impl Strategy<Value = WorkerSpecification> {
    let words = || prop::collection::vec(any::<String>(), 0..4);
    let callable =
        move || {
            let variables = prop::collection::btree_map(any::<String>(), any::<String>(), 0..6);
            (words(), words(), variables).prop_map(|(command, arguments, environment_variables)| {
                wire::ProcessCallable { command, arguments, environment_variables }
            })
        };
    let optional = move || prop::option::of(callable());
    let environment = (optional(), optional(), optional()).prop_map(|(installation, verification, cleanup)| {
        wire::WorkerEnvironment { installation, environment_verification: verification, environment_cleanup: cleanup }
    });
    let flags = (any::<Option<bool>>(), any::<Option<bool>>());
    let numbers = || prop::collection::vec(prop_oneof![0..2, any::<i32>()], 0..3);
    let capabilities =
        (numbers(), numbers(), flags).prop_map(|(formats, patterns, (concurrent, reuse))| wire::WorkerCapabilities {
            supported_data_formats: formats,
            supported_communication_patterns: patterns,
            supports_concurrent_udfs: concurrent,
            supports_reuse: reuse,
        });
    let transport = prop::option::of(prop_oneof![
        Just(worker_connection_spec::Transport::UnixDomainSocket(wire::UnixDomainSocket {})),
        Just(worker_connection_spec::Transport::Tcp(wire::LocalTcpConnection {})),
    ]);
    let connection = prop::option::of(transport.prop_map(|transport| wire::WorkerConnectionSpec { transport }));
    let properties = (any::<Option<i32>>(), any::<Option<i32>>(), connection).prop_map(|(start, end, connection)| {
        wire::UdfWorkerProperties { initialization_timeout_ms: start, graceful_termination_timeout_ms: end, connection }
    });
    let direct = (optional(), prop::option::of(properties))
        .prop_map(|(runner, properties)| Worker::Direct(wire::DirectWorker { runner, properties }));
    let parts = (prop::option::of(environment), prop::option::of(capabilities), prop::option::of(direct));
    parts.prop_map(|(environment, capabilities, worker)| WorkerSpecification {
        message: wire::UdfWorkerSpecification { environment, capabilities, worker },
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in prop_oneof![any::<String>(), nearly()]) {
        if let Ok(specification) = WorkerSpecification::from_json(&text) {
            let again = WorkerSpecification::from_json(&specification.to_json());
            prop_assert_eq!(again.expect("ours can be read"), specification);
        }
    }

    /// What is written is read as the same, whatever it holds; and a plan is made of it exactly if it has no faults.
    #[test]
    fn d1_every_specification_survives_and_is_planned_if_it_is_good(specification in any_specification()) {
        let read = WorkerSpecification::from_json(&specification.to_json()).expect("ours can be read");
        prop_assert_eq!(&read, &specification);
        prop_assert_eq!(read.to_json(), specification.to_json());
        prop_assert_eq!(read.identity(), specification.identity());
        prop_assert_eq!(read.plan(DEFAULT_MAX_TIMEOUT).is_ok(), read.faults().is_empty());
    }
}
