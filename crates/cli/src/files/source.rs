//! Where input bytes come from: a file, a pipe, standard input; read in order or, for Parquet, from anywhere.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::Bytes;

use super::error::{Error, Result, spell};

/// How many first bytes are looked at to tell the format.
const HEAD: u64 = 8;

/// Bytes read so far, counted where they are read and looked at by whoever shows progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Counter {
    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An input that is open, and of which no more than the first bytes were read.
pub(super) struct Source {
    name: String,
    head: Vec<u8>,
    file: File,
    size: Option<u64>,
    counter: Counter,
}

impl Source {
    /// Opens a path, or standard input for `-`.
    pub(super) fn open(path: &Path) -> Result<Source> {
        if path == Path::new("-") {
            let name = "standard input";
            let file = io::stdin().as_fd().try_clone_to_owned().map_err(|cause| Error::reading(name, cause))?;
            return Source::new(name.into(), file.into());
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|cause| Error::opening(&name, cause))?;
        Source::new(name, file)
    }

    fn new(name: String, mut file: File) -> Result<Source> {
        let reading = |cause| Error::reading(&name, cause);
        let metadata = file.metadata().map_err(reading)?;
        if metadata.is_dir() {
            return Err(Error::usage(format!("{name}: is a directory; give one of the files in it")));
        }
        // Standard input may be a file that somebody has begun to read; what is left of it is then read like a pipe.
        let size = (metadata.is_file() && file.stream_position().is_ok_and(|at| at == 0)).then_some(metadata.len());
        let mut head = Vec::new();
        (&mut file).take(HEAD).read_to_end(&mut head).map_err(reading)?;
        Ok(Source { name, head, file, size, counter: Counter::default() })
    }

    /// How errors call it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The first bytes, fewer than eight only if there are no more.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The number of bytes in all, where that is known beforehand: not for a pipe.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    pub(super) fn counter(&self) -> Counter {
        self.counter.clone()
    }

    /// All bytes, the first ones too, from the front to the end.
    pub(super) fn into_reader(self) -> Sequential {
        Sequential { bytes: Cursor::new(self.head).chain(self.file), counter: self.counter }
    }

    /// The bytes in any order. A pipe is first copied to an unnamed file in the directory for temporary ones.
    pub(super) fn into_chunks(self) -> Result<Chunks> {
        if let Some(size) = self.size {
            return Ok(Chunks { file: Arc::new(self.file), size, counter: self.counter });
        }
        let name = self.name;
        let mut copy = tempfile::tempfile().map_err(|cause| spooling(&name, cause))?;
        let mut bytes = Cursor::new(self.head).chain(self.file);
        let size = io::copy(&mut bytes, &mut copy).map_err(|cause| spooling(&name, cause))?;
        Ok(Chunks { file: Arc::new(copy), size, counter: self.counter })
    }
}

fn spooling(name: &str, cause: io::Error) -> Error {
    Error::data(format!(
        "{name}: Parquet begins at its end, so a pipe is copied to {} first, which failed: {}; try a file, or TMPDIR \
         somewhere with more room",
        std::env::temp_dir().display(),
        spell(&cause)
    ))
}

/// A source read from the front to the end.
pub(super) struct Sequential {
    bytes: io::Chain<Cursor<Vec<u8>>, File>,
    counter: Counter,
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.counter.add(read);
        Ok(read)
    }
}

/// A source read in any order, as Parquet needs.
pub(super) struct Chunks {
    file: Arc<File>,
    size: u64,
    counter: Counter,
}

impl Chunks {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn at(&self, start: u64) -> At {
        At { file: Arc::clone(&self.file), offset: start, counter: self.counter.clone() }
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Chunks {
    type T = io::BufReader<At>;

    fn get_read(&self, start: u64) -> ::parquet::errors::Result<Self::T> {
        Ok(io::BufReader::new(self.at(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ::parquet::errors::Result<Bytes> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.size);
        if end.is_none() {
            // Before anything is allocated for it: the metadata may claim what it likes.
            return Err(ParquetError::EOF(format!(
                "bytes {start} to {} are referred to, the file ends at {}",
                start.saturating_add(length as u64),
                self.size
            )));
        }
        let mut buffer = vec![0; length];
        self.at(start).read_exact(&mut buffer)?;
        Ok(buffer.into())
    }
}

/// Reads on from an offset without moving anybody else's.
pub(super) struct At {
    file: Arc<File>,
    offset: u64,
    counter: Counter,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        self.counter.add(read);
        Ok(read)
    }
}
