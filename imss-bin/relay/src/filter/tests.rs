//! The parts together, with a fake clock and files in a scratch folder.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use imss_core::envelope::{
    Client, Envelope, ForwardPath, MailParameters, RcptParameters, Recipient, ReversePath, Syntax,
};
use imss_core::verdict::Verdict;
use tempfile::TempDir;

use super::command::{FilterAnswer, FilterOrder, SourceView};
use super::*;
use crate::inbound::{Leave, Mode, Reply, Role, SessionEvent, Stage};

const NOW: u32 = 1_795_000_000;
const IP: &str = "192.0.2.1";

struct Rig {
    filter: Filter,
    clock: Arc<AtomicU32>,
}

fn settings(text: &str) -> Settings {
    crate::config::parse(text, "imss.toml", Path::new("")).unwrap().filter
}

fn open(folder: &TempDir, text: &str) -> Rig {
    let clock = Arc::new(AtomicU32::new(NOW));
    let shown = Arc::clone(&clock);
    let around = Surroundings {
        hostname: "gate.example".to_owned(),
        clock: Some(Box::new(move || shown.load(Ordering::SeqCst))),
        log_dir: Some(folder.path().join("log")),
        ..Surroundings::default()
    };
    let filter = Filter::open(&folder.path().join("filter"), settings(text), around).unwrap();
    Rig { filter, clock }
}

const STRANGER: Role = Role { mode: Mode::Edge, is_trusted: false };

fn client(ip: &str) -> Client {
    serde_json::from_value(serde_json::json!({ "ip": ip, "helo": "mx.elsewhere.example" })).unwrap()
}

/// What a reply begins with; empty where the session goes on.
fn code<T>(result: Result<T, Reply>) -> String {
    result.err().map(|reply| reply.to_string().chars().take(9).collect()).unwrap_or_default()
}

impl Rig {
    fn later(&self, secs: u32) {
        self.clock.fetch_add(secs, Ordering::SeqCst);
    }

    async fn connect(&self, ip: &str) -> Result<Leave, Reply> {
        self.speaks(ip, false).await
    }

    async fn speaks(&self, ip: &str, is_early: bool) -> Result<Leave, Reply> {
        let stage = Stage::Connect { client: &client(ip), role: STRANGER, is_early };
        self.filter.check(stage).await
    }

    async fn mail(&self, ip: &str, from: &str) -> Result<Leave, Reply> {
        self.mails(ip, from, false).await
    }

    async fn mails(&self, ip: &str, from: &str, is_early: bool) -> Result<Leave, Reply> {
        let reverse_path = ReversePath::parse(from, Syntax::LAX).unwrap();
        let (client, parameters) = (client(ip), MailParameters::default());
        let stage = Stage::Mail {
            client: &client,
            role: STRANGER,
            is_early,
            reverse_path: &reverse_path,
            parameters: &parameters,
        };
        self.filter.check(stage).await
    }

    async fn rcpt(&self, ip: &str, from: &str, to: &str) -> Result<Leave, Reply> {
        let reverse_path = ReversePath::parse(from, Syntax::LAX).unwrap();
        let recipient = ForwardPath::parse(to, Syntax::LAX).unwrap();
        let stage = Stage::Rcpt {
            client: &client(ip),
            role: STRANGER,
            reverse_path: &reverse_path,
            recipient: &recipient,
            accepted: 0,
            first: None,
        };
        self.filter.check(stage).await
    }

    fn learn(&self, ip: &str, verdict: Verdict) {
        let recipient = Recipient {
            path: ForwardPath::parse("b@ours.example", Syntax::LAX).unwrap(),
            parameters: RcptParameters::default(),
        };
        let envelope = Envelope {
            client: client(ip),
            reverse_path: ReversePath::parse("a@b.example", Syntax::LAX).unwrap(),
            parameters: MailParameters::default(),
            recipients: vec![recipient],
        };
        self.filter.learn(&envelope, verdict);
    }

