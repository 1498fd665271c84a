//! What went over the wire in a case, as people read it: bounded, whatever an implementation does.

use std::time::Duration;

/// The most lines that are kept. Equal ones behind each other are one.
const MOST: usize = 1_000;

/// A dialogue while it is written down.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    lines: Vec<Line>,
    /// Lines that did not find room.
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
        let full = self.lines.len() >= MOST;
        match self.lines.last_mut() {
            Some(last) if last.text == text => last.times += 1,
            _ if full => self.left_out += 1,
            _ => self.lines.push(Line { at, text, times: 1 }),
        }
    }

    /// Takes over what another has written.
    pub(crate) fn append(&mut self, other: Vec<(Duration, String)>) {
        for (at, text) in other {
            self.note(at, text);
        }
    }

    /// The lines in the order in which it happened.
    pub(crate) fn into_lines(self) -> Vec<(Duration, String)> {
        let Transcript { mut lines, left_out } = self;
        lines.sort_by_key(|line| line.at);
        let shown = |Line { at, text, times }: Line| match times {
            1 => (at, text),
            times => (at, format!("{text}, {times} times")),
        };
        let mut lines: Vec<_> = lines.into_iter().map(shown).collect();
        if left_out > 0 {
            let at = lines.last().map_or(Duration::ZERO, |(at, _)| *at);
            lines.push((at, format!("-- and {left_out} more, which are left out")));
        }
        lines
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
        (0..MOST + 5).for_each(|number| long.note(at(1), number.to_string()));
        let lines = long.into_lines();
        assert_eq!(lines.len(), MOST + 1);
        assert!(lines[MOST].1.contains("5 more"), "{lines:?}");
    }
}
