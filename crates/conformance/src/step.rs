//! Scripts as steps, one a line, with blocks of them: what the languages of both halves have in common.

use crate::line::uncommented;

/// One line of a script.
#[derive(Clone, Debug)]
pub(crate) struct Step<A> {
    /// Where it stands, from 1.
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) act: A,
}

/// What a line asks for.
pub(crate) trait Block: Sized {
    /// The steps of the block that it opens, if it opens one; up to a line `}`.
    fn steps(&mut self) -> Option<&mut Vec<Step<Self>>>;
}

/// Reads a script; `act` reads a line.
///
/// # Errors
/// What is wrong, and in which line.
pub(crate) fn steps<A: Block>(
    source: &str,
    mut act: impl FnMut(&str) -> Result<A, String>,
) -> Result<Vec<Step<A>>, String> {
    // The blocks that are open, each with what stands before it.
    let mut blocks: Vec<(Step<A>, Vec<Step<A>>)> = Vec::new();
    let mut steps = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let (line, text) = (number + 1, uncommented(line));
        if text.is_empty() {
            continue;
        }
        let wrong = |why: String| format!("line {line}, `{text}`: {why}");
        if text == "}" {
            let (mut step, outer) = blocks.pop().ok_or_else(|| wrong("no block is open".into()))?;
            let inner = std::mem::replace(&mut steps, outer);
            step.act.steps().expect("only such are open").extend(inner);
            steps.push(step);
            continue;
        }
        let mut step = Step { line, text: text.into(), act: act(text).map_err(wrong)? };
        match step.act.steps() {
            Some(_) => blocks.push((step, std::mem::take(&mut steps))),
            None => steps.push(step),
        }
    }
    match blocks.pop() {
        Some((step, _)) => Err(format!("line {}, `{}`: the block is not closed", step.line, step.text)),
        None => Ok(steps),
    }
}
