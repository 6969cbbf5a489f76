//! The worker's side: reads messages from standard input, writes entities to standard output.
//!
//! It confines itself before the first message is there. A second thread reads the frames, so that
//! a stop reaches a message under way.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use imss_core::archive::Passwords;
use imss_core::entity::Entities;
use imss_core::limits::StopFlag;
use imss_core::message::Message;

use super::protocol::{self, Kind};
use super::{Terms, VERSION, confine};

/// Largest message that is taken, above every limit that can be configured.
const MAX_MESSAGE: u64 = 4 << 30;
/// Room for the stack of the thread that reads: parsers recurse to a bounded depth.
const STACK_BYTES: usize = 16 << 20;

/// A message, and the flag that ends its reading.
type Job = (Bytes, StopFlag);

/// Works until standard input ends.
#[must_use]
pub fn run() -> ExitCode {
    // A panic is told by the answer; writing it to standard error helps nobody.
    std::panic::set_hook(Box::new(|_| {}));
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = output().and_then(|mut out| {
                protocol::write(&mut out, Kind::Failed, error.to_string().as_bytes())
            });
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let terms = match protocol::read(&mut input, MAX_MESSAGE)? {
        Some((Kind::Terms, terms)) => serde_json::from_slice::<Terms>(&terms)?,
        _ => return Err(io::Error::other("run by hand: the gateway starts this program")),
    };
    drop(input);
    if terms.version != VERSION {
        let theirs = terms.version;
        return Err(io::Error::other(format!(
            "it is version {VERSION}, and the gateway is {theirs}: install the imss-worker that came \
             with the gateway"
        )));
    }
    // The system calls a process by the file it was started from, which is a descriptor here.
    let _ = rustix::thread::set_name(c"imss-worker");
    let out = output()?;
    let how = confine::resources(&terms.limits)?;
    let (sender, jobs) = sync_channel::<Job>(1);
    let (begin, confined) = sync_channel::<()>(0);
    let reader = std::thread::Builder::new().spawn(move || {
        // Nothing is read before the process is confined.
        if confined.recv().is_ok() {
            take(&sender);
        }
    })?;
    let (done, result) = sync_channel(1);
    let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let _ = done.send(answer(&jobs, &terms, (how, out), &begin));
    })?;
    let outcome = result.recv().unwrap_or_else(|_| Err(io::Error::other("the worker crashed")));
    // Both have ended, or the process ends with them.
    drop((reader, worker));
    outcome
}

/// Closes the door, then answers every message.
fn answer(
    jobs: &Receiver<Job>,
    terms: &Terms,
    (how, mut out): (&str, File),
    begin: &SyncSender<()>,
) -> io::Result<()> {
    confine::calls()?;
    protocol::write(&mut out, Kind::Ready, how.as_bytes())?;
    let _ = begin.send(());
    let passwords = Passwords::configured(terms.passwords.iter().map(String::as_str));
    for (raw, stop) in jobs {
        let message = Message::parse(raw.clone(), &terms.limits);
        let entities = Entities::extract_with(&message, &terms.limits, &stop, &passwords);
        let wire = entities.to_wire(&raw).map_err(io::Error::other)?;
        protocol::write(&mut out, Kind::Entities, &wire)?;
    }
    Ok(())
}

/// Standard output without the buffer that looks for lines.
fn output() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// Reads frames: messages go to `jobs`, a stop to the message under way.
fn take(jobs: &SyncSender<Job>) {
    let running: Arc<Mutex<StopFlag>> = Arc::default();
    let mut input = io::stdin().lock();
    while let Ok(Some((kind, content))) = protocol::read(&mut input, MAX_MESSAGE) {
        match kind {
            Kind::Message => {
                let stop = StopFlag::new();
                *running.lock().unwrap_or_else(PoisonError::into_inner) = stop.clone();
                if jobs.send((content.into(), stop)).is_err() {
                    return;
                }
            }
            Kind::Stop => running.lock().unwrap_or_else(PoisonError::into_inner).stop(),
            _ => return,
        }
    }
}
