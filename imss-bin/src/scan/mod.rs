//! `imss scan`: files → reports, on all cores, in a fixed order.
//!
//! In: paths. Out: one report per message on standard output, as text or JSON lines. Bad input
//! never stops the run: what cannot be read is reported and the next one follows; a message whose
//! scan crashes or does not end is unscannable.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use imss_core::envelope::{Client, Envelope, ForwardPath, MailParameters, Recipient, ReversePath};
use imss_core::finding::Findings;
use imss_core::limits::Limits;
use imss_relay::config::load_policy;
use imss_relay::engines;
use imss_relay::jail::JailSettings;
use imss_relay::judge::Judge;
use imss_relay::reader::Reader;
use imss_relay::report::Report;
use imss_relay::wrap;
use imss_scan::{RunError, Runner};

use self::classify::Class;
use self::inputs::{Input, Source};
use self::judge::Bench;
use self::report::{Unreadable, printable, to_text};
use self::senders::Senders;
use crate::cli::Scan;
use crate::mistakes::Failure;

mod classify;
mod inputs;
mod judge;
mod mbox;
mod report;
mod senders;

/// Inputs under way per thread: enough to keep it busy, few enough to bound memory.
const AHEAD_PER_THREAD: usize = 4;

/// Scans everything that was named.
///
/// # Errors
///
/// The policy has mistakes, or standard output is gone.
pub fn scan(arguments: Scan) -> Result<ExitCode, Failure> {
    let policy = load_policy(arguments.policy.as_deref())?;
    let reader = if arguments.jail {
        Reader::jailed(Limits::default(), &arguments.password, JailSettings::default())
            .map_err(|error| Failure::failed(error.to_string()))?
    } else {
        Reader::new(Limits::default(), &arguments.password)
    };
    let mut settings = engines::lists(&arguments.digests, &arguments.yara)
        .map_err(|error| Failure::usage(error.to_string()))?;
    settings.auth.no_client = arguments.client.is_none();
    let senders = match arguments.client {
        Some(_) => Some(Senders::new(&arguments.dns)?),
        None => None,
    };
    let judge = Judge::new(policy, settings, reader)
        .map_err(|error| Failure::usage(format!("the policy cannot be compiled: {error}")))?;
    let recipients =
        if arguments.rcpt.is_empty() { vec![ForwardPath::Postmaster] } else { arguments.rcpt };
    let judge = Arc::new(Bench {
        judge,
        senders,
        client: Client {
            helo: arguments.helo,
            ..Client::new(arguments.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
        },
        mail_from: arguments.mail_from,
        recipients,
    });
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = arguments.jobs.map_or_else(cores, usize::from);
    let runner = Runner::new(threads, Duration::from_secs(arguments.deadline.into()));
    let mut output = Output::new(arguments.jsonl);
    let ahead = threads.saturating_mul(AHEAD_PER_THREAD);
    let (sender, receiver) = sync_channel(ahead.saturating_mul(2));
    let mut window = Window { receiver, waiting: BTreeMap::new(), next: 0, begun: 0 };
    let mut failed = None;
    inputs::visit(&arguments.paths, &mut |input| {
        begin(&runner, &judge, input, window.begun, &sender);
        window.begun = window.begun.saturating_add(1);
        failed = window.drain(ahead, &mut output).err();
        failed.is_none()
    });
    match failed.map_or_else(|| window.drain(0, &mut output), Err) {
        Ok(()) => output.finish(),
        // A reader such as `head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(output.exit_code()),
        Err(error) => Err(Failure::failed(format!("cannot write the output: {error}"))),
    }
}

/// What came of one input.
enum Done {
    Scanned(Report),
    Unreadable(Unreadable),
}

/// Results on their way, put back into order.
struct Window {
    receiver: Receiver<(u64, Done)>,
    waiting: BTreeMap<u64, Done>,
    next: u64,
    begun: u64,
}

impl Window {
    /// Prints what is ready, and waits until at most `ahead` inputs are under way.
    fn drain(&mut self, ahead: usize, output: &mut Output) -> io::Result<()> {
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        loop {
            let must_wait = self.begun.saturating_sub(self.next) > ahead;
            let received =
                if must_wait { self.receiver.recv().ok() } else { self.receiver.try_recv().ok() };
            let Some((number, done)) = received else { return Ok(()) };
            self.waiting.insert(number, done);
            while let Some(done) = self.waiting.remove(&self.next) {
                output.print(&done)?;
                self.next = self.next.saturating_add(1);
            }
        }
    }
}

/// Hands one input to the pool. Its result arrives at `sender` under `number`.
fn begin(
    runner: &Runner,
    judge: &Arc<Bench>,
    input: Input,
    number: u64,
    sender: &SyncSender<(u64, Done)>,
) {
    let (name, sender) = (input.name, sender.clone());
    let source = match input.source {
        Ok(source) => source,
        Err(error) => {
            let done = Done::Unreadable(Unreadable { path: name, error: error.to_string() });
            let _ = sender.send((number, done));
            return;
        }
    };
    let (worker, given_up) = (Arc::clone(judge), Arc::clone(judge));
    let path = name.clone();
    runner.run(
        move |stop| match read(source) {
            Ok(raw) => Done::Scanned(worker.judge(path, raw, stop)),
            Err(error) => Done::Unreadable(Unreadable { path, error: error.to_string() }),
        },
        move |result| {
            let done =
                result.unwrap_or_else(|error| Done::Scanned(unscanned(&given_up, name, &error)));
            let _ = sender.send((number, done));
        },
    );
}

/// The message that stands for an input.
fn read(source: Source) -> io::Result<Bytes> {
    Ok(match source {
        Source::Message(raw) => raw.into(),
        Source::Other(name, content) => wrap::attach(&name, &content).into(),
        Source::File(path, Class::Other) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            wrap::attach(&name, &fs::read(path)?).into()
        }
        Source::File(path, _) => fs::read(path)?.into(),
    })
}