    fn done(&self, order: FilterOrder) -> String {
        match self.filter.operate(order) {
            FilterAnswer::Done(text) => text,
            other => panic!("{other:?}"),
        }
    }

    fn block(&self, subject: &str, secs: Option<u32>) {
        self.add(ListKind::Blocked, subject, secs);
    }

    fn add(&self, list: ListKind, subject: &str, secs: Option<u32>) {
        let subject = subject.parse().unwrap();
        let (note, by) = ("a note".to_owned(), "taro".to_owned());
        self.done(FilterOrder::Add { list, subject, secs, note, is_transient: false, by });
    }

    fn release(&self, who: &str) -> String {
        self.done(FilterOrder::Release { who: who.to_owned(), by: "taro".to_owned() })
    }

    fn switch(&self, part: Part, state: Option<State>) -> String {
        self.done(FilterOrder::Switch { part, state, by: "taro".to_owned() })
    }

    fn show(&self, ip: &str) -> SourceView {
        match self.filter.operate(FilterOrder::Show(ip.parse().unwrap())) {
            FilterAnswer::Source(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    /// `PART ACTION` of every record.
    fn log(&self, folder: &TempDir) -> Vec<String> {
        self.filter.log.as_ref().unwrap().sync();
        let mut lines = Vec::new();
        for file in std::fs::read_dir(folder.path().join("log")).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for line in text.lines() {
                let record: Record = serde_json::from_str(line).unwrap();
                let shadow = if record.shadow { "shadow " } else { "" };
                lines.push(format!("{shadow}{} {}", record.part, record.action));
            }
        }
        lines
    }
}

#[tokio::test]
async fn lists() {
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&folder, "[filter.lists]\nblocked = [\"203.0.113.0/24\"]\n");
    assert_eq!(code(rig.connect(IP).await), "");
    assert_eq!(code(rig.connect("203.0.113.9").await), "554 5.7.1");
    rig.add(ListKind::Approved, "203.0.113.9", None);
    assert_eq!(code(rig.connect("203.0.113.9").await), "", "approved wins over the settings");
    rig.block("192.0.2.0/24", Some(60));
    assert_eq!(code(rig.mail(IP, "a@b.example").await), "550 5.7.1", "within a session too");
    let reply = rig.connect(IP).await.unwrap_err();
    assert_eq!(reply.text, "192.0.2.1 is blocked here; ask postmaster@gate.example");
    rig.later(60);
    assert_eq!(code(rig.connect(IP).await), "", "it ends by itself");
    rig.block(IP, None);
    rig.switch(Part::Lists, Some(State::Off));
    assert_eq!(code(rig.connect(IP).await), "");
    rig.switch(Part::Lists, None);
    assert_eq!(code(rig.connect(IP).await), "554 5.7.1");
    assert_eq!(rig.release(IP), "192.0.2.1 is released");
    assert_eq!(code(rig.connect(IP).await), "");
    rig.block("192.0.2.0/24", None);
    assert!(rig.release(IP).contains("but 192.0.2.0/24 is blocked (taro)"));
    rig.filter.tick();
    let log = rig.log(&folder);
    for expected in ["lists rejected", "lists added", "lists released", "lists switched"] {
        assert!(log.iter().any(|line| line == expected), "{expected} in {log:?}");
    }
    // Nothing of this is lost by an end without warning.
    let before = rig.filter.operate(FilterOrder::Entries(ListKind::Blocked));
    drop(rig);
    let again = open(&folder, "[filter.lists]\nblocked = [\"203.0.113.0/24\"]\n");
    assert_eq!(again.filter.operate(FilterOrder::Entries(ListKind::Blocked)), before);
    assert_eq!(code(again.connect("203.0.113.9").await), "");
}

#[tokio::test]
async fn the_profiler_blocks_and_administrators_release() {
    let text = "[filter.profiler.spam]\nmin-volume = 3\nrate = 60\nblock = \"1 hour\"\n\
                [filter.profiler.virus]\nmin-volume = 1\nrate = 1\nblock = \"for good\"\n\
                action = \"reject\"\n[filter.profiler.harvest]\nmin-volume = 4\n";
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&folder, text);
    for verdict in [Verdict::Spam, Verdict::Clean, Verdict::Spam] {
        assert_eq!(code(rig.connect(IP).await), "");
        rig.learn(IP, verdict);
    }
    assert_eq!(code(rig.connect(IP).await), "421 4.7.1", "blocked for a time");
    let view = rig.show(IP);
    assert_eq!(&*view.entries[0].note, "spam: 2 of 3 in 24 h");
    rig.later(3_600);
    assert_eq!(code(rig.connect(IP).await), "", "and free again by itself");
    rig.learn("2001:db8::1", Verdict::Infected);
    assert_eq!(code(rig.connect("2001:db8::2").await), "554 5.7.1", "the whole /64, for good");
    assert_eq!(code(rig.connect("2001:db8:0:1::2").await), "");
    rig.release("2001:db8::1");
    assert_eq!(code(rig.connect("2001:db8::2").await), "");
    rig.add(ListKind::Approved, "198.51.100.1", None);
    rig.learn("198.51.100.1", Verdict::Infected);
    assert_eq!(code(rig.connect("198.51.100.1").await), "", "approved ones are not blocked");
    rig.learn("127.0.0.1", Verdict::Infected);
    assert_eq!(code(rig.connect("127.0.0.1").await), "", "nor known hosts");

