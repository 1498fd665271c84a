//! Putting a function's payload together, and proving that it is the one that was sent (R3).

use bytes::{Bytes, BytesMut};

use crate::error::ExecutionError;
use crate::wire;

/// How large a payload may be unless told otherwise: 1 GiB.
pub const DEFAULT_PAYLOAD_LIMIT: usize = 1 << 30;

/// A payload whose size and checksum hold. Only [`PayloadAssembly`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPayload(Bytes);

impl VerifiedPayload {
    /// The payload.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The payload, taken out.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// Why a payload is refused (R3). Becomes a ProtocolError.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// `payload_size` and what arrived differ.
    #[error("the payload has {actual} bytes but payload_size says {declared} (R3)")]
    Size {
        /// What `payload_size` said.
        declared: i64,
        /// What has arrived; when it is more than declared, more may follow.
        actual: u64,
    },
    /// `payload_crc32` and what arrived differ.
    #[error("the payload's CRC-32 is {actual:#010x} but payload_crc32 says {declared:#010x} (R3)")]
    Checksum {
        /// What `payload_crc32` said.
        declared: u32,
        /// What was computed.
        actual: u32,
    },
    /// More than this worker takes.
    #[error("the payload has {size} bytes or more, this worker takes {limit} (R3)")]
    TooLarge {
        /// What was declared or has arrived.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

impl From<PayloadError> for ExecutionError {
    fn from(error: PayloadError) -> Self {
        let condition = match error {
            PayloadError::Size { .. } => "PAYLOAD_SIZE_MISMATCH",
            PayloadError::Checksum { .. } => "PAYLOAD_CHECKSUM_MISMATCH",
            PayloadError::TooLarge { .. } => "PAYLOAD_TOO_LARGE",
        };
        ExecutionError::protocol(condition, error)
    }
}

/// A payload under way: `Init.udf.payload`, then every chunk in order (R3).
///
/// Memory follows what has arrived, never what was claimed. A payload that came in one piece is not copied.
///
/// ```
/// use anyudf_protocol::{PayloadAssembly, wire::UdfPayload};
///
/// let udf = UdfPayload { payload: "ab".into(), payload_size: Some(3), ..Default::default() };
/// let mut assembly = PayloadAssembly::new(&udf, 1 << 20)?;
/// assembly.push("c".into())?;
/// assert_eq!(assembly.verify()?.bytes(), "abc");
/// # Ok::<(), anyudf_protocol::PayloadError>(())
/// ```
#[derive(Debug)]
pub struct PayloadAssembly {
    pieces: Pieces,
    declared_size: Option<i64>,
    declared_crc32: Option<u32>,
    crc32: crc32fast::Hasher,
    limit: u64,
}

#[derive(Debug)]
enum Pieces {
    One(Bytes),
    Many(BytesMut),
}

impl Pieces {
    fn len(&self) -> usize {
        match self {
            Pieces::One(bytes) => bytes.len(),
            Pieces::Many(bytes) => bytes.len(),
        }
    }
}

impl PayloadAssembly {
    /// Begins with what the Init carries; `limit` is in bytes.
    ///
    /// # Errors
    /// [`PayloadError`] when the declared size is over the limit or what has come is already too much.
    pub fn new(udf: &wire::UdfPayload, limit: usize) -> Result<Self, PayloadError> {
        let mut assembly = PayloadAssembly {
            pieces: Pieces::One(Bytes::new()),
            declared_size: udf.payload_size,
            declared_crc32: udf.payload_crc32,
            crc32: crc32fast::Hasher::new(),
            limit: limit as u64,
        };
        if let Some(declared) = udf.payload_size {
            match u64::try_from(declared) {
                Err(_) => return Err(PayloadError::Size { declared, actual: udf.payload.len() as u64 }),
                Ok(size) if size > assembly.limit => {
                    return Err(PayloadError::TooLarge { size, limit: assembly.limit });
                }
                Ok(_) => {}
            }
        }
        assembly.push(udf.payload.clone())?;
        Ok(assembly)
    }

    /// Adds the next chunk.
    ///
    /// # Errors
    /// [`PayloadError`] as soon as there is more than was declared or allowed, without waiting for the rest.
    pub fn push(&mut self, piece: Bytes) -> Result<(), PayloadError> {
        let actual = self.pieces.len() as u64 + piece.len() as u64;
        if actual > self.limit {
            return Err(PayloadError::TooLarge { size: actual, limit: self.limit });
        }
        if let Some(declared) = self.declared_size.filter(|&declared| actual > declared as u64) {
            return Err(PayloadError::Size { declared, actual });
        }
        if self.declared_crc32.is_some() {
            self.crc32.update(&piece);
        }
        match &mut self.pieces {
            _ if piece.is_empty() => {}
            Pieces::One(first) if first.is_empty() => *first = piece,
            Pieces::One(first) => {
                let mut all = BytesMut::with_capacity(first.len() + piece.len());
                all.extend_from_slice(first);
                all.extend_from_slice(&piece);
                self.pieces = Pieces::Many(all);
            }
            Pieces::Many(all) => all.extend_from_slice(&piece),
        }
        Ok(())
    }

    /// The whole payload, after the last chunk.
    ///
    /// # Errors
    /// [`PayloadError`] when the size or the checksum is not the declared one.
    pub fn verify(self) -> Result<VerifiedPayload, PayloadError> {
        let actual = self.pieces.len() as u64;
        if let Some(declared) = self.declared_size.filter(|&declared| declared as u64 != actual) {
            return Err(PayloadError::Size { declared, actual });
        }
        if let Some(declared) = self.declared_crc32 {
            let actual = self.crc32.finalize();
            if declared != actual {
                return Err(PayloadError::Checksum { declared, actual });
            }
        }
        Ok(VerifiedPayload(match self.pieces {
            Pieces::One(bytes) => bytes,
            Pieces::Many(bytes) => bytes.freeze(),
        }))
    }
}
