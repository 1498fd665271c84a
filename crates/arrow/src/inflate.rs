//! How far a message may inflate, and the inflating (C10).

use std::io::Read;

use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::CompressionType;

use crate::error::{Error, Result};

/// What a [`Decoder`](crate::Decoder) accepts from a peer (C10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many times its own size a message may inflate to. 16 by default.
    ///
    /// What counts is the size of its buffers, inflated where they are compressed; a bit for every row of every column,
    /// since Null and run-end encoded columns have rows without having bytes; and what joining deltas to a dictionary
    /// copies.
    pub inflate_ratio: usize,
    /// What any message may inflate to, however small it is, in bytes. 64 MiB by default.
    pub inflate_floor: usize,
    /// How many bytes of dictionaries a stream may leave behind for its later messages. 256 MiB by default.
    pub dictionary_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { inflate_ratio: 16, inflate_floor: 64 << 20, dictionary_bytes: 256 << 20 }
    }
}

/// What is left of a message's allowance. Charged with claims before anything is allocated on them.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    left: usize,
    message: usize,
}

impl Budget {
    pub(crate) fn new(limits: &Limits, message: usize) -> Self {
        let limit = message.saturating_mul(limits.inflate_ratio).max(limits.inflate_floor);
        Budget { limit, left: limit, message }
    }

    /// What may still be charged.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Takes `bytes` off the allowance.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            Error::inflates(format!(
                "a message of {} bytes claims to inflate beyond {} bytes; send smaller batches or raise the limit",
                self.message, self.limit
            ))
        })?;
        Ok(())
    }
}

const PREFIX: usize = 8;

/// Inflates the buffers of one body.
pub(crate) struct Inflater {
    codec: CompressionType,
    /// Made at the first buffer that needs it.
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Inflater {
    pub(crate) fn new(codec: CompressionType) -> Result<Self> {
        match codec {
            CompressionType::LZ4_FRAME | CompressionType::ZSTD => Ok(Inflater { codec, zstd: None }),
            other => Err(Error::unsupported(format!("bodies compressed with {other:?}; LZ4 and ZSTD are read"))),
        }
    }

    /// Inflates one buffer: its size inflated as an i64, then the compressed bytes; -1 says that they are not.
    pub(crate) fn inflate(&mut self, packed: Buffer, budget: &mut Budget) -> Result<Buffer> {
        if packed.is_empty() {
            return Ok(packed);
        }
        let Some((claim, bytes)) = packed.split_first_chunk::<PREFIX>() else {
            return Err(Error::malformed(format!("a compressed buffer of {} bytes lacks its size", packed.len())));
        };
        let size = match i64::from_le_bytes(*claim) {
            -1 => {
                budget.charge(bytes.len())?;
                return Ok(packed.slice(PREFIX));
            }
            claim => usize::try_from(claim)
                .map_err(|_| Error::malformed(format!("a compressed buffer claims a size of {claim} bytes")))?,
        };
        budget.charge(size)?;
        let mut out = MutableBuffer::from_len_zeroed(size);
        let written = match self.codec {
            CompressionType::LZ4_FRAME => inflate_lz4(bytes, &mut out),
            _ => self.inflate_zstd(bytes, &mut out),
        };
        match written {
            Ok(written) if written == size => Ok(out.into()),
            Ok(written) => {
                Err(Error::malformed(format!("a compressed buffer claims {size} bytes and inflates to {written}")))
            }
            Err(error) => Err(Error::malformed(format!(
                "a buffer does not inflate to the {size} bytes that it claims ({:?}): {error}",
                self.codec
            ))),
        }
    }

    fn inflate_zstd(&mut self, bytes: &[u8], out: &mut [u8]) -> std::io::Result<usize> {
        if self.zstd.is_none() {
            self.zstd = Some(zstd::bulk::Decompressor::new()?);
        }
        self.zstd.as_mut().expect("made above").decompress_to_buffer(bytes, out)
    }
}

/// Fills `out` and makes sure that there is no more.
fn inflate_lz4(bytes: &[u8], out: &mut [u8]) -> std::io::Result<usize> {
    let mut decoder = lz4_flex::frame::FrameDecoder::new(bytes);
    decoder.read_exact(out)?;
    let more = decoder.read(&mut [0])?;
    Ok(out.len() + more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    /// C10: a claim is refused before memory is taken for it.
    #[test]
    fn refuses_a_huge_claim_before_allocating() {
        let limits = Limits { inflate_floor: 1000, ..Limits::default() };
        let mut packed = i64::MAX.to_le_bytes().to_vec();
        packed.push(0);
        for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
            let mut budget = Budget::new(&limits, packed.len());
            let error = Inflater::new(codec).unwrap().inflate(packed.clone().into(), &mut budget).unwrap_err();
            assert_eq!((error.kind(), error.condition()), (Kind::TooLarge, "ARROW_DATA_INFLATES_TOO_FAR"));
        }
    }

    /// C10: what inflates to more or less than it claims is refused, and never written beyond the claim.
    #[test]
    fn refuses_a_lie_about_the_size() {
        let honest = vec![7u8; 5000];
        let lz4 = {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            std::io::Write::write_all(&mut encoder, &honest).unwrap();
            encoder.finish().unwrap()
        };
        let zstd = zstd::bulk::compress(&honest, 1).unwrap();
        for (codec, bytes) in [(CompressionType::LZ4_FRAME, lz4), (CompressionType::ZSTD, zstd)] {
            for (claim, fine) in [(5000i64, true), (4999, false), (5001, false), (0, false), (-2, false)] {
                let packed = [&claim.to_le_bytes(), bytes.as_slice()].concat();
                let mut budget = Budget::new(&Limits::default(), packed.len());
                let inflated = Inflater::new(codec).unwrap().inflate(packed.into(), &mut budget);
                assert_eq!(inflated.is_ok(), fine, "{codec:?} claiming {claim}: {inflated:?}");
            }
        }
    }
}