    let unknown = Reply::new(550, (5, 1, 1), "no such mailbox");
    let denied = Reply::new(550, (5, 7, 1), "Relay access denied");
    let (client, from) = (client("203.0.113.5"), ReversePath::Null);
    let recipient = ForwardPath::parse("x@ours.example", Syntax::LAX).unwrap();
    let refuse = |reply: &Reply| {
        rig.filter.observe(&SessionEvent::RecipientRefused {
            client: &client,
            role: STRANGER,
            reverse_path: &from,
            recipient: &recipient,
            reply,
        });
    };
    (0..10).for_each(|_| refuse(&denied));
    assert_eq!(code(rig.connect("203.0.113.5").await), "");
    assert_eq!(code(rig.rcpt("203.0.113.5", "", "b@ours.example").await), "");
    let (accepted, role) = (&client, STRANGER);
    rig.filter.observe(&SessionEvent::RecipientAccepted { client: accepted, role, before: 0 });
    (0..3).for_each(|_| refuse(&unknown));
    assert_eq!(code(rig.connect("203.0.113.5").await), "421 4.7.1", "harvesting");
}

/// A message's recipients count one by one, whatever becomes of the message.
#[tokio::test]
async fn harvesting_counts_recipients() {
    let text = "[filter.profiler.harvest]\nmin-volume = 6\nrate = 50\nrecipients = 5\n";
    let folder = tempfile::tempdir().unwrap();
    let (unknown, from) = (Reply::new(550, (5, 1, 1), "no such mailbox"), ReversePath::Null);
    let recipient = ForwardPath::parse("x@ours.example", Syntax::LAX).unwrap();
    // One message of each client: recipients that exist, those that do not, and what comes of it.
    let cases = [
        ("one of six is unknown", "192.0.2.1", 5, 1, ""),
        ("half of six are unknown", "192.0.2.2", 3, 3, "421 4.7.1"),
        ("five, all unknown", "192.0.2.3", 0, 5, ""),
        ("ten, and half of them are more than a letter has", "192.0.2.4", 10, 0, "421 4.7.1"),
    ];
    let rig = open(&folder, text);
    for (name, ip, known, unknowns, expected) in cases {
        let client = client(ip);
        for before in 0..known {
            let (client, role) = (&client, STRANGER);
            rig.filter.observe(&SessionEvent::RecipientAccepted { client, role, before });
        }
        for _ in 0..unknowns {
            rig.filter.observe(&SessionEvent::RecipientRefused {
                client: &client,
                role: STRANGER,
                reverse_path: &from,
                recipient: &recipient,
                reply: &unknown,
            });
        }
        assert_eq!(code(rig.connect(ip).await), expected, "{name}");
    }
}

