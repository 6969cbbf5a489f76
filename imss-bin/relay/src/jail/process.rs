//! One worker process, seen from the gateway.
//!
//! In: a raw message. Out: the worker's answer. The gateway never waits longer than its stop flag
//! and a grace: then the worker is killed. Dropping a process kills and reaps it.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use imss_core::limits::StopFlag;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::protocol::{self, HEAD_BYTES, Kind};
use super::{JailError, Terms};

/// How long a worker may take to come up.
const START: Duration = Duration::from_secs(20);
/// How long it may go on after its stop flag was set.
const GRACE: Duration = Duration::from_secs(2);
/// How often the stop flag is looked at.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// Octets read at once, and room of a pipe where the system grants it.
const CHUNK: usize = 256 << 10;
/// Octets of an answer for which room is made before they arrive.
const MAX_RESERVED: u64 = 64 << 20;
/// Largest answer: contents and texts of a message at its limits.
const MAX_ANSWER: u64 = 2 << 30;
/// The signal of a forbidden system call.
const SIGSYS: i32 = 31;

/// The program of the workers, held open: when a package replaces the file, this gateway goes on with
/// the workers it came with until it is started again.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    file: Option<File>,
}

impl Program {
    pub(super) fn open(path: &Path) -> Result<Self, JailError> {
        let mut file = File::open(path).map_err(JailError::Start)?;
        let mut magic = [0; 2];
        // An interpreter could not open its script by a descriptor that is closed by then.
        let is_script = file.read_exact(&mut magic).is_ok() && &magic == b"#!";
        let is_reachable = |file: &File| descriptor(file).exists();
        let file = Some(file).filter(|file| !is_script && is_reachable(file));
        Ok(Self { path: path.to_owned(), file })
    }

    fn command(&self) -> Command {
        match &self.file {
            Some(file) => {
                let mut command = Command::new(descriptor(file));
                command.arg0(&self.path);
                command
            }
            None => Command::new(&self.path),
        }
    }
}

/// Where a child finds an open file before it becomes another program.
fn descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// A running worker.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    messages: u32,
    chunk: Box<[u8]>,
}

impl Process {
    /// Starts a worker and waits until it is confined.
    pub(super) fn start(program: &Program, terms: &Terms) -> Result<Self, JailError> {
        let mut child = program
            .command()
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(JailError::Start)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let Some(output) = output else {
            return Err(JailError::Start(std::io::ErrorKind::BrokenPipe.into()));
        };
        // Larger pipes change processes less often. The system may refuse: nothing depends on it.
        let _ = rustix::pipe::fcntl_setpipe_size(&output, CHUNK);
        if let Some(input) = &input {
            let _ = rustix::pipe::fcntl_setpipe_size(input, CHUNK);
        }
        let chunk = vec![0; CHUNK].into_boxed_slice();
        let mut process = Self { child, input, output, messages: 0, chunk };
        let terms = serde_json::to_vec(terms).map_err(|error| JailError::Start(error.into()))?;
        process.send(Kind::Terms, &terms)?;
        let begin = Instant::now();
        match process.receive(|| begin.elapsed() > START)? {
            (Kind::Ready, _) => Ok(process),
            (_, text) => Err(JailError::Ended(String::from_utf8_lossy(&text).into_owned())),
        }
    }

    /// Messages read so far.
    pub(super) fn messages(&self) -> u32 {
        self.messages
    }

    /// Has the worker read one message.
    pub(super) fn extract(&mut self, raw: &Bytes, stop: &StopFlag) -> Result<Bytes, JailError> {
        self.messages = self.messages.saturating_add(1);
        self.send(Kind::Message, raw)?;
        let mut stopped: Option<Instant> = None;
        let input = self.input.take();
        let mut input = input.ok_or_else(|| JailError::Ended("no pipe".to_owned()))?;
        let answer = self.receive(|| {
            if !stop.is_stopped() {
                return false;
            }
            let since = *stopped.get_or_insert_with(|| {
                // A worker that is gone shows when its answer is read.
                let _ = protocol::write(&mut input, Kind::Stop, &[]);
                Instant::now()
            });
            since.elapsed() > GRACE
        })?;
        self.input = Some(input);
        match answer {
            (Kind::Entities, wire) => Ok(wire.into()),
            (_, text) => Err(JailError::Ended(String::from_utf8_lossy(&text).into_owned())),
        }
    }

    fn send(&mut self, kind: Kind, content: &[u8]) -> Result<(), JailError> {
        let written = match &mut self.input {
            Some(input) => input
                .write_all(&protocol::head(kind, content.len()))
                .and_then(|()| input.write_all(content)),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        written.map_err(|_| self.ending())
    }

    /// Reads one frame, asking `is_over` now and then.
    fn receive(&mut self, mut is_over: impl FnMut() -> bool) -> Result<(Kind, Vec<u8>), JailError> {
        let mut head: Vec<u8> = Vec::with_capacity(HEAD_BYTES);
        let mut content: Vec<u8> = Vec::new();
        let mut frame: Option<(Kind, u64)> = None;
        loop {
            if let Some((kind, length)) = frame {
                match (content.len() as u64).cmp(&length) {
                    Ordering::Less => {}
                    Ordering::Equal => return Ok((kind, content)),
                    Ordering::Greater => {
                        return Err(JailError::Nonsense("octets after the answer".to_owned()));
                    }
                }
            }
            let mut ready = [PollFd::new(&self.output, PollFlags::IN)];
            let count = poll(&mut ready, Some(&LOOK)).unwrap_or(0);
            if is_over() {
                return Err(JailError::TimedOut);
            }
            if count == 0 {
                continue;
            }
            match self.output.read(&mut self.chunk) {
                Ok(0) => return Err(self.ending()),
                Ok(read) => {
                    let octets = self.chunk.get(..read).unwrap_or_default();
                    let missing = HEAD_BYTES.saturating_sub(head.len()).min(octets.len());
                    let (begin, rest) = octets.split_at_checked(missing).unwrap_or((octets, &[]));
                    head.extend_from_slice(begin);
                    if frame.is_none()
                        && let Some(head) = head.first_chunk::<HEAD_BYTES>()
                    {
                        let (kind, length) = protocol::parse_head(*head)
                            .filter(|(_, length)| *length <= MAX_ANSWER)
                            .ok_or_else(|| JailError::Nonsense("not a frame".to_owned()))?;
                        content.reserve_exact(
                            usize::try_from(length.min(MAX_RESERVED)).unwrap_or_default(),
                        );
                        frame = Some((kind, length));
                    }
                    content.extend_from_slice(rest);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Err(self.ending()),
            }
        }
    }

    /// Why the worker is gone.
    fn ending(&mut self) -> JailError {
        // It closed its pipe, so it is at its end; a worker that only closed it is killed.
        let begin = Instant::now();
        while begin.elapsed() < GRACE {
            match self.child.try_wait() {
                Ok(Some(status)) if status.signal() == Some(SIGSYS) => return JailError::Breach,
                Ok(Some(status)) => return JailError::Ended(status.to_string()),
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return JailError::Ended(error.to_string()),
            }
        }
        JailError::Ended("it closed its pipe".to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
