//! The names of scenarios: a flow, and what is done to it when the driver is told.

use std::fmt;
use std::str::FromStr;

/// One scenario of docs/conformance-engine.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(super) flow: Flow,
    pub(super) action: Option<Action>,
    /// With an idle limit (E7).
    pub(super) idle_limit: bool,
}

/// What the driver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Echo,
    Nothing,
    Held,
    Open,
    Unopened,
    Unread,
    Flood,
    InitTwice,
    ProcessFirst,
    ProcessTwice,
    Afterwards,
    SourceFails,
    SourceFailsAtOnce,
    /// A payload of so many bytes.
    Payload(u32),
    Everything,
    /// A batch of so many rows.
    Rows(u32),
    Two,
    Pipelined,
}

/// What is done when the driver is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Finish,
    Fail,
    Cancel,
    CancelTwice,
    CancelLong,
    Close,
    Drop,
    Interrupt,
}

/// What may stand behind the `/` of a flow.
#[derive(Clone, Copy)]
enum Form {
    /// One of these, or nothing.
    Of(Flow, &'static [Action]),
    /// The same with an idle limit.
    Idle(Flow, &'static [Action]),
    /// A number.
    Numbered(fn(u32) -> Flow),
}

/// Every flow by its name.
#[rustfmt::skip]
const FLOWS: &[(&str, Form)] = {
    use Action::{Cancel, CancelLong, CancelTwice, Close, Drop, Fail, Finish, Interrupt};
    use Form::{Idle, Numbered, Of};
    &[
        ("echo", Of(Flow::Echo, &[Cancel, Close, Interrupt])),
        ("nothing", Of(Flow::Nothing, &[])),
        ("held", Of(Flow::Held, &[Finish, Fail, Cancel, CancelTwice, CancelLong, Close, Drop, Interrupt])),
        ("open", Of(Flow::Open, &[Cancel, Close, Drop])),
        ("unopened", Of(Flow::Unopened, &[Cancel, Close])),
        ("unread", Of(Flow::Unread, &[Cancel])),
        ("flood", Of(Flow::Flood, &[Cancel, Close])),
        ("init-twice", Of(Flow::InitTwice, &[])),
        ("process-first", Of(Flow::ProcessFirst, &[])),
        ("process-twice", Of(Flow::ProcessTwice, &[])),
        ("afterwards", Of(Flow::Afterwards, &[])),
        ("source-fails", Of(Flow::SourceFails, &[])),
        ("source-fails-at-once", Of(Flow::SourceFailsAtOnce, &[])),
        ("payload", Numbered(Flow::Payload)),
        ("everything", Of(Flow::Everything, &[])),
        ("rows", Numbered(Flow::Rows)),
        ("two", Of(Flow::Two, &[])),
        ("idle", Idle(Flow::Echo, &[])),
        ("idle-flood", Idle(Flow::Flood, &[])),
        ("idle-held", Idle(Flow::Held, &[Finish])),
        ("idle-unread", Idle(Flow::Unread, &[])),
        ("pipelined", Of(Flow::Pipelined, &[])),
    ]
};

impl Action {
    fn name(self) -> &'static str {
        match self {
            Action::Finish => "finish",
            Action::Fail => "fail",
            Action::Cancel => "cancel",
            Action::CancelTwice => "cancel-twice",
            Action::CancelLong => "cancel-long",
            Action::Close => "close",
            Action::Drop => "drop",
            Action::Interrupt => "interrupt",
        }
    }
}

impl Form {
    /// What a name means that has this behind its `/`, if anything.
    fn read(self, rest: Option<&str>) -> Option<Scenario> {
        let idle_limit = matches!(self, Form::Idle(..));
        let (flow, action) = match (self, rest) {
            (Form::Of(flow, _) | Form::Idle(flow, _), None) => (flow, None),
            (Form::Of(flow, actions) | Form::Idle(flow, actions), Some(name)) => {
                (flow, Some(actions.iter().copied().find(|action| action.name() == name)?))
            }
            (Form::Numbered(flow), number) => (flow(number?.parse().ok()?), None),
        };
        Some(Scenario { flow, action, idle_limit })
    }

    /// The names that it makes of one of a flow.
    fn names(self, flow: &str) -> Vec<String> {
        match self {
            Form::Of(_, actions) | Form::Idle(_, actions) => {
                let acted = actions.iter().map(|action| format!("{flow}/{}", action.name()));
                std::iter::once(flow.to_owned()).chain(acted).collect()
            }
            Form::Numbered(_) => vec![format!("{flow}/N")],
        }
    }
}

/// All names, with `N` for a number.
fn names() -> Vec<String> {
    FLOWS.iter().flat_map(|(name, form)| form.names(name)).collect()
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let (flow, rest) = match name.split_once('/') {
            Some((flow, rest)) => (flow, Some(rest)),
            None => (name, None),
        };
        let form = FLOWS.iter().find(|(known, _)| *known == flow).map(|(_, form)| form);
        form.and_then(|form| form.read(rest))
            .ok_or_else(|| format!("there is no such scenario; there are {}", names().join(", ")))
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = |form: &Form| match (*form, self.flow) {
            (Form::Of(flow, _), is) => flow == is && !self.idle_limit,
            (Form::Idle(flow, _), is) => flow == is && self.idle_limit,
            (Form::Numbered(flow), Flow::Payload(number) | Flow::Rows(number)) => flow(number) == self.flow,
            (Form::Numbered(_), _) => false,
        };
        let (name, _) = FLOWS.iter().find(|(_, form)| is(form)).expect("every flow has a name");
        f.write_str(name)?;
        match (self.flow, self.action) {
            (Flow::Payload(number) | Flow::Rows(number), _) => write!(f, "/{number}"),
            (_, Some(action)) => write!(f, "/{}", action.name()),
            (_, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The rows of a table of the contract: what its columns have, by the heading of the first.
    fn table(contract: &str, heading: &str) -> Vec<Vec<String>> {
        let mut lines = contract.lines().skip_while(|line| !line.starts_with(&format!("| {heading} |")));
        assert!(lines.next().is_some(), "there is no table of `{heading}`");
        lines
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
            .collect()
    }

    fn quoted(cell: &str) -> impl Iterator<Item = &str> {
        cell.split('`').skip(1).step_by(2)
    }

    /// The contract and the table above have the same names, neither one more.
    #[test]
    fn the_contract_and_the_driver_know_the_same_scenarios() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conformance-engine.md");
        let contract = std::fs::read_to_string(path).expect("the contract is there");
        let mut wanted = BTreeSet::new();
        for row in table(&contract, "flow") {
            wanted.extend(quoted(&row[0]).map(String::from));
        }
        for row in table(&contract, "action") {
            let action = quoted(&row[0]).next().expect("an action has a name");
            wanted.extend(quoted(&row[2]).map(|flow| format!("{flow}/{action}")));
        }
        assert!(wanted.len() > 30, "{wanted:?}");
        assert_eq!(names().into_iter().collect::<BTreeSet<_>>(), wanted);
    }

    /// A name is read, and said again as it was.
    #[test]
    fn names_are_read() {
        for name in names() {
            let name = name.replace('N', "2500000");
            assert_eq!(name.parse::<Scenario>().map(|scenario| scenario.to_string()), Ok(name));
        }
        for wrong in ["", "ehco", "echo/", "echo/drop", "held/cancel/now", "payload", "payload/-1", "rows/many"] {
            let why = wrong.parse::<Scenario>().expect_err(wrong);
            assert!(why.contains("echo, echo/cancel") && why.contains("payload/N"), "{why}");
        }
    }
}