#[tokio::test]
async fn early_talkers() {
    let folder = tempfile::tempdir().unwrap();
    let wait = Some(std::time::Duration::from_secs(2));
    let listens = |rig: &Rig, ip: &str, role| rig.filter.listens_first(&client(ip), role);
    let rig = open(&folder, "[filter.checks]\nearly-talker = \"reject\"\n");
    assert_eq!(listens(&rig, IP, STRANGER), wait);
    assert_eq!(listens(&rig, "127.0.0.1", STRANGER), None, "a known host need not wait");
    let submission = Role { mode: Mode::Submission, is_trusted: false };
    assert_eq!(listens(&rig, IP, submission), None);
    assert_eq!(code(rig.speaks(IP, true).await), "554 5.7.1");
    assert_eq!(code(rig.speaks(IP, false).await), "");
    rig.switch(Part::Checks, Some(State::Shadow));
    assert_eq!(code(rig.speaks(IP, true).await), "");
    assert_eq!(code(rig.mails(IP, "a@b.example", true).await), "");
    rig.switch(Part::Checks, Some(State::Off));
    assert_eq!(listens(&rig, IP, STRANGER), None);

    let folder = tempfile::tempdir().unwrap();
    let rig = open(&folder, "[filter.checks]\nearly-talker = 10\nearly-talker-wait = \"1 s\"\n");
    assert_eq!(listens(&rig, IP, STRANGER), Some(std::time::Duration::from_secs(1)));
    assert_eq!(code(rig.speaks(IP, true).await), "", "points count at MAIL FROM");
    assert_eq!(code(rig.mails(IP, "a@b.example", true).await), "450 4.7.1");
    assert_eq!(code(rig.mails(IP, "a@b.example", false).await), "");
    let rig = open(&tempfile::tempdir().unwrap(), "[filter.checks]\nhelo-ours = 10\n");
    assert_eq!(listens(&rig, IP, STRANGER), None, "nobody asked");
}

#[tokio::test]
async fn greylisting_release_and_restart() {
    let text = "[filter.greylist]\napprove-after = 2\n";
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&folder, text);
    let rcpt = async |rig: &Rig, from: &str| code(rig.rcpt(IP, from, "b@ours.example").await);
    assert_eq!(rcpt(&rig, "a@b.example").await, "450 4.7.1");
    assert_eq!(rcpt(&rig, "A@B.example").await, "450 4.7.1", "too soon");
    rig.later(300);
    rig.filter.tick();
    drop(rig);
    let rig = open(&folder, text);
    rig.later(300);
    assert_eq!(rcpt(&rig, "a@b.example").await, "", "the first try is remembered");
    assert_eq!(rcpt(&rig, "c@b.example").await, "450 4.7.1");
    let FilterAnswer::Waiting(waiting) = rig.filter.operate(FilterOrder::Waiting) else { panic!() };
    assert_eq!(waiting.len(), 1);
    assert_eq!(
        (waiting[0].source.to_string().as_str(), waiting[0].sender.as_str()),
        (IP, "c@b.example")
    );
    rig.release("C@b.example");
    assert_eq!(rcpt(&rig, "c@b.example").await, "", "released at once");
    assert_eq!(rcpt(&rig, "d@b.example").await, "450 4.7.1");
    rig.release(IP);
    assert_eq!(rcpt(&rig, "d@b.example").await, "", "the whole source");
    assert_eq!(code(rig.rcpt("127.0.0.1", "a@b.example", "b@ours.example").await), "", "known");
    rig.switch(Part::Greylist, Some(State::Shadow));
    assert_eq!(code(rig.rcpt("198.51.100.1", "a@b.example", "b@ours.example").await), "");
    assert!(rig.log(&folder).contains(&"shadow greylist deferred".to_owned()));
    drop(rig);
    let rig = open(&folder, text);
    let other = code(rig.rcpt("198.51.100.2", "a@b.example", "b@ours.example").await);
    assert_eq!(other, "", "a switch survives a restart");
}

