//! The record of a clean-up that is owed (D3): what somebody else must run if the engine no longer can.
//!
//! It is a shell script, because a shell is what runs it: the watchdog, which has neither this program nor a parser at
//! hand. Its first line is `# anyudf clean-up VERSION SECONDS`, and SECONDS is how long it may run. It holds secrets: it
//! has mode 0600 in a directory of mode 0700, and is gone with the debt (D13).

use std::env;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, openat};
use rustix::process::geteuid;

use crate::launcher::WorkerCommand;

/// The record's name in the private directory, and the one under which it is written before it is whole.
pub(super) const RECORD: &str = "clean-up";
pub(super) const UNFINISHED: &str = "clean-up.new";

/// What the first line says before the seconds. Another version may mean anything, and is not run.
const TITLE: &str = "# anyudf clean-up 1 ";

/// A clean-up that is owed, as a script. It has no `Debug`: all of it may be secret (D13).
pub(crate) struct Debt {
    script: Vec<u8>,
}

impl Debt {
    /// To run `command`, for `limit` at most, as this process would run it now: a relative path is one from where this
    /// process works.
    ///
    /// # Errors
    /// When this process has no working directory.
    pub(crate) fn new(command: &WorkerCommand, limit: Duration) -> io::Result<Self> {
        let seconds = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
        let directory = match &command.directory {
            Some(directory) => std::path::absolute(directory)?,
            None => env::current_dir()?,
        };
        let mut script = format!("{TITLE}{}\ncd ", seconds.max(1)).into_bytes();
        quote(&mut script, directory.as_os_str());
        script.extend_from_slice(b" || exit 126\n");
        for (name, value) in &command.environment {
            // `command`, so that a name which the shell keeps for itself, as bash does UID, does not end it.
            script.extend_from_slice(b"command export ");
            script.extend_from_slice(name.as_bytes());
            script.push(b'=');
            quote(&mut script, value);
            script.push(b'\n');
        }
        script.extend_from_slice(b"exec ");
        quote(&mut script, command.absolute_program()?.as_os_str());
        for argument in &command.arguments {
            script.push(b' ');
            quote(&mut script, argument);
        }
        script.push(b'\n');
        Ok(Debt { script })
    }

    /// Writes it into `directory`: there is all of it or nothing.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let unfinished = directory.join(UNFINISHED);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = file.write_all(&self.script).and_then(|()| fs::rename(&unfinished, directory.join(RECORD)));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written
    }
}

/// Whether a shell can give a process a variable of this name.
pub(crate) fn shell_can_set(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.first().is_some_and(|first| !first.is_ascii_digit())
        && name.iter().all(|&byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// A word that a shell takes as it is.
fn quote(script: &mut Vec<u8>, word: &OsStr) {
    script.push(b'\'');
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => script.extend_from_slice(br"'\''"),
            other => script.push(other),
        }
    }
    script.push(b'\'');
}

/// What a dead engine's directory says of its debt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// Nothing.
    Nothing,
    /// A clean-up that we can run.
    CleanUp,
    /// A record that is not ours to run: of another version, or not made by an engine of ours.
    Unknown,
}

/// Reads the first line of the record in `directory`, without trusting what is there.
pub(super) fn read(directory: impl AsFd) -> io::Result<Owed> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let record = match openat(directory, RECORD, flags, Mode::empty()) {
        Ok(record) => fs::File::from(record),
        Err(rustix::io::Errno::NOENT) => return Ok(Owed::Nothing),
        Err(rustix::io::Errno::LOOP) => return Ok(Owed::Unknown),
        Err(error) => return Err(error.into()),
    };
    let about = record.metadata()?;
    if !about.is_file() || about.uid() != geteuid().as_raw() || about.mode() & 0o077 != 0 {
        return Ok(Owed::Unknown);
    }
    let mut start = Vec::new();
    record.take(64).read_to_end(&mut start)?;
    let seconds = start.strip_prefix(TITLE.as_bytes()).and_then(|rest| rest.split(|&byte| byte == b'\n').next());
    let whole = seconds.is_some_and(|seconds| !seconds.is_empty() && seconds.iter().all(u8::is_ascii_digit));
    Ok(if whole { Owed::CleanUp } else { Owed::Unknown })
}
