//! What all daily reports share: files of days that are over → mail through our own queue.
//!
//! In: `DIR/PREFIX-YYYY-MM-DD.jsonl`, one line per event (UTC). Out: for each ended day one call to send;
//! when that is done, the day's file goes. It is looked for such days at the start and every hour. A day
//! that cannot be sent now waits, and who sends says how long; one that fails is tried for `MAX_WAIT_DAYS`
//! days.
//!
//! Bounded: a day's file grows to `MAX_DAY_BYTES`; what comes after is not counted, and said in the log.

use std::fs::File;
use std::future::Future;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use imss_core::envelope::{ForwardPath, Syntax};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;
use crate::observe::lines::DailyLines;
use crate::spool::Accepted;

/// How often it is looked for days that are over.
const PAUSE: Duration = Duration::from_secs(3_600);
/// Octets of one day's events.
const MAX_DAY_BYTES: u64 = 512 << 20;
/// Days a report waits for name servers, and a day that cannot be sent is tried.
pub(crate) const MAX_WAIT_DAYS: i32 = 3;

/// One kind of reports.
pub(crate) trait Daily: Send + Sync {
    /// For the log.
    const WHAT: &'static str;
    /// The start of the names of the days' files.
    const PREFIX: &'static str;

    /// Where the files lie.
    fn dir(&self) -> &Path;

    /// Sends the reports on one day; `waited` days ago it ended.
    fn send(
        &self,
        gateway: &Arc<Gateway>,
        day: Date,
        path: &Path,
        waited: i32,
    ) -> impl Future<Output = std::io::Result<Sent>> + Send;

    /// What else is to be done now and then.
    fn tend(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// What became of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// So many reports are on their way.
    Done(usize),
    /// Another try later.
    Later,
}

/// A file a day for events of one kind.
pub(crate) fn open(dir: &Path, prefix: &'static str) -> std::io::Result<DailyLines> {
    DailyLines::bounded(dir, prefix, MAX_DAY_BYTES)
}

/// Sends what is due, now and every hour, until `stop`.
pub(crate) async fn run<D: Daily>(daily: D, gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut clock = tokio::time::interval(PAUSE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = clock.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = round(&daily, &gateway) => {}
        }
    }
}

async fn round<D: Daily>(daily: &D, gateway: &Arc<Gateway>) {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    for (day, path) in ended(daily.dir(), D::PREFIX, today) {
        let waited = (today - day).get_days();
        let sent = daily.send(gateway, day, &path, waited).await;
        let is_over = is_over(&sent, waited);
        match sent {
            Ok(Sent::Done(reports)) => {
                tracing::info!(%day, reports, "{} are on their way", D::WHAT);
            }
            Ok(Sent::Later) => tracing::info!(%day, "{} wait for name servers", D::WHAT),
            Err(error) => tracing::error!(%day, %error, is_over, "{} were not sent", D::WHAT),
        }
        if is_over && let Err(error) = std::fs::remove_file(&path) {
            tracing::error!(%error, path = %path.display(), "a day of {} stays", D::WHAT);
        }
    }
    daily.tend().await;
}

/// Whether a day needs no more tries.
fn is_over(sent: &std::io::Result<Sent>, waited: i32) -> bool {
    match sent {
        Ok(Sent::Done(_)) => true,
        Ok(Sent::Later) => false,
        Err(_) => waited >= MAX_WAIT_DAYS,
    }
}

/// Adds up the file of a day, away from the network's threads.
pub(crate) async fn read<T: Send + 'static>(
    path: &Path,
    add_up: impl FnOnce(BufReader<File>) -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let path = path.to_owned();
    off_network(move || add_up(BufReader::new(File::open(path)?))).await?
}

/// Runs what packs, signs or touches files.
pub(crate) async fn off_network<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)
}

/// Hands messages to the queue, all or none.
pub(crate) async fn submit(gateway: &Gateway, messages: Vec<Accepted>) -> std::io::Result<usize> {
    let count = messages.len();
    if count > 0 {
        gateway.queue().submit(messages).await.map_err(std::io::Error::other)?;
    }
    Ok(count)
}

/// The first second of a day (UTC), since 1970.
pub(crate) fn begin_of(day: Date) -> Option<u64> {
    let begin = day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    u64::try_from(begin).ok()
}

/// The mailbox of `mailto:name@example.com!10m`, if it is one that cannot do harm in a field.
pub(crate) fn mailbox(uri: &str) -> Option<ForwardPath> {
    let bare = uri.strip_prefix("mailto:").unwrap_or(uri);
    let bare = bare.split(['!', '?']).next()?;
    let plain =
        bare.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b','));
    ForwardPath::parse(bare, Syntax::default())
        .ok()
        .filter(|path| plain && path.mailbox().is_some())
}

/// The files of days before `today`, oldest first.
fn ended(dir: &Path, prefix: &str, today: Date) -> Vec<(Date, PathBuf)> {
    let mut found: Vec<(Date, PathBuf)> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let day = name.strip_prefix(prefix)?.strip_prefix('-')?.strip_suffix(".jsonl")?;
            Some((day.parse::<Date>().ok()?, entry.path()))
        })
        .filter(|(day, _)| *day < today)
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_report_to() {
        let cases = [
            ("mailto:d@example.com", Some("d@example.com")),
            ("mailto:d@example.com!10m", Some("d@example.com")),
            ("mailto:d@example.com?subject=x", Some("d@example.com")),
            ("mailto:\"a\r\nBcc: x\"@example.com", None),
            ("https://example.com/", None),
        ];
        for (uri, expected) in cases {
            let found = mailbox(uri).map(|path| path.to_string());
            assert_eq!(found.as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn tries_end() {
        let failed = || Err(std::io::Error::other("x"));
        let cases = [
            ("sent", Ok(Sent::Done(0)), 1, true),
            ("waits", Ok(Sent::Later), 1, false),
            ("fails at first", failed(), 1, false),
            ("fails for days", failed(), MAX_WAIT_DAYS, true),
        ];
        for (name, sent, waited, expected) in cases {
            assert_eq!(is_over(&sent, waited), expected, "{name}");
        }
    }

    /// All threads of the network are this one here.
    #[tokio::test(flavor = "current_thread")]
    async fn work_is_done_off_the_networks_threads() {
        let thread = || std::thread::current().id();
        assert_ne!(off_network(thread).await.unwrap(), thread());
        let folder = tempfile::tempdir().unwrap();
        let day = folder.path().join("seen-2026-11-21.jsonl");
        std::fs::write(&day, "one\n").unwrap();
        let add_up = move |file: BufReader<File>| {
            Ok((std::io::read_to_string(file)?, std::thread::current().id()))
        };
        let (text, reader) = read(&day, add_up).await.unwrap();
        assert_eq!(text, "one\n");
        assert_ne!(reader, thread());
        assert!(read(&folder.path().join("x"), |_| Ok(())).await.is_err());
        assert!(off_network(|| panic!("one day's report")).await.is_err(), "a crash is an error");
    }

    #[test]
    fn days_that_are_over() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["seen-2026-11-21.jsonl", "seen-2026-11-20.jsonl", "seen-2026-11-22.jsonl", "x"]
        {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let today = "2026-11-22".parse().unwrap();
        let days: Vec<String> =
            ended(folder.path(), "seen", today).iter().map(|(day, _)| day.to_string()).collect();
        assert_eq!(days, ["2026-11-20", "2026-11-21"]);
    }
}
