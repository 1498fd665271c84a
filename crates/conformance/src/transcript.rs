//! What went over the wire in a case, as people read it: bounded, whatever an implementation does.

use std::collections::VecDeque;
use std::time::Duration;

/// The most lines that are kept of the beginning, and of the end, where a failure is found. Equal ones behind each other are
/// one.
const MOST: usize = 500;

/// A dialogue while it is written down.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    first: Vec<Line>,
    last: VecDeque<Line>,
    /// Lines between the two.
    left_out: usize,
}

#[derive(Debug)]
struct Line {
    at: Duration,
    text: String,
    times: usize,
}

impl Transcript {
    /// Takes note of what happened at a moment, which may be before what was noted last.
    pub(crate) fn note(&mut self, at: Duration, text: String) {
        match self.last.back_mut().or(self.first.last_mut()) {
            Some(before) if before.text == text => return before.times += 1,
            _ => {}
        }
        let line = Line { at, text, times: 1 };
        if self.first.len() < MOST {
            return self.first.push(line);
        }
        if self.last.len() == MOST {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(line);
    }

    /// Takes over what another has written.
    pub(crate) fn append(&mut self, other: Vec<(Duration, String)>) {
        for (at, text) in other {
            self.note(at, text);
        }
    }

    /// The lines in the order in which it happened.
    pub(crate) fn into_lines(self) -> Vec<(Duration, String)> {
        let Transcript { first: mut lines, last, left_out } = self;
        if left_out > 0 {
            let at = lines.last().map_or(Duration::ZERO, |line| line.at);
            lines.push(Line { at, text: format!("-- {left_out} lines are left out here"), times: 1 });
        }
        lines.extend(last);
        lines.sort_by_key(|line| line.at);
        let shown = |Line { at, text, times }: Line| match times {
            1 => (at, text),
            times => (at, format!("{text}, {times} times")),
        };
        lines.into_iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_in_order_and_bounded() {
        let mut transcript = Transcript::default();
        let at = Duration::from_millis;
        transcript.note(at(3), "> data".into());
        transcript.note(at(4), "> data".into());
        transcript.note(at(2), "< init-response".into());
        let lines = transcript.into_lines();
        assert_eq!(lines, [(at(2), "< init-response".into()), (at(3), "> data, 2 times".into())]);
        let mut long = Transcript::default();
        (0..2 * MOST + 5).for_each(|number| long.note(at(1), number.to_string()));
        let lines = long.into_lines();
        assert_eq!(lines.len(), 2 * MOST + 1);
        assert!(lines[MOST].1.contains("5 lines are left out"), "{lines:?}");
        assert_eq!(lines[2 * MOST].1, (2 * MOST + 4).to_string());
    }
}