#[tokio::test]
async fn throttles_and_slow_start() {
    let text = "[filter.throttle]\nexcept-senders = [\"@news.example\"]\n\
                [filter.throttle.client]\nmessages = 2\nwindow = \"10 minutes\"\nblock = \"1 hour\"\n\
                [filter.throttle.sender]\nmessages = 1\n";
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&folder, text);
    assert_eq!(code(rig.mail(IP, "a@b.example").await), "");
    assert_eq!(code(rig.mail("198.51.100.1", "A@b.example").await), "450 4.7.1", "one sender");
    assert_eq!(code(rig.mail(IP, "c@b.example").await), "");
    assert_eq!(code(rig.mail(IP, "d@b.example").await), "450 4.7.1", "one source");
    assert_eq!(code(rig.mail(IP, "x@news.example").await), "", "an exception");
    let FilterAnswer::Throttled(all) = rig.filter.operate(FilterOrder::Throttled) else { panic!() };
    let mut who: Vec<_> = all.iter().map(|one| one.who.as_str()).collect();
    who.sort_unstable();
    assert_eq!(who, [IP, "a@b.example"]);
    rig.release(IP);
    rig.release("a@b.example");
    assert_eq!(code(rig.mail(IP, "a@b.example").await), "");

    let folder = tempfile::tempdir().unwrap();
    let rig = open(&folder, "[filter.slow-start]\nfirst = 1\nperiod = \"1 hour\"\nperiods = 3\n");
    assert_eq!(code(rig.mail(IP, "a@b.example").await), "");
    assert_eq!(code(rig.mail(IP, "a@b.example").await), "450 4.7.1");
    rig.later(3_600);
    assert_eq!(code(rig.mail(IP, "a@b.example").await), "");
    assert_eq!(code(rig.mail(IP, "a@b.example").await), "");
    assert_eq!(code(rig.mail(IP, "a@b.example").await), "450 4.7.1");
    rig.release(IP);
    assert_eq!(code(rig.mail(IP, "a@b.example").await), "");
}

#[tokio::test]
async fn a_filter_that_is_off_lets_everything_pass_and_remembers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&folder, "");
    assert_eq!(code(rig.connect(IP).await), "");
    assert_eq!(code(rig.mail(IP, "a@b.example").await), "");
    assert_eq!(code(rig.rcpt(IP, "a@b.example", "b@ours.example").await), "");
    rig.learn(IP, Verdict::Infected);
    let FilterAnswer::Status(status) = rig.filter.operate(FilterOrder::Status) else { panic!() };
    assert_eq!((status.sources, status.senders, status.triplets), (0, 0, 0));
    // Mail that passed us before is not looked at again.
    rig.block("127.0.0.1", None);
    let role = Role { mode: Mode::Reinject, is_trusted: true };
    let stage = Stage::Connect { client: &client("127.0.0.1"), role, is_early: false };
    assert_eq!(code(rig.filter.check(stage).await), "");
}

#[test]
fn countries_block_and_a_reload_takes_new_settings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("country.mmdb");
    std::fs::write(&file, geo::tests::database(&[(203, geo::tests::country("XX"))])).unwrap();
    let rig = open(&folder, "");
    let text = format!(
        "[filter]\ncountry-file = \"{}\"\n[filter.lists]\nblocked = [\"country:XX\"]\n",
        file.display()
    );
    rig.filter.reconfigure(settings(&text)).unwrap();
    let decides = |ip| rig.show(ip).decides.map(|entry| entry.subject.to_string());
    assert_eq!(decides("203.0.113.1").as_deref(), Some("country:XX"));
    assert_eq!(decides(IP), None);
    std::fs::write(&file, b"garbage").unwrap();
    assert!(rig.filter.reconfigure(settings(&text)).is_err());
    assert_eq!(decides("203.0.113.1").as_deref(), Some("country:XX"), "the old settings stay");
}
