//! What can be typed: the commands, their arguments and their help.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use imss_core::envelope::{ForwardPath, ReversePath, Syntax};
use imss_core::ids::QueueId;
use imss_relay::signatures::{Source, Version};

mod filter;

pub use filter::*;

/// An open mail security gateway: receives mail, unpacks it, scans it, judges it by a policy, and
/// delivers or holds it. Mail it has answered with 250 is never lost.
#[derive(Debug, Parser)]
#[command(name = "imss", version, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 success, 1 found or failed, 2 wrong usage or unreadable \
                        input.\n`imss COMMAND --help` has examples.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until SIGTERM or SIGINT
    #[command(after_long_help = RUN_HELP)]
    Run(Node),
    /// Scan message files, other files, folders and mboxes, and say what the policy would do
    #[command(after_long_help = SCAN_HELP)]
    Scan(Scan),
    /// Check the configuration and the policy, and show every mistake with its place
    #[command(after_long_help = CHECK_HELP)]
    Check(Node),
    /// List, show, retry, hold, release, delete or reroute queued mail
    #[command(subcommand, after_long_help = QUEUE_HELP)]
    Queue(Queue),
    /// List, show, release or delete quarantined mail
    #[command(subcommand, after_long_help = QUARANTINE_HELP)]
    Quarantine(Quarantine),
    /// Block, approve and release senders; see and switch the sender filter
    #[command(subcommand, after_long_help = filter::HELP)]
    Filter(Filter),
    /// Fetch, list and roll back signature sets
    #[command(after_long_help = UPDATE_HELP)]
    Update(Update),
    /// Add, change, delete or list who may log in to send mail
    #[command(subcommand, after_long_help = USER_HELP)]
    User(User),
    /// Make signed bundles of digest lists and rules for others to fetch
    #[command(subcommand, after_long_help = BUNDLE_HELP)]
    Bundle(Bundle),
    /// Say why a message got its verdict and its actions
    #[command(after_long_help = EXPLAIN_HELP)]
    Explain(Explain),
}

