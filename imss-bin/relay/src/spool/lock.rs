//! One process per spool: a lock that the kernel drops with its process, however that ends.
//!
//! In: the spool's folder. Out: a guard, or [`SpoolError::InUse`] with the other process's number.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::FlockOperation;

use super::SpoolError;

/// Holds the lock until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the spool in `dir`.
    ///
    /// # Errors
    ///
    /// - [`SpoolError::InUse`] if another process (or another queue of this one) has it.
    /// - [`SpoolError::Io`] if the lock file cannot be made.
    pub fn take(dir: &Path) -> Result<Self, SpoolError> {
        let path = dir.join("lock");
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = (&file).take(20).read_to_string(&mut text);
                let pid = text.trim();
                let known = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
                let pid = if known { pid.to_owned() } else { "?".to_owned() };
                return Err(SpoolError::InUse { path, pid });
            }
            Err(errno) => return Err(std::io::Error::from(errno).into()),
        }
        // The number only helps the reader of an error message: a full disk must not stop the start.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}