/// The report on a message whose scan came to no end.
fn unscanned(bench: &Bench, path: String, error: &RunError) -> Report {
    let recipient =
        |path: &ForwardPath| Recipient { path: path.clone(), parameters: Default::default() };
    let envelope = Envelope {
        client: bench.client.clone(),
        reverse_path: bench.mail_from.clone().unwrap_or(ReversePath::Null),
        parameters: MailParameters::default(),
        recipients: bench.recipients.iter().map(recipient).collect(),
    };
    let (gap, decisions) = bench.judge.decide_unscanned(&envelope, error);
    let findings = Findings { found: Vec::new(), gaps: vec![gap] };
    Report::new(path, &decisions, &findings, &|_| "message".to_owned())
}

/// Standard output, and the counts for the exit code and the last line.
struct Output {
    jsonl: bool,
    begin: Instant,
    scanned: u64,
    found: u64,
    unreadable: u64,
}

impl Output {
    fn new(jsonl: bool) -> Self {
        Self { jsonl, begin: Instant::now(), scanned: 0, found: 0, unreadable: 0 }
    }

    fn print(&mut self, done: &Done) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        match done {
            Done::Scanned(report) => {
                self.scanned = self.scanned.saturating_add(1);
                self.found = self.found.saturating_add(u64::from(!report.is_clean()));
                if self.jsonl {
                    writeln!(out, "{}", serde_json::to_string(report)?)
                } else {
                    out.write_all(to_text(report).as_bytes())
                }
            }
            Done::Unreadable(unreadable) => {
                self.unreadable = self.unreadable.saturating_add(1);
                if self.jsonl {
                    writeln!(out, "{}", serde_json::to_string(unreadable)?)
                } else {
                    let path = printable(&unreadable.path);
                    writeln!(anstream::stderr(), "{path}: cannot be read: {}", unreadable.error)
                }
            }
        }
    }

    /// A last line for people who scanned more than one thing.
    fn finish(self) -> Result<ExitCode, Failure> {
        if !self.jsonl && self.scanned.saturating_add(self.unreadable) > 1 {
            let seconds = self.begin.elapsed().as_secs_f64();
            let clean = self.scanned.saturating_sub(self.found);
            let mut line = format!("{} messages in {seconds:.2} s: {clean} clean", self.scanned);
            if self.found > 0 {
                line.push_str(&format!(", {} not", self.found));
            }
            if self.unreadable > 0 {
                line.push_str(&format!("; {} could not be read", self.unreadable));
            }
            let _ = writeln!(anstream::stderr(), "{line}");
        }
        Ok(self.exit_code())
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match (self.unreadable, self.found) {
            (0, 0) => 0,
            (0, _) => 1,
            _ => 2,
        })
    }
}
