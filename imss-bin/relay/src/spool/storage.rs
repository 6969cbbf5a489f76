//! The few operations by which the journal changes the disk, behind a trait, so that tests can make
//! each of them fail.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FallocateFlags;

/// Where segments are written.
pub trait Storage: Debug + Send + Sync + 'static {
    /// Makes a new file for a segment.
    ///
    /// # Errors
    ///
    /// As the file system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Writable>>;

    /// Makes entries of a folder durable.
    ///
    /// # Errors
    ///
    /// As the file system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a file that occupies `bytes` octets.
    ///
    /// # Errors
    ///
    /// As the file system says; [`io::ErrorKind::StorageFull`] if there is no such space.
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()>;
}

/// A segment that is being written.
pub trait Writable: Debug + Send {
    /// Writes the first octets of `slices` at `offset`; returns how many.
    ///
    /// # Errors
    ///
    /// As the file system says.
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Makes everything written durable.
    ///
    /// # Errors
    ///
    /// After an error nobody knows what is on the disk.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file.
    ///
    /// # Errors
    ///
    /// As the file system says.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// The file, for reading.
    fn file(&self) -> Arc<File>;
}

/// The real disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

#[derive(Debug)]
struct DiskFile(Arc<File>);

impl Storage for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Writable>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(DiskFile(Arc::new(file))))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() == bytes {
            return Ok(());
        }
        let allocated = match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOSYS) => fill(&mut file, bytes),
            other => other.map_err(io::Error::from),
        };
        if allocated.is_err() {
            std::fs::remove_file(path)?;
        }
        allocated
    }
}

impl Writable for DiskFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&*self.0, slices, offset)?)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn file(&self) -> Arc<File> {
        Arc::clone(&self.0)
    }
}

/// For file systems that cannot allocate: writes the octets.
fn fill(file: &mut File, bytes: u64) -> io::Result<()> {
    let block = vec![0_u8; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(block.get(..length).unwrap_or_default())?;
        left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(())
}
