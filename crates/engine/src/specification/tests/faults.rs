//! What keeps a specification from being used (D1).

use expect_test::expect;

use super::*;

fn faults(json: &str) -> Vec<String> {
    let specification = WorkerSpecification::from_json(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let faults: Vec<_> = specification.faults().iter().map(ToString::to_string).collect();
    match specification.check() {
        Ok(()) => assert_eq!(faults, [""; 0]),
        Err(error) => {
            assert_eq!((error.kind(), error.condition()), (ErrorKind::Misuse, "INVALID_SPECIFICATION"));
            assert!(faults.iter().all(|fault| error.to_string().contains(fault)), "{error} lacks one of {faults:?}");
            assert!(specification.plan(DEFAULT_MAX_TIMEOUT).is_err(), "nothing starts");
        }
    }
    faults
}

/// D1: each rule of it, alone, with the field it is about.
#[test]
fn d1_each_fault_names_its_field() {
    let cases = [
        ("serve", "serve", [].as_slice()),
        (r#"{"tcp": {}}"#, "null", &["direct.properties.connection: is missing"]),
        (r#"{"tcp": {}}"#, "{}", &["direct.properties.connection: names no transport"]),
        (r#"{"connection": {"tcp": {}}}"#, "{}", &["direct.properties.connection: is missing"]),
        (r#"["ARROW"]"#, "[]", &["capabilities.supportedDataFormats: does not list ARROW"]),
        // A later release may know it.
        (r#"["ARROW"]"#, "[7]", &["capabilities.supportedDataFormats: does not list ARROW"]),
        (
            r#"["ARROW"]"#,
            r#"["ARROW", "UDF_WORKER_DATA_FORMAT_UNSPECIFIED"]"#,
            &["capabilities.supportedDataFormats[1]: is UDF_WORKER_DATA_FORMAT_UNSPECIFIED"],
        ),
        (
            r#"["BIDIRECTIONAL_STREAMING"]"#,
            "[0]",
            &[
                "capabilities.supportedCommunicationPatterns[0]: is UDF_PROTO_COMMUNICATION_PATTERN_UNSPECIFIED",
                "capabilities.supportedCommunicationPatterns: does not list BIDIRECTIONAL_STREAMING",
            ],
        ),
        (r#"["serve"]"#, "[]", &["direct.runner.command: is empty"]),
        (r#"["serve"]"#, r#"[""]"#, &["direct.runner.command[0]: is empty"]),
        (r#""runner": {"command": ["serve"]}, "#, "", &["direct.runner: is missing"]),
        (r#"["serve"]"#, r#"["serve", "--id", "1"]"#, &["direct.runner.command[1]: is --id"]),
        (
            r#"["serve"]"#,
            r#"["serve"], "arguments": ["--connection=x"]"#,
            &["direct.runner.arguments[0]: is --connection"],
        ),
        // These are others' flags.
        (r#"["serve"]"#, r#"["--id"], "arguments": ["--ids", "-id", "--connections=1"]"#, &[]),
        (
            r#"["serve"]"#,
            r#"["a\u0000", "\u0000"]"#,
            &["direct.runner.command[0]: contains a zero byte", "direct.runner.command[1]: contains a zero byte"],
        ),
        (
            r#"["serve"]"#,
            r#"["a"], "arguments": ["", "\u0000"]"#,
            &["direct.runner.arguments[1]: contains a zero byte"],
        ),
        (
            r#"["serve"]"#,
            r#"["a"], "environmentVariables": {"": "x", "A=hush": "x", "B": "\u0000", "C\u0000": "", "D": "a=b"}"#,
            &[
                r#"direct.runner.environmentVariables[""]: has no name"#,
                r#"direct.runner.environmentVariables["A=…"]: has `=` in its name"#,
                r#"direct.runner.environmentVariables["B"]: contains a zero byte"#,
                r#"direct.runner.environmentVariables["C\0"]: contains a zero byte"#,
            ],
        ),
        (
            r#""connection""#,
            r#""initializationTimeoutMs": -1, "gracefulTerminationTimeoutMs": -5, "connection""#,
            &[
                "direct.properties.initializationTimeoutMs: is negative",
                "direct.properties.gracefulTerminationTimeoutMs: is negative",
            ],
        ),
        (
            r#""direct""#,
            r#""environment": {"environmentVerification": {"command": ["v"]}}, "direct""#,
            &["environment.installation: is missing, and environmentVerification needs it"],
        ),
        (
            r#""direct""#,
            r#""environment": {"installation": {}, "environmentCleanup": {"command": [""]}}, "direct""#,
            &["environment.installation.command: is empty", "environment.environmentCleanup.command[0]: is empty"],
        ),
        // Only a runner gets these flags from us.
        (r#""direct""#, r#""environment": {"installation": {"command": ["pip", "--id"]}}, "direct""#, &[]),
    ];
    for (piece, other, expected) in cases {
        let json = but(piece, other);
        let found = faults(&json);
        let same =
            found.len() == expected.len() && found.iter().zip(expected).all(|(found, begin)| found.starts_with(begin));
        assert!(same, "{json}\nfound {found:#?}\nexpected {expected:#?}");
        assert!(found.iter().all(|fault| !fault.contains("hush")), "{found:?}");
    }
}

/// D1: all of them at once, in the order of the fields.
#[test]
fn d1_all_faults_are_told_at_once() {
    let json = r#"{"environment": {"environmentVerification": {}}, "direct": {"properties": {"initializationTimeoutMs": -1}}}"#;
    expect![[r#"
        environment.installation: is missing, and environmentVerification needs it; say how to install, or leave both out
        environment.environmentVerification.command: is empty; name the program to run
        capabilities: is missing; say what the worker can do
        direct.runner: is missing; name the program that serves the functions
        direct.properties.initializationTimeoutMs: is negative; give milliseconds, or leave it out
        direct.properties.connection: is missing; write {"unixDomainSocket": {}} or {"tcp": {}}"#]]
    .assert_eq(&faults(json).join("\n"));
    assert_eq!(faults("{}").len(), 2);
    let fault = &WorkerSpecification::from_json("{}").expect("it can be read").faults()[0];
    assert_eq!(fault.field(), "capabilities");
}
