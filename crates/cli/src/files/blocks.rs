//! Text in blocks of whole records, so that memory is bounded, nothing is read twice (a pipe cannot be), and an error can
//! be traced to its line.

use std::io::Read;

use memchr::{memchr, memchr3};

use super::error::{Error, Result};
use super::text::lines;

/// A block ends after this many bytes at the latest, unless more rows are needed to infer types.
pub(super) const BLOCK_BYTES: usize = 32 << 20;
/// One record may be this large. Beyond it a quote was probably left open, and the rest of the file is one field.
const RECORD_BYTES: usize = 128 << 20;
const READ_BYTES: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// Whole records, as they are in the file.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    /// The number of its first line, from 1.
    pub(super) line: u64,
}

/// Cuts a stream of text into blocks.
pub(super) struct Blocks<R> {
    name: String,
    reader: R,
    scanner: Scanner,
    /// What was read and not given out.
    buffer: Vec<u8>,
    line: u64,
    over: bool,
    fresh: bool,
}

impl<R: Read> Blocks<R> {
    /// Records end at a line's end; with a delimiter (CSV), only where no quote is open.
    pub(super) fn new(name: String, reader: R, delimiter: Option<u8>) -> Self {
        let scanner = Scanner { delimiter };
        Blocks { name, reader, scanner, buffer: Vec::new(), line: 1, over: false, fresh: true }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The next records: `rows` of them (blank lines count), or fewer if they reach `bytes`, or if the text ends. The
    /// last one ends with a line feed even if it does not in the file.
    pub(super) fn next(&mut self, rows: usize, bytes: usize) -> Result<Option<Block>> {
        let mut end = 0;
        let mut records = 0;
        let mut resume = Resume::default();
        loop {
            while records < rows && end < bytes {
                match self.scanner.record_end(&self.buffer, end, &mut resume, self.over) {
                    Some(next) => {
                        (end, records, resume) = (next, records + 1, Resume::default());
                    }
                    None => break,
                }
            }
            if records >= rows || end >= bytes || self.over {
                break;
            }
            if self.buffer.len() - end > RECORD_BYTES {
                return Err(self.open_ended(end, resume, "is longer than 128 MiB"));
            }
            self.fill()?;
        }
        if self.over && end < self.buffer.len() && records < rows && end < bytes {
            // Only an open quote keeps the scanner from seeing the end of the last record.
            return Err(self.open_ended(end, resume, "is never ended"));
        }
        if end == 0 {
            return Ok(None);
        }
        let rest = self.buffer.split_off(end);
        let block = Block { bytes: std::mem::replace(&mut self.buffer, rest), line: self.line };
        self.line += lines(&block.bytes);
        Ok(Some(block))
    }

    fn fill(&mut self) -> Result<()> {
        let read = (&mut self.reader).take(READ_BYTES as u64).read_to_end(&mut self.buffer);
        let read = read.map_err(|cause| Error::reading(&self.name, cause))?;
        if std::mem::take(&mut self.fresh) {
            if self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.buffer.drain(..BYTE_ORDER_MARK.len());
            }
            if self.buffer.starts_with(&[0xff, 0xfe]) || self.buffer.starts_with(&[0xfe, 0xff]) {
                return Err(Error::data(format!(
                    "{}: is UTF-16 (byte 0); text has to be UTF-8, try `iconv -f UTF-16 -t UTF-8`",
                    self.name
                )));
            }
        }
        if read < READ_BYTES {
            self.over = true;
            if self.buffer.last().is_some_and(|last| !matches!(last, b'\n' | b'\r')) {
                self.buffer.push(b'\n');
            }
        }
        Ok(())
    }

    fn open_ended(&self, record: usize, resume: Resume, what: &str) -> Error {
        let line = self.line + lines(&self.buffer[..record]);
        let quote = match resume.quote {
            Some(at) => format!(
                "; a quote is open since line {}: close it, or double it if it belongs to the text; if the file was \
                 truncated, get it again",
                self.line + lines(&self.buffer[..at])
            ),
            None => "; check that this is the right file and format".to_owned(),
        };
        Error::data(format!("{}: line {line}: the record that begins here {what}{quote}", self.name))
    }
}

/// Finds where records end, with the same idea of quotes as the parser: one opens at the beginning of a field only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner {
    pub(super) delimiter: Option<u8>,
}

/// Where a scan stopped for want of bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Resume {
    at: usize,
    /// The quote that is open there.
    quote: Option<usize>,
}

