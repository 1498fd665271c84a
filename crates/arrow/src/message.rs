//! Encapsulated messages: a marker, a length, a flatbuffer and a body.
//!
//! ```text
//! FF FF FF FF | length of what follows, i32 | Message flatbuffer, padded | body, bodyLength bytes
//! ```
//! Everything a length says is compared with the bytes that are really there before it is used (C10).

use arrow_ipc::{Message, MetadataVersion};
use bytes::Bytes;
use flatbuffers::VerifierOptions;

use crate::error::{Error, Result};

/// Body buffers start at multiples of this, counted from the start of the message: the most that Arrow recommends and
/// more than any of its types needs.
pub const ALIGNMENT: usize = 64;

const CONTINUATION: [u8; 4] = [0xff; 4];
const PREFIX: usize = 8;

/// A message without a flatbuffer: nothing follows it.
pub(crate) const END_OF_STREAM: [u8; PREFIX] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// What is next in a run of messages.
pub(crate) enum Next {
    /// A message: its flatbuffer, not yet verified. Its body follows in the input.
    Metadata(Bytes),
    /// The end-of-stream marker, or nothing more.
    End,
}

/// Takes the next message's flatbuffer off the front of `input`.
pub(crate) fn next(input: &mut Bytes) -> Result<Next> {
    if input.is_empty() {
        return Ok(Next::End);
    }
    if input.len() < PREFIX || input[..4] != CONTINUATION {
        return Err(Error::malformed(format!(
            "no Arrow IPC message starts here: expected the marker FF FF FF FF and a length, found {:02x?} and {} bytes in all; \
             framing from before Arrow 0.15 is not read",
            &input[..input.len().min(4)],
            input.len(),
        )));
    }
    let length = i32::from_le_bytes(input[4..PREFIX].try_into().expect("four bytes"));
    let available = input.len() - PREFIX;
    let length = usize::try_from(length).ok().filter(|length| *length <= available).ok_or_else(|| {
        Error::malformed(format!("a message header claims {length} bytes of metadata, {available} are there"))
    })?;
    if length == 0 {
        if available != 0 {
            return Err(Error::malformed(format!("{available} bytes follow the end-of-stream marker")));
        }
        input.clear();
        return Ok(Next::End);
    }
    let metadata = input.slice(PREFIX..PREFIX + length);
    *input = input.slice(PREFIX + length..);
    Ok(Next::Metadata(metadata))
}

/// Verifies the flatbuffer of a message, so that reading it cannot leave it.
///
/// Tables may be shared inside a flatbuffer, so a small one can unfold into a huge tree; the number of tables and the
/// unfolded size are held to what an honest writer of that many bytes could need.
pub(crate) fn verify(metadata: &Bytes) -> Result<Message<'_>> {
    let options = VerifierOptions {
        max_depth: 128,
        max_tables: metadata.len() / 4 + 16,
        max_apparent_size: metadata.len().saturating_mul(16).saturating_add(4096),
        ignore_missing_null_terminator: true,
    };
    let message = arrow_ipc::root_as_message_with_opts(&options, metadata).map_err(|error| {
        let text = error.to_string();
        Error::malformed(format!(
            "the message's flatbuffer is broken: {}",
            text.lines().map(str::trim).collect::<Vec<_>>().join(", ")
        ))
    })?;
    if !matches!(message.version(), MetadataVersion::V4 | MetadataVersion::V5) {
        return Err(Error::unsupported(format!(
            "metadata version {:?}; versions 4 and 5 (Arrow 0.8 and later) are read",
            message.version()
        )));
    }
    Ok(message)
}

/// Takes the body that belongs to `message` off the front of `input`.
pub(crate) fn take_body(message: &Message<'_>, input: &mut Bytes) -> Result<Bytes> {
    let length = message.bodyLength();
    match usize::try_from(length) {
        Ok(length) if length <= input.len() => Ok(input.split_to(length)),
        _ => Err(Error::malformed(format!("a message claims a body of {length} bytes, {} are there", input.len()))),
    }
}

/// Appends marker, length and flatbuffer, padded so that a body may follow at a multiple of [`ALIGNMENT`].
pub(crate) fn put_header(flatbuffer: &[u8], out: &mut Vec<u8>) {
    let length = padded(PREFIX + flatbuffer.len()) - PREFIX;
    out.reserve(PREFIX + length);
    out.extend_from_slice(&CONTINUATION);
    let wire = i32::try_from(length).expect("metadata is far smaller than 2 GiB");
    out.extend_from_slice(&wire.to_le_bytes());
    out.extend_from_slice(flatbuffer);
    out.resize(out.len() + length - flatbuffer.len(), 0);
}

/// Pads the header of a message further, so that its body is at a multiple of [`ALIGNMENT`] when the message is `lead`
/// bytes behind one. Without effect for a lead that is no multiple of 8, as the format wants all padding to be.
pub(crate) fn put_behind(lead: usize, header: &mut Vec<u8>) {
    if !lead.is_multiple_of(8) {
        return;
    }
    let padded = padded(lead + header.len()) - lead;
    let length = u32::try_from(padded - PREFIX).expect("metadata is far smaller than 2 GiB");
    header.resize(padded, 0);
    header[CONTINUATION.len()..PREFIX].copy_from_slice(&length.to_le_bytes());
}

/// `length` rounded up to [`ALIGNMENT`].
pub(crate) const fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}
