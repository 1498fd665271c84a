//! What is read, what is refused, and what is written.

use std::fs;

use expect_test::{Expect, expect};

use super::*;

/// The example of `docs/specification.md`.
fn example() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/specification.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let (_, rest) = page.split_once("```json\n").expect("it has an example");
    rest.split_once("```").expect("which ends").0.into()
}

/// What each of these texts is refused for, one a line.
fn misread(texts: &[&str], expected: Expect) {
    let refusal = |text: &&str| {
        let error = WorkerSpecification::from_json(text).expect_err(text);
        assert_eq!((error.kind(), error.condition()), (ErrorKind::Misuse, "SPECIFICATION_SYNTAX"), "{text}");
        error.to_string().strip_prefix("the worker specification: ").expect("what it is about").to_owned()
    };
    expected.assert_eq(&(texts.iter().map(refusal).collect::<Vec<_>>().join("\n") + "\n"));
}

#[test]
fn what_is_no_specification_is_refused_with_line_column_and_path() {
    misread(
        &[
            "",
            " \n\t",
            "\u{feff}",
            "{",
            r#"{"direct": {"runner": {"command": ["a", "b"#,
            r#"{"direct": {"runner": {"command": ["a" "b"]}}}"#,
            r#"{"direct": {"runner": {"command": ["a",]}}}"#,
            r#"{"direct": {"runner": {'command': []}}}"#,
            r#"{"direct": {"runner": {"command": ["\x"]}}}"#,
            r#"{"direct": {"runner": {"command": ["\ud800"]}}}"#,
            "{} {}",
            "// comment\n{}",
            "[]",
            "null",
            "\"hush\"",
            "{\n  \"capabilities\": {},\n  \"dirct\": {}\n}",
            r#"{"direct": {"runner": {"comand": ["hush"]}}}"#,
            r#"{"direct": {"properties": {"connection": {"tcp": {"port": 80}}}}}"#,
            r#"{"direct": {"runner": {"arguments": "--password hush"}}}"#,
            r#"{"direct": {"runner": {"arguments": ["hush", 5]}}}"#,
            r#"{"direct": {"runner": {"arguments": [null]}}}"#,
            r#"{"direct": {"runner": {"environmentVariables": ["TOKEN=hush"]}}}"#,
            r#"{"direct": {"runner": {"environmentVariables": {"TOKEN=hush": 5}}}}"#,
            r#"{"direct": {"runner": {"environmentVariables": {"TOKEN": null}}}}"#,
            r#"{"direct": {"properties": {"initializationTimeoutMs": "10s"}}}"#,
            r#"{"direct": {"properties": {"initializationTimeoutMs": 2147483648}}}"#,
            r#"{"direct": {"properties": {"initializationTimeoutMs": 1.5}}}"#,
            r#"{"direct": {"properties": {"initializationTimeoutMs": 1e999}}}"#,
            r#"{"capabilities": {"supportsReuse": "yes"}}"#,
            r#"{"capabilities": {"supportedDataFormats": ["arrow"]}}"#,
            r#"{"capabilities": {"supportedDataFormats": "ARROW"}}"#,
            r#"{"capabilities": {"supportedDataFormats": [true]}}"#,
            r#"{"capabilities": {"supportsReuse": true, "supports_reuse": false}}"#,
            r#"{"direct": {}, "direct": {}}"#,
            r#"{"direct": {"runner": {"environmentVariables": {"A": "hush", "A": "hush"}}}}"#,
            r#"{"direct": {"properties": {"connection": {"unixDomainSocket": {}, "tcp": {}}}}}"#,
        ],
        expect![[r#"
            line 1, column 1: there is nothing in it
            line 1, column 1: there is nothing in it
            line 1, column 1: there is nothing in it
            line 1, column 1: the text ends too early; is a quote or a bracket not closed?
            line 1, column 42: direct.runner.command[1]: the text ends too early; is a quote or a bracket not closed?
            line 1, column 40: direct.runner.command[1]: this is no JSON: expected `,` or `]`
            line 1, column 40: direct.runner.command[1]: this is no JSON: trailing comma
            line 1, column 24: direct.runner: this is no JSON: key must be a string
            line 1, column 38: direct.runner.command[0]: this is no JSON: invalid escape
            line 1, column 43: direct.runner.command[0]: this is no JSON: unexpected end of hex escape
            line 1, column 4: this is no JSON: trailing characters
            line 1, column 1: this is no JSON: expected value
            line 1, column 2: there should be an object, and there is a list
            line 1, column 4: there should be an object, and there is null
            line 1, column 6: there should be an object, and there is a string
            line 3, column 9: there is no field "dirct" here; it has `environment`, `capabilities`, `direct`
            line 1, column 31: direct.runner: there is no field "comand" here; it has `command`, `arguments`, `environmentVariables`
            line 1, column 56: direct.properties.connection.tcp: there is no field "port" here; it has none
            line 1, column 53: direct.runner.arguments: there should be a list, each item a string, and there is a string
            line 1, column 46: direct.runner.arguments[1]: there should be a string, and there is a number
            line 1, column 41: direct.runner.arguments[0]: there should be a string, and there is null
            line 1, column 48: direct.runner.environmentVariables: there should be an object, each value a string, and there is a list
            line 1, column 63: direct.runner.environmentVariables["TOKEN=…"]: there should be a string, and there is a number
            line 1, column 61: direct.runner.environmentVariables["TOKEN"]: there should be a string, and there is null
            line 1, column 59: direct.properties.initializationTimeoutMs: there should be a whole number of 32 bits, and there is another string
            line 1, column 64: direct.properties.initializationTimeoutMs: there should be a whole number of 32 bits, and there is one out of that range
            line 1, column 57: direct.properties.initializationTimeoutMs: there should be a whole number of 32 bits, and there is a fraction
            line 1, column 59: direct.properties.initializationTimeoutMs: this is no JSON: number out of range
            line 1, column 40: capabilities.supportsReuse: there should be true or false, and there is a string
            line 1, column 50: capabilities.supportedDataFormats[0]: there should be "ARROW", and there is another string
            line 1, column 49: capabilities.supportedDataFormats: there should be a list, each item "ARROW", and there is a string
            line 1, column 47: capabilities.supportedDataFormats[0]: there should be "ARROW", and there is true
            line 1, column 57: capabilities.supportsReuse: this is given twice; leave one out
            line 1, column 23: direct: this is given twice; leave one out
            line 1, column 64: direct.runner.environmentVariables["A"]: this is given twice; leave one out
            line 1, column 71: direct.properties.connection: there can be `unixDomainSocket` or `tcp`, not both; leave one out
        "#]],
    );
}

/// However deep, however long: it is refused at the first thing that does not fit.
#[test]
fn absurd_texts_are_refused_at_once() {
    for open in ["[", "{\"a\":", "{\"direct\":", "{\"direct\":{\"runner\":{\"command\":["] {
        let error = WorkerSpecification::from_json(&open.repeat(100_000)).expect_err("no specification");
        assert!(error.to_string().len() < 300, "{error}");
    }
    let long = format!("{{\"{}\": 1}}", "hush\u{1b}[31m".repeat(10_000));
    let error = WorkerSpecification::from_json(&long).expect_err("no specification").to_string();
    assert!(error.len() < 300 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn names_are_taken_in_both_spellings_and_written_in_one() {
    let theirs = r#"{
        "environment": {"environment_verification": {"command": ["true"]}, "installation": null},
        "capabilities": {"supported_data_formats": [1], "supports_concurrent_udfs": false},
        "direct": {"properties": {"initialization_timeout_ms": "1500", "gracefulTerminationTimeoutMs": 2e3}}
    }"#;
    let read = WorkerSpecification::from_json(theirs).expect("all of it is canonical");
    expect![[r#"
        {
          "environment": {
            "environmentVerification": {
              "command": [
                "true"
              ]
            }
          },
          "capabilities": {
            "supportedDataFormats": [
              "ARROW"
            ],
            "supportsConcurrentUdfs": false
          },
          "direct": {
            "properties": {
              "initializationTimeoutMs": 1500,
              "gracefulTerminationTimeoutMs": 2000
            }
          }
        }
    "#]]
    .assert_eq(&read.to_json());
    assert_eq!(WorkerSpecification::from_json(&read.to_json()).expect("ours is"), read);
    // Windows' editors put a mark before the text, which RFC 8259 lets us ignore.
    assert_eq!(WorkerSpecification::from_json(&format!("\u{feff}{theirs}")).expect("the mark is ignored"), read);
}

#[test]
fn what_is_built_is_written_canonically() {
    expect![[r#"
        {
          "capabilities": {
            "supportedDataFormats": [
              "ARROW"
            ],
            "supportedCommunicationPatterns": [
              "BIDIRECTIONAL_STREAMING"
            ]
          },
          "direct": {
            "runner": {
              "command": [
                "serve"
              ]
            },
            "properties": {
              "connection": {
                "unixDomainSocket": {}
              }
            }
          }
        }
    "#]]
    .assert_eq(&WorkerSpecification::new("serve", [""; 0]).to_json());
    expect![[r#"
        {
          "environment": {
            "installation": {
              "command": [
                "pip"
              ],
              "arguments": [
                "install",
                "worker"
              ]
            },
            "environmentVerification": {
              "command": [
                "python3"
              ],
              "arguments": [
                "-c",
                "import worker"
              ]
            },
            "environmentCleanup": {
              "command": [
                "pip"
              ],
              "arguments": [
                "uninstall",
                "worker"
              ]
            }
          },
          "capabilities": {
            "supportedDataFormats": [
              "ARROW"
            ],
            "supportedCommunicationPatterns": [
              "BIDIRECTIONAL_STREAMING"
            ],
            "supportsConcurrentUdfs": true,
            "supportsReuse": true
          },
          "direct": {
            "runner": {
              "command": [
                "python3"
              ],
              "arguments": [
                "worker.py",
                "--threads=2"
              ],
              "environmentVariables": {
                "HOME": "\"é\"\n",
                "LANG": "C",
                "ZONE": "a"
              }
            },
            "properties": {
              "initializationTimeoutMs": 60000,
              "gracefulTerminationTimeoutMs": 2500,
              "connection": {
                "tcp": {}
              }
            }
          }
        }
    "#]]
    .assert_eq(&full().to_json());
    assert_eq!(full().faults(), []);
    assert_eq!(WorkerSpecification::from_json(&full().to_json()).expect("ours can be read"), full());
}

/// The page for users shows a specification that is good, in canonical form.
#[test]
fn the_documented_example_is_good() {
    let read = WorkerSpecification::from_json(&example()).expect("it can be read");
    assert_eq!(read.faults(), []);
    assert_eq!(read.to_json(), example());
}

#[test]
fn files_are_named_when_they_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("my.json");
    let refused = |condition: &str, says: &str| {
        let error = WorkerSpecification::read(&path).expect_err(says);
        assert_eq!((error.kind(), error.condition()), (ErrorKind::Misuse, condition), "{error}");
        assert!(error.to_string().contains("my.json`") && error.to_string().contains(says), "{error}");
    };
    refused("SPECIFICATION_NOT_READ", "can't read");
    for (bytes, says) in [
        (&b""[..], "nothing in it"),
        (b"{\"direct\": 5}", "line 1, column 12: direct: there should be an object, and there is a number"),
        (b"{\n\"direct\": \"hush\xff\"}", "line 2 is not UTF-8"),
    ] {
        fs::write(&path, bytes).expect("the directory can be written");
        refused("SPECIFICATION_SYNTAX", says);
    }
    fs::write(&path, vec![b' '; MAX_FILE_BYTES as usize + 1]).expect("the directory can be written");
    refused("SPECIFICATION_NOT_READ", "larger than 1 MiB");
    fs::write(&path, full().to_json()).expect("the directory can be written");
    assert_eq!(WorkerSpecification::read(&path).expect("it is good"), full());
}
