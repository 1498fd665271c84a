//! Lines of a program that may print what it likes.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// The longest line that is kept whole, in bytes.
const LONGEST: usize = 64 << 10;

/// The next line, without its end; of a longer one its first 64 KiB, and that something is missing. Memory is bounded
/// whatever comes.
///
/// # Errors
/// What is read can't be read any more.
pub(crate) async fn next_line(output: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let (mut line, mut missing, mut begun) = (Vec::new(), false, false);
    loop {
        let piece = output.fill_buf().await?;
        if piece.is_empty() {
            return Ok(begun.then(|| text(&line, missing)));
        }
        begun = true;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let part = &piece[..end.unwrap_or(piece.len())];
        let room = LONGEST.saturating_sub(line.len()).min(part.len());
        line.extend_from_slice(&part[..room]);
        missing |= room < part.len();
        let taken = end.map_or(piece.len(), |end| end + 1);
        output.consume(taken);
        if end.is_some() {
            return Ok(Some(text(&line, missing)));
        }
    }
}

fn text(line: &[u8], missing: bool) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut text = String::from_utf8_lossy(line).into_owned();
    if missing {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn lines_are_as_they_come_and_long_ones_are_cut() {
        let long = "x".repeat(LONGEST + 5);
        let printed = [b"one\r\n\n\xff\n".as_slice(), long.as_bytes(), b"\nlast"].concat();
        let mut output = BufReader::with_capacity(100, &printed[..]);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut output).await.expect("it can be read") {
            lines.push(line);
        }
        let cut = format!("{}…", &long[..LONGEST]);
        assert_eq!(lines, ["one", "", "\u{fffd}", &cut, "last"]);
    }
}