/// Which node's configuration a command works with.
#[derive(Debug, Clone, Args)]
pub struct Node {
    /// The node's configuration (imss.toml); without it the defaults hold
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `imss scan`.
#[derive(Debug, Args)]
pub struct Scan {
    /// Message files, any other files, folders or mboxes; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The policy to judge by; without it the built-in policy
    #[arg(short, long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The reverse-path of the envelope [default: the message's Return-Path, else null]
    #[arg(long, value_name = "ADDRESS", value_parser = reverse_path)]
    pub mail_from: Option<ReversePath>,
    /// A forward-path of the envelope; may be repeated [default: postmaster]
    #[arg(long, value_name = "ADDRESS", value_parser = forward_path)]
    pub rcpt: Vec<ForwardPath>,
    /// The client that sent the message; with it SPF, DKIM, DMARC and ARC are checked if the policy asks
    #[arg(long, value_name = "IP")]
    pub client: Option<IpAddr>,
    /// The name that client gave in HELO or EHLO
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub helo: String,
    /// Ask this name server; may be repeated [default: those of the system]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub dns: Vec<SocketAddr>,
    /// Try this password on what is encrypted, besides those in the message; may be repeated
    #[arg(long, value_name = "PASSWORD")]
    pub password: Vec<String>,
    /// Look for what the YARA rules in this file describe; may be repeated
    #[arg(long, value_name = "FILE")]
    pub yara: Vec<PathBuf>,
    /// Look for the SHA-256 digests in this file, one a line; may be repeated
    #[arg(long, value_name = "FILE")]
    pub digests: Vec<PathBuf>,
    /// Read messages in confined processes (`imss-worker`, which lies beside this program)
    #[arg(long)]
    pub jail: bool,
    /// Print one JSON object per message instead of text
    #[arg(long)]
    pub jsonl: bool,
    /// Scan this many messages at once [default: one per processor core]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Give up on a message after this many seconds; it is then unscannable
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub deadline: u32,
}

/// `imss update`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["list", "roll_back", "from"]))]
pub struct Update {
    /// The node.
    #[command(flatten)]
    pub node: Node,
    /// Show what is installed, and change nothing
    #[arg(long)]
    pub list: bool,
    /// Go back to the version of this set that was in use before
    #[arg(long, value_name = "SET")]
    pub roll_back: Option<String>,
    /// Fetch from this folder or web address instead of the configured source
    #[arg(long, value_name = "FOLDER|URL")]
    pub from: Option<Source>,
    /// Also take a version that is older than the installed one
    #[arg(long, conflicts_with_all = ["list", "roll_back"])]
    pub older: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `imss bundle …`.
#[derive(Debug, Subcommand)]
pub enum Bundle {
    /// Make a key pair: the private key goes to FILE, the public one is shown
    Keygen {
        /// A file that is not there yet; only its owner will be able to read it
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Write manifest.json and manifest.sig for the files in a folder
    Sign {
        /// The folder with *.sha256 and *.txt (digest lists) and *.yar (YARA rules)
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// The private key that `keygen` wrote
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The set's name
        #[arg(long)]
        name: String,
        /// The version, such as 2026.11.3; nodes fetch only what is newer
        #[arg(long = "set-version", value_name = "VERSION")]
        version: Version,
    },
}

/// `imss user …`.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Add a user; asks for the password
    Add(AddUser),
    /// Change a user's password; asks for the new one
    Passwd(Passwd),
    /// Delete a user
    Delete {
        /// The login name
        name: String,
        /// The node.
        #[command(flatten)]
        node: Node,
    },
    /// List users; passwords are not shown, since nobody knows them
    List(List),
}

/// `imss user add`.
#[derive(Debug, Args)]
pub struct AddUser {
    /// The login name, usually the mail address
    #[arg(value_parser = login_name)]
    pub name: String,
    /// An address the user may send as besides the login name, or *@DOMAIN; may be repeated
    #[arg(long, value_name = "ADDRESS", value_parser = sender)]
    pub sender: Vec<String>,
    /// Read the password from the first line of standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// Keep the password encrypted as well, for clients that know CRAM-MD5 only
    #[arg(long)]
    pub cram_md5: bool,
    /// The node.
    #[command(flatten)]
    pub node: Node,
}

/// `imss user passwd`.
#[derive(Debug, Args)]
pub struct Passwd {
    /// The login name
    pub name: String,
    /// Read the password from the first line of standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// Keep the password encrypted as well, for clients that know CRAM-MD5 only
    #[arg(long)]
    pub cram_md5: bool,
    /// The node.
    #[command(flatten)]
    pub node: Node,
}

/// `imss queue …`.
#[derive(Debug, Subcommand)]
pub enum Queue {
    /// List the queue, oldest first
    List(List),
    /// Show one message: envelope, recipients, attempts, and where it goes
    Show(One),
    /// Try delivery again now
    Retry(Some),
    /// Keep from being delivered until released
    Hold(Some),
    /// Let held mail go
    Release(Some),
    /// Remove without delivery and without notice to anybody
    Delete(Some),
    /// Send another way from now on, or by the configured routing again
    Route(Route),
    /// Try everything for one destination now, and forget its back-off
    Flush(Flush),
}

/// `imss queue route`.
#[derive(Debug, Args)]
pub struct Route {
    /// Where to: a next hop such as smtp://mail.example.com:25, or `default` for the configured routing
    #[arg(long, value_name = "HOP")]
    pub to: String,
    /// Which messages.
    #[command(flatten)]
    pub some: Some,
}

/// `imss queue flush`.
#[derive(Debug, Args)]
pub struct Flush {
    /// A recipient domain, or a next hop given by `route`
    #[arg(value_name = "DESTINATION")]
    pub destination: String,
    /// The node.
    #[command(flatten)]
    pub node: Node,
}

/// `imss quarantine …`.
#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// List quarantined mail, oldest first
    List(Quarantined),
    /// Show one message; with --message, the message itself
    Show(ShowQuarantined),
    /// Deliver to the recipients it was meant for, without scanning again
    Release(Some),
    /// Remove for good
    Delete(Some),
}

/// Arguments of a list.
#[derive(Debug, Args)]
pub struct List {
    /// The node.
    #[command(flatten)]
    pub node: Node,
    /// Print a JSON array instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `imss quarantine list`.
#[derive(Debug, Args)]
pub struct Quarantined {
    /// The list.
    #[command(flatten)]
    pub list: List,
    /// Only this area of the quarantine
    #[arg(long, value_name = "NAME")]
    pub area: Option<String>,
}

/// One message.
#[derive(Debug, Args)]
pub struct One {
    /// The message's queue ID
    pub id: QueueId,
    /// The node.
    #[command(flatten)]
    pub node: Node,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `imss quarantine show`.
#[derive(Debug, Args)]
pub struct ShowQuarantined {
    /// The message.
    #[command(flatten)]
    pub one: One,
    /// Print the quarantined message itself, byte for byte
    #[arg(long, conflicts_with = "json")]
    pub message: bool,
}

/// Some messages.
#[derive(Debug, Args)]
pub struct Some {
    /// The messages' queue IDs
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub ids: Vec<QueueId>,
    /// All messages
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// The node.
    #[command(flatten)]
    pub node: Node,
}

/// `imss explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The message.
    #[command(flatten)]
    pub one: One,
}

fn reverse_path(text: &str) -> Result<ReversePath, String> {
    let bare = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
    ReversePath::parse(bare, Syntax::LAX).map_err(|error| error.to_string())
}

fn login_name(text: &str) -> Result<String, String> {
    let is_fine = (1..=255).contains(&text.len())
        && !text.starts_with('#')
        && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if is_fine {
        Ok(text.to_owned())
    } else {
        Err("a login name has 1 to 255 octets, no blanks, and no # in front".to_owned())
    }
}

fn sender(text: &str) -> Result<String, String> {
    let address = text.strip_prefix('*').map_or_else(|| text.to_owned(), |rest| format!("x{rest}"));
    let is_one = ForwardPath::parse(&address, Syntax::LAX).is_ok_and(|p| p.mailbox().is_some());
    if is_one && !text.contains([',', ' ', '"']) {
        Ok(text.to_owned())
    } else {
        Err("write an address or *@DOMAIN".to_owned())
    }
}

fn forward_path(text: &str) -> Result<ForwardPath, String> {
    let bare = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
    ForwardPath::parse(bare, Syntax::LAX).map_err(|error| error.to_string())
}

const RUN_HELP: &str = "\
Without a configuration the gateway takes mail on 127.0.0.1:2525 from this machine, judges it by
the built-in policy, delivers to Maildirs under the data directory, and serves metrics and health
on http://127.0.0.1:8446. It writes one line to standard error for each listener once it accepts
connections.

Signals:
  SIGTERM, SIGINT  stop: sessions and deliveries under way may end, then the program does
  SIGHUP           read policy, lists and certificates again; a mistake changes nothing

Examples:
  imss run
  imss run --config /etc/imss/imss.toml

Exit codes:
  0  stopped by a signal
  1  it could not start, or had to stop
  2  wrong usage, or a mistake in the configuration or the policy";

const SCAN_HELP: &str = "\
Each PATH may be a message (a file that starts with header fields), an mbox (a file that starts
with a `From ` line; every message in it is scanned), a folder (everything below it, Maildirs
included), or any other file, which is scanned as if it were attached to an empty message. Results
come in the order of the paths, folders sorted by name, whatever the number of cores.

With --jsonl each line is an object with these keys, in this order:
  path        the file; `FILE#N` for the Nth message of an mbox
  verdict     clean, infected, suspicious, phish, spam, graymail, policy or unscannable
  action      what the policy does for the first recipient: deliver, quarantine, delete, reject,
              bounce, redirect, hold or defer
  score       the sum of the findings' points
  findings    kind, name, engine, entity, detail, score of each
  gaps        what was not inspected: reason, entity, engine, detail of each
  rules       the rules that acted, in order
  entities    how many things were examined: the message, parts, attachments, archive members
  elapsed_us  microseconds spent
A PATH that cannot be read gives an object with `path` and `error` instead.

Examples:
  imss scan suspect.eml
  imss scan --jsonl ~/Maildir archive.mbox | jq 'select(.verdict != \"clean\")'
  imss scan --policy policy.toml --mail-from a@example.net --rcpt b@example.com mail.eml
  curl -s https://example.org/file.zip | imss scan -

Exit codes:
  0  nothing was found
  1  something was found, or could not be inspected
  2  an input could not be read, or wrong usage, or a mistake in the policy";

const CHECK_HELP: &str = "\
Prints every mistake at once, with file, line, column, key, reason and remedy. Files that the
configuration names (policy, certificate, lists) are read too. Nothing is changed.

Examples:
  imss check --config /etc/imss/imss.toml && kill -HUP \"$(pidof imss)\"

Exit codes:
  0  no mistake
  2  a mistake, or a file that cannot be read";

const QUEUE_HELP: &str = "\
Talks to the running gateway over DATA-DIR/control.sock. If none runs, the commands work on the
queue's files themselves.

Examples:
  imss queue list
  imss queue list --json | jq -r '.[] | select(.attempts > 3) | .id'
  imss queue show 06A3F1S2QW000123
  imss queue retry --all
  imss queue hold 06A3F1S2QW000123 06A3F1S2QW000124
  imss queue route 06A3F1S2QW000123 --to smtp://spare.example.com:25
  imss queue flush example.com

Exit codes:
  0  done
  1  a message is not there, or the command failed
  2  wrong usage, or a mistake in the configuration";

const QUARANTINE_HELP: &str = "\
Talks to the running gateway over DATA-DIR/control.sock. If none runs, the commands work on the
files themselves.

Examples:
  imss quarantine list --area malware
  imss quarantine show 06A3F1S2QW000123
  imss quarantine show --message 06A3F1S2QW000123 > held.eml
  imss quarantine release 06A3F1S2QW000123

Exit codes:
  0  done
  1  a message is not there, or the command failed
  2  wrong usage, or a mistake in the configuration";

const EXPLAIN_HELP: &str = "\
Reads the message's verdict record: what was found where, what was not inspected, each rule that
was looked at with its condition and whether it matched, and what became of each recipient. The
queue ID stands in the Received field, in the SMTP reply and in the log.

Examples:
  imss explain 06A3F1S2QW000123
  imss explain --json 06A3F1S2QW000123 | jq .findings

Exit codes:
  0  the record was printed
  1  there is no record of this message
  2  wrong usage, or a mistake in the configuration";

const UPDATE_HELP: &str = "\
A set is fetched aside, its signature and every file are checked, the engines load it aside, and only
then it is in use: mail goes on meanwhile. If anything is wrong, the version before stays.

Keys, source and interval are in imss.toml:
  [signatures]
  keys = [\"BASE64\"]
  source = \"https://signatures.example.com/imss\"
  interval = \"1 hour\"

Examples:
  imss update                          fetch from the configured source
  imss update --from /media/usb/set    a folder, for a node without a way out
  imss update --list --json
  imss update --roll-back base

Exit codes: 0 up to date or updated, 1 not updated, 2 wrong usage.";

const USER_HELP: &str = "\
Users log in at listeners with `mode = \"submission\"` (or `auth = \"offered\"`) and may then send to
any domain. The file of users, DATA-DIR/users unless [auth] says otherwise, holds no passwords: only
what proves one (SCRAM-SHA-256). Where --cram-md5 asks for it, the password is kept besides,
encrypted under the key in DATA-DIR/users.key. Both files are readable by their owner only.

A running gateway uses the change at once.

Examples:
  imss user add alice@example.com
  imss user add printer --sender '*@example.com' --cram-md5
  pwgen 20 1 | tee /dev/tty | imss user passwd alice@example.com --password-stdin
  imss user list --json | jq -r '.[].name'
  imss user delete alice@example.com

Exit codes:
  0  done
  1  the user is not there (or is already), or a file cannot be read or written
  2  wrong usage, or a mistake in the configuration";

const BUNDLE_HELP: &str = "\
Examples:
  imss bundle keygen signing.key
  imss bundle sign ./set --key signing.key --name base --set-version 2026.11.22
  imss update --from ./set";