impl Scanner {
    /// The records of a block, each with its line end.
    pub(super) fn records(self, block: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let end = self.record_end(block, start, &mut Resume::default(), true)?;
            let record = &block[start..end];
            start = end;
            Some(record)
        })
    }

    /// The end of the record that begins at `start`, after its line end. `last` says that no bytes follow `text`.
    fn record_end(self, text: &[u8], start: usize, resume: &mut Resume, last: bool) -> Option<usize> {
        resume.at = resume.at.max(start);
        let Some(delimiter) = self.delimiter else {
            let found = memchr(b'\n', &text[resume.at..]).map(|at| resume.at + at + 1);
            resume.at = found.unwrap_or(text.len());
            return found;
        };
        loop {
            let rest = &text[resume.at..];
            if resume.quote.is_some() {
                let Some(at) = memchr(b'"', rest) else {
                    resume.at = text.len();
                    return None;
                };
                match rest.get(at + 1) {
                    Some(b'"') => resume.at += at + 2,
                    None if !last => {
                        // Whether this one closes is for the next byte to say.
                        resume.at += at;
                        return None;
                    }
                    _ => {
                        resume.at += at + 1;
                        resume.quote = None;
                    }
                }
            } else {
                let Some(at) = memchr3(b'"', b'\n', b'\r', rest) else {
                    resume.at = text.len();
                    return None;
                };
                let here = resume.at + at;
                match (text[here], text.get(here + 1)) {
                    (b'\r', Some(b'\n')) => return Some(here + 2),
                    (b'\r', None) if !last => {
                        resume.at = here;
                        return None;
                    }
                    (b'\r' | b'\n', _) => return Some(here + 1),
                    _ => resume.at = here + 1,
                }
                let before = here.checked_sub(1).filter(|before| *before >= start).map(|before| text[before]);
                if before.is_none_or(|before| before == delimiter) {
                    resume.quote = Some(here);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &[u8], rows: usize, bytes: usize) -> Result<Vec<(u64, String)>> {
        /// Gives one byte a read, so that every boundary is met.
        struct Dribble<'a>(&'a [u8]);
        impl Read for Dribble<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let few = self.0.len().min(1).min(buffer.len());
                buffer[..few].copy_from_slice(&self.0[..few]);
                self.0 = &self.0[few..];
                Ok(few)
            }
        }
        let mut blocks = Blocks::new("t".into(), Dribble(text), Some(b','));
        let mut all = Vec::new();
        while let Some(block) = blocks.next(rows, bytes)? {
            all.push((block.line, String::from_utf8(block.bytes).unwrap()));
        }
        Ok(all)
    }

    fn texts(all: Vec<(u64, String)>) -> Vec<String> {
        all.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn records_are_cut_at_line_ends_outside_of_quotes() {
        let text = b"a,\"1\n2\"\"\n\",x\nb\n\n\"c\"\r\nd";
        let all = blocks(text, 1, usize::MAX).unwrap();
        assert_eq!(
            all,
            [
                (1, "a,\"1\n2\"\"\n\",x\n".to_owned()),
                (4, "b\n".to_owned()),
                (5, "\n".to_owned()),
                (6, "\"c\"\r\n".to_owned()),
                (7, "d\n".to_owned())
            ]
        );
        assert_eq!(
            texts(blocks(text, 2, usize::MAX).unwrap()).concat(),
            format!("{}\n", str::from_utf8(text).unwrap())
        );
        assert_eq!(texts(blocks(b"1\n2\n3\n", 9, 3).unwrap()), ["1\n2\n", "3\n"]);
    }

    #[test]
    fn a_quote_inside_of_a_field_is_a_letter() {
        assert_eq!(texts(blocks(b"5\" pipe,x\ny\n", 1, 99).unwrap()), ["5\" pipe,x\n", "y\n"]);
        assert_eq!(texts(blocks(b"a\r\"b\r\"\r\r\nc", 1, 99).unwrap()), ["a\r", "\"b\r\"\r", "\r\n", "c\n"]);
        assert_eq!(texts(blocks(b"\"a\"b\"\nc\n", 1, 99).unwrap()), ["\"a\"b\"\n", "c\n"]);
    }

    #[test]
    fn a_quote_left_open_names_its_line() {
        let error = blocks(b"a\nb,\"c\nd\n", 1, 99).unwrap_err().to_string();
        assert!(
            error.starts_with("t: line 2: the record that begins here is never ended; a quote is open since line 2"),
            "{error}"
        );
        assert_eq!(texts(blocks(b"a\n\"c\"", 1, 99).unwrap()), ["a\n", "\"c\"\n"]);
    }

    #[test]
    fn a_mark_at_the_beginning_is_no_text() {
        assert_eq!(texts(blocks(b"\xef\xbb\xbfa\n", 1, 99).unwrap()), ["a\n"]);
        assert!(blocks(b"\xff\xfea\0", 1, 99).unwrap_err().to_string().contains("iconv"));
        assert!(blocks(b"", 1, 99).unwrap().is_empty());
    }
}
