//! Appends lines to one file a day, from a thread of its own.
//!
//! In: finished lines with their time. Out: `DIR/PREFIX-YYYY-MM-DD.jsonl` (UTC). Lines are written
//! as soon as the writer is idle, many at once under load. The mail log may not lose lines to haste:
//! when the disk cannot keep up, callers wait. When the disk refuses, the lines of that batch are
//! counted as lost and said so on standard error, because mail must go on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Lines that may wait for the disk before callers do.
const WAITING_LINES: usize = 16_384;
/// Octets gathered into one write.
const BATCH_BYTES: usize = 256 << 10;

enum Order {
    Line { unix_millis: u64, line: Vec<u8> },
    Sync(SyncSender<()>),
}

/// A log of lines with one file a day. Dropping it writes what is waiting.
#[derive(Debug)]
pub struct DailyLines {
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    lost: Arc<AtomicU64>,
}

impl DailyLines {
    /// Opens a log in `dir`, which is created if need be.
    ///
    /// # Errors
    ///
    /// The folder cannot be created, or the thread cannot be started.
    pub fn open(dir: &Path, prefix: &'static str) -> io::Result<Self> {
        Self::bounded(dir, prefix, u64::MAX)
    }

    /// The same; lines that would make a day's file longer than `max_bytes` are lost, and counted so.
    ///
    /// # Errors
    ///
    /// As [`DailyLines::open`].
    pub fn bounded(dir: &Path, prefix: &'static str, max_bytes: u64) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (sender, receiver) = sync_channel(WAITING_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let (dir, told) = (dir.to_owned(), Arc::clone(&lost));
        let writer = Writer { dir, prefix, max_bytes, file: None, full: None, lost: told };
        let thread = std::thread::Builder::new()
            .name(format!("log-{prefix}"))
            .spawn(move || writer.run(&receiver))?;
        Ok(Self { orders: Some(sender), thread: Some(thread), lost })
    }

    /// Hands over one line, without its line end.
    pub fn append(&self, unix_millis: u64, line: Vec<u8>) {
        let sent = self.orders.as_ref().map(|to| to.send(Order::Line { unix_millis, line }));
        if !matches!(sent, Some(Ok(()))) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns once every line handed over before is in its file.
    pub fn sync(&self) {
        let (done, wait) = sync_channel(1);
        if let Some(Ok(())) = self.orders.as_ref().map(|to| to.send(Order::Sync(done))) {
            let _ = wait.recv();
        }
    }

    /// Lines that could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The file that holds the lines of a time.
    #[must_use]
    pub fn file_of(dir: &Path, prefix: &str, unix_millis: u64) -> PathBuf {
        dir.join(format!("{prefix}-{}.jsonl", day_of(unix_millis)))
    }
}

impl Drop for DailyLines {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn day_of(unix_millis: u64) -> Date {
    let millis = i64::try_from(unix_millis).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::UTC).date()
}

struct Writer {
    dir: PathBuf,
    prefix: &'static str,
    max_bytes: u64,
    file: Option<(Date, File)>,
    /// The day that was last said to be full.
    full: Option<Date>,
    lost: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut batch = Batch::default();
        while let Ok(order) = orders.recv() {
            let mut next = Some(order);
            while let Some(order) = next {
                self.take(order, &mut batch);
                next = (batch.bytes.len() < BATCH_BYTES).then(|| orders.try_recv().ok()).flatten();
            }
            self.write(&mut batch);
        }
    }

    fn take(&mut self, order: Order, batch: &mut Batch) {
        match order {
            Order::Line { unix_millis, line } => {
                let day = day_of(unix_millis);
                if batch.day != Some(day) {
                    self.write(batch);
                    batch.day = Some(day);
                }
                batch.bytes.extend_from_slice(&line);
                batch.bytes.push(b'\n');
                batch.lines = batch.lines.saturating_add(1);
            }
            Order::Sync(done) => {
                self.write(batch);
                let _ = done.send(());
            }
        }
    }

