//! What keeps a specification from being used, all of it at once (D1).

use std::borrow::Cow;
use std::fmt;

use anyudf_protocol::wire::{
    DirectWorker, ProcessCallable, UdfProtoCommunicationPattern, UdfWorkerDataFormat, WorkerCapabilities,
    WorkerEnvironment,
};

use super::{WorkerSpecification, shape};
use crate::error::{Error, ErrorKind};

/// The flags that the launcher adds, so that a runner has them not (P1).
const OURS: [&str; 2] = ["--id", "--connection"];

/// One reason why a specification can't be used. Shown, it is the field, what is wrong there, and what to write (D1);
/// values are not repeated (D13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    field: String,
    text: Cow<'static, str>,
}

impl Fault {
    /// The path of the field, in the names of the JSON: `direct.properties.connection`.
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

impl WorkerSpecification {
    /// All that keeps it from being used, in the order of the fields (D1). Nothing when it is good.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        if let Some(environment) = &self.message.environment {
            faults.of_environment(environment);
        }
        match &self.message.capabilities {
            Some(capabilities) => faults.of_capabilities(capabilities),
            None => faults.add("capabilities", "is missing; say what the worker can do"),
        }
        match self.direct() {
            Some(direct) => faults.of_direct(direct),
            None => faults.add("direct", "is missing; say how the worker is started"),
        }
        faults.0
    }

    /// Refuses a specification that has faults (D1).
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`], `INVALID_SPECIFICATION`: the text has each of [`faults`](WorkerSpecification::faults).
    pub fn check(&self) -> Result<(), Error> {
        let faults: Vec<_> = self.faults().iter().map(Fault::to_string).collect();
        if faults.is_empty() {
            return Ok(());
        }
        let worker = self.program().map(|program| format!(" of worker `{program}`")).unwrap_or_default();
        let text = format!("the specification{worker} can't be used (D1): {}", faults.join("; "));
        Err(Error::new(ErrorKind::Misuse, "INVALID_SPECIFICATION", text))
    }
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, field: impl Into<String>, text: impl Into<Cow<'static, str>>) {
        self.0.push(Fault { field: field.into(), text: text.into() });
    }

    fn of_environment(&mut self, environment: &WorkerEnvironment) {
        let WorkerEnvironment { installation, environment_verification: verification, environment_cleanup: cleanup } =
            environment;
        if verification.is_some() && installation.is_none() {
            let text = "is missing, and environmentVerification needs it; say how to install, or leave both out";
            self.add("environment.installation", text);
        }
        let callables = [
            ("environment.installation", installation),
            ("environment.environmentVerification", verification),
            ("environment.environmentCleanup", cleanup),
        ];
        for (field, callable) in callables {
            if let Some(callable) = callable {
                self.of_callable(field, callable);
            }
        }
    }

    fn of_capabilities(&mut self, capabilities: &WorkerCapabilities) {
        let formats = &capabilities.supported_data_formats;
        let (unspecified, arrow) = (UdfWorkerDataFormat::Unspecified, UdfWorkerDataFormat::Arrow);
        let names = [unspecified.as_str_name(), arrow.as_str_name()];
        self.of_list("capabilities.supportedDataFormats", formats, [unspecified.into(), arrow.into()], names);
        let patterns = &capabilities.supported_communication_patterns;
        let unspecified = UdfProtoCommunicationPattern::Unspecified;
        let both_ways = UdfProtoCommunicationPattern::BidirectionalStreaming;
        let names = [unspecified.as_str_name(), both_ways.as_str_name()];
        let field = "capabilities.supportedCommunicationPatterns";
        self.of_list(field, patterns, [unspecified.into(), both_ways.into()], names);
    }

    /// A list of capabilities must not have the first of `numbers`, and must have the second.
    fn of_list(&mut self, field: &str, listed: &[i32], numbers: [i32; 2], names: [&str; 2]) {
        let ([unspecified, needed], [unspecified_name, needed_name]) = (numbers, names);
        for (place, _) in listed.iter().enumerate().filter(|&(_, &number)| number == unspecified) {
            self.add(format!("{field}[{place}]"), format!("is {unspecified_name}, which says nothing; leave it out"));
        }
        if !listed.contains(&needed) {
            self.add(field, format!("does not list {needed_name}, which every worker has to"));
        }
    }

    fn of_direct(&mut self, direct: &DirectWorker) {
        match &direct.runner {
            Some(runner) => {
                self.of_callable("direct.runner", runner);
                let words = runner.command.iter().enumerate().skip(1).map(|(place, word)| ("command", place, word));
                let arguments = runner.arguments.iter().enumerate().map(|(place, word)| ("arguments", place, word));
                for (list, place, word) in words.chain(arguments) {
                    let flag = word.split('=').next().unwrap_or(word);
                    if let Some(flag) = OURS.iter().find(|&&ours| ours == flag) {
                        let text = format!("is {flag}, which the engine adds; leave it out");
                        self.add(format!("direct.runner.{list}[{place}]"), text);
                    }
                }
            }
            None => self.add("direct.runner", "is missing; name the program that serves the functions"),
        }
        let properties = direct.properties.unwrap_or_default();
        let timeouts = [
            ("initializationTimeoutMs", properties.initialization_timeout_ms),
            ("gracefulTerminationTimeoutMs", properties.graceful_termination_timeout_ms),
        ];
        for (field, _) in timeouts.iter().filter(|(_, millis)| millis.is_some_and(|millis| millis < 0)) {
            self.add(format!("direct.properties.{field}"), "is negative; give milliseconds, or leave it out");
        }
        let field = "direct.properties.connection";
        match properties.connection {
            None => self.add(field, r#"is missing; write {"unixDomainSocket": {}} or {"tcp": {}}"#),
            Some(connection) if connection.transport.is_none() => {
                self.add(field, r#"names no transport; write {"unixDomainSocket": {}} or {"tcp": {}}"#);
            }
            Some(_) => {}
        }
    }

    /// What no process can be given. Words are told by their place, because they may be secrets (D13).
    fn of_callable(&mut self, field: &str, callable: &ProcessCallable) {
        match callable.command.first() {
            None => self.add(format!("{field}.command"), "is empty; name the program to run"),
            Some(program) if program.is_empty() => {
                self.add(format!("{field}.command[0]"), "is empty; name the program to run");
            }
            Some(_) => {}
        }
        for (list, words) in [("command", &callable.command), ("arguments", &callable.arguments)] {
            for (place, _) in words.iter().enumerate().filter(|(_, word)| word.contains('\0')) {
                self.add(format!("{field}.{list}[{place}]"), "contains a zero byte, which no process can be given");
            }
        }
        for (name, value) in &callable.environment_variables {
            let path = format!("{field}.environmentVariables[{}]", shape::shown(name));
            if name.is_empty() {
                self.add(&path, "has no name; give the variable one");
            }
            if name.contains('=') {
                self.add(&path, "has `=` in its name, which ends a name; write the value behind the colon");
            }
            if name.contains('\0') || value.contains('\0') {
                self.add(&path, "contains a zero byte, which no process can be given");
            }
        }
    }
}
