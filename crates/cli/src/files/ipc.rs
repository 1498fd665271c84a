//! Reading Arrow IPC, message by message. A file is read as the stream that it contains, front to end, which works on
//! pipes and needs no more memory than one batch.

use std::io::Read;

use anyudf_arrow::{Decoder, Limits};
use arrow::array::RecordBatch;
use arrow::ipc::root_as_message;
use bytes::Bytes;

use super::error::{Error, Result, plain};
use super::format::Format;
use super::input::{Columns, Opened};
use super::source::{Sequential, Source};

const CONTINUATION: [u8; 4] = [0xff; 4];
/// What a file begins with, and ends with.
const MAGIC: &[u8] = b"ARROW1";
/// The first message of a file follows the magic and zeros: up to a multiple of eight bytes, or of this.
const PADDING: u64 = 64;
/// The most that is allocated on a mere claim; beyond it memory grows with the bytes that really come.
const TRUSTED: u64 = 1 << 20;
/// A message this large would not be read by Arrow's other implementations either.
const MAX_MESSAGE: u64 = 1 << 31;

/// Opens an Arrow IPC file or stream.
pub(super) fn open(source: Source, format: Format, columns: &Columns) -> Result<Opened> {
    let mut messages = Messages {
        name: source.name().to_owned(),
        left: source.size(),
        reader: source.into_reader(),
        at: 0,
        file: format == Format::ArrowFile,
    };
    if messages.file {
        messages.extend(&mut Vec::new(), 8)?;
    }
    // A file is as large as its owner lets it be; the limits are for what a few bytes could claim to inflate to.
    let limits = Limits { inflate_ratio: 1024, inflate_floor: 1 << 30, dictionary_bytes: 1 << 31 };
    let mut decoder = Decoder::learning(limits);
    let Some(first) = messages.next()? else {
        return Err(messages.broken("it ends before its schema"));
    };
    decoder.decode(first).map_err(|cause| messages.malformed(&cause))?;
    let schema = decoder.schema().cloned().ok_or_else(|| messages.broken("it does not begin with a schema"))?;
    let indices = columns.of(&messages.name, &schema)?;
    let schema = match &indices {
        Some(indices) => schema.project(indices).expect("indices of this schema").into(),
        None => schema,
    };
    Ok(Opened {
        schema,
        rows: None,
        batches: Box::new(Batches { messages, decoder, indices, pending: Vec::new().into_iter() }),
    })
}

struct Batches {
    messages: Messages,
    decoder: Decoder,
    indices: Option<Vec<usize>>,
    pending: std::vec::IntoIter<RecordBatch>,
}

impl Batches {
    fn advance(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.pending.next() {
                let batch = match &self.indices {
                    Some(indices) => batch.project(indices).expect("indices of its schema"),
                    None => batch,
                };
                return Ok(Some(batch));
            }
            let Some(message) = self.messages.next()? else {
                return Ok(None);
            };
            let batches = self.decoder.decode(message).map_err(|cause| self.messages.malformed(&cause))?;
            self.pending = batches.into_iter();
        }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// The encapsulated messages of a file or stream. What is in them is the [`Decoder`]'s matter.
struct Messages {
    name: String,
    reader: Sequential,
    /// Bytes not read yet, for a regular file.
    left: Option<u64>,
    /// Bytes read.
    at: u64,
    file: bool,
}

impl Messages {
    /// The next message, whole, or `None` at the end.
    fn next(&mut self) -> Result<Option<Bytes>> {
        let mut message = Vec::new();
        match self.append(&mut message, 8)? {
            8 => {}
            // A stream may end without a marker, a file may not.
            0 if !self.file => return Ok(None),
            _ => return Err(self.truncated()),
        }
        while self.file && self.at <= PADDING && message == [0; 8] {
            message.clear();
            self.extend(&mut message, 8)?;
        }
        if message[..4] != CONTINUATION {
            return Err(self.broken("no message begins here (framing from before Arrow 0.15 is not read)"));
        }
        let length = i32::from_le_bytes(message[4..8].try_into().expect("four bytes"));
        if length == 0 {
            return self.end().map(|()| None);
        }
        let metadata = u64::try_from(length).map_err(|_| self.broken("a message claims a negative length"))?;
        self.extend(&mut message, metadata)?;
        let header = root_as_message(&message[8..])
            .map_err(|cause| self.broken(&format!("a message's header is damaged ({})", one_line(&cause))))?;
        let body = u64::try_from(header.bodyLength()).ok().filter(|body| *body < MAX_MESSAGE);
        let body = body.ok_or_else(|| self.broken("a message claims an impossible length"))?;
        self.extend(&mut message, body)?;
        Ok(Some(message.into()))
    }

    /// After the end-of-stream marker: a file goes on with its footer, a stream ends.
    fn end(&mut self) -> Result<()> {
        if !self.file {
            return Ok(());
        }
        let mut rest = Vec::new();
        self.append(&mut rest, MAX_MESSAGE)?;
        if rest.ends_with(MAGIC) { Ok(()) } else { Err(self.truncated()) }
    }

    fn extend(&mut self, message: &mut Vec<u8>, bytes: u64) -> Result<()> {
        if self.append(message, bytes)? == bytes { Ok(()) } else { Err(self.truncated()) }
    }

    /// Reads `bytes` more, or as many as there are.
    fn append(&mut self, message: &mut Vec<u8>, bytes: u64) -> Result<u64> {
        let trusted = bytes.min(self.left.unwrap_or(0).max(TRUSTED));
        message.reserve_exact(trusted as usize);
        let read = (&mut self.reader).take(bytes).read_to_end(message);
        let read = read.map_err(|cause| Error::reading(&self.name, cause))? as u64;
        self.at += read;
        self.left = self.left.map(|left| left.saturating_sub(read));
        Ok(read)
    }

    fn truncated(&self) -> Error {
        self.broken("it ends in the middle of a message or without its footer")
    }

    fn malformed(&self, cause: &anyudf_arrow::Error) -> Error {
        self.broken(&plain(&cause.to_string()))
    }

    fn broken(&self, what: &str) -> Error {
        let format = if self.file { "file" } else { "stream" };
        Error::data(format!(
            "{}: the Arrow {format} cannot be read at byte {}: {what}; it is truncated or damaged, so get it again",
            self.name, self.at
        ))
    }
}

fn one_line(cause: &impl ToString) -> String {
    let text = cause.to_string();
    text.lines().next().map(plain).unwrap_or_default()
}