    fn write(&mut self, batch: &mut Batch) {
        let Some(day) = batch.day.filter(|_| !batch.bytes.is_empty()) else { return };
        let (length, max) = (u64::try_from(batch.bytes.len()).unwrap_or(u64::MAX), self.max_bytes);
        let written = self.file_for(day).and_then(|mut file| {
            // Without a bound nobody needs to know how long it is.
            if max < u64::MAX && file.metadata()?.len().saturating_add(length) > max {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
            file.write_all(&batch.bytes)
        });
        if let Err(error) = written {
            self.file = None;
            self.lost.fetch_add(batch.lines, Ordering::Relaxed);
            if self.is_news(day, error.kind()) {
                tracing::error!(log = self.prefix, lines = batch.lines, %error, "log lines lost");
            }
        }
        batch.bytes.clear();
        batch.lines = 0;
    }

    /// Whether an error is to be said: that a day is full is said once.
    fn is_news(&mut self, day: Date, kind: io::ErrorKind) -> bool {
        kind != io::ErrorKind::FileTooLarge || self.full.replace(day) != Some(day)
    }

    fn file_for(&mut self, day: Date) -> io::Result<&File> {
        if self.file.as_ref().is_none_or(|(open, _)| *open != day) {
            let path = self.dir.join(format!("{}-{day}.jsonl", self.prefix));
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            self.file = Some((day, file));
        }
        match &self.file {
            Some((_, file)) => Ok(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

#[derive(Default)]
struct Batch {
    day: Option<Date>,
    bytes: Vec<u8>,
    lines: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_has_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let log = DailyLines::open(dir.path(), "mail").unwrap();
        let late = 1_795_391_999_999; // 2026-11-22T23:59:59.999Z
        log.append(late, b"a".to_vec());
        log.append(late + 1, b"b".to_vec());
        log.append(late, b"c".to_vec());
        log.sync();
        let read =
            |millis| std::fs::read_to_string(DailyLines::file_of(dir.path(), "mail", millis));
        assert_eq!(read(late).unwrap(), "a\nc\n");
        assert_eq!(read(late + 1).unwrap(), "b\n");
        assert!(dir.path().join("mail-2026-11-22.jsonl").exists());
    }

    #[test]
    fn dropping_writes_what_waits() {
        let dir = tempfile::tempdir().unwrap();
        let log = DailyLines::open(dir.path(), "mail").unwrap();
        for _ in 0..1000 {
            log.append(0, b"line".to_vec());
        }
        drop(log);
        let text = std::fs::read_to_string(dir.path().join("mail-1970-01-01.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 1000);
    }

    #[test]
    fn a_day_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let log = DailyLines::bounded(dir.path(), "mail", 10).unwrap();
        for _ in 0..4 {
            log.append(0, b"line".to_vec());
            log.sync();
        }
        assert_eq!(log.lost(), 2);
        let text = std::fs::read_to_string(dir.path().join("mail-1970-01-01.jsonl")).unwrap();
        assert_eq!(text, "line\nline\n");
    }

    #[test]
    fn a_full_day_is_said_once() {
        let lost = Arc::new(AtomicU64::new(0));
        let (dir, prefix) = (PathBuf::new(), "mail");
        let mut writer = Writer { dir, prefix, max_bytes: 10, file: None, full: None, lost };
        let (full, other) = (io::ErrorKind::FileTooLarge, io::ErrorKind::StorageFull);
        let cases = [
            ("full", 0, full, true),
            ("still full", 0, full, false),
            ("another error", 0, other, true),
            ("another error again", 0, other, true),
            ("the next day", 86_400_000, full, true),
            ("the next day, later", 86_400_000, full, false),
        ];
        for (name, unix_millis, kind, expected) in cases {
            assert_eq!(writer.is_news(day_of(unix_millis), kind), expected, "{name}");
        }
    }

    #[test]
    fn refused_lines_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("mail-1970-01-01.jsonl")).unwrap();
        let log = DailyLines::open(dir.path(), "mail").unwrap();
        log.append(0, b"line".to_vec());
        log.sync();
        assert_eq!(log.lost(), 1);
    }
}
