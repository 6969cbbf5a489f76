//! Who may log in: a file with one user a line, read again without a restart.
//!
//! In: lines of `NAME VERIFIER [cram-md5=SEALED] [senders=ADDRESS,…]`; `#` begins a comment. Out:
//! whether a password is right, the verifiers that SCRAM needs, and who may send as whom. A line
//! that cannot be read makes the whole file unusable, with its number: what was in use stays.
//! No line holds a password that could be read.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use imss_core::envelope::ReversePath;
use tokio::sync::Semaphore;

use super::exchange::Claim;
use super::guessers::{Guessers, Standing};
use super::verifier::{self, CryptoError, Key, SealKey, Sealed, Verifier};
use super::{LoginAnswer, Password};
use crate::inbound::settings::SessionLimits;
use crate::inbound::slots::{Slot, Slots};

/// Octets of a file of users.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Passwords that are compared at once: each takes a processor for some hundredths of a second.
pub(super) const COMPARED_AT_ONCE: usize = 4;
/// Passwords that are compared or wait for it, in all, and for one client from which a login was right
/// lately: a webmail host logs many users in at once. One more is not looked at and gets 454.
pub(super) const QUEUED: usize = 128;
const QUEUED_PER_CLIENT: usize = 64;
const QUEUED_PER_NETWORK: usize = 96;
/// The same for strangers and for those who guess: half of all turns together, so that they make nobody wait
/// who is known, and few for one of them.
pub(super) const QUEUED_OF_STRANGERS: usize = QUEUED / 2;
pub(super) const QUEUED_PER_STRANGER: usize = 8;
const QUEUED_PER_STRANGERS_NETWORK: usize = 32;

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The login name, as it was given.
    pub name: String,
    /// Proves the password.
    pub verifier: Verifier,
    /// The password under the node's key, for CRAM-MD5.
    pub cram_md5: Option<Sealed>,
    /// Reverse-paths the user may use besides its name: addresses, or `*@domain`.
    pub senders: Vec<String>,
}

/// Why users cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// A file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is larger than a list of users can be.
    #[error("{}: larger than {MAX_FILE_BYTES} octets", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A line that is none.
    #[error(
        "{}:{line}: not a user; write users with `imss user add`, not by hand", path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A name twice.
    #[error("{}:{line}: a second user of this name; remove one", path.display())]
    Repeated {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The key file is not one.
    #[error("{}: not a key; it wants 32 octets in base64, as `imss user` writes it", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
    },
    /// The cryptographic library.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// The files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFiles {
    /// Users.
    pub users: PathBuf,
    /// The key for CRAM-MD5's passwords.
    pub key: PathBuf,
}

impl UserFiles {
    /// Reads all users; none if the file is not there.
    ///
    /// # Errors
    ///
    /// See [`UsersError`].
    pub fn read(&self) -> Result<Vec<User>, UsersError> {
        let Some(text) = read(&self.users)? else { return Ok(Vec::new()) };
        let mut users: Vec<User> = Vec::new();
        let mut known = std::collections::HashSet::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index.saturating_add(1);
            let path = || self.users.clone();
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let user = User::parse(line)
                .ok_or_else(|| UsersError::Line { path: path(), line: line_number })?;
            if !known.insert(fold(&user.name)) {
                return Err(UsersError::Repeated { path: path(), line: line_number });
            }
            users.push(user);
        }
        Ok(users)
    }

    /// Writes all users; whoever reads the file meanwhile sees the old ones or the new ones.
    ///
    /// # Errors
    ///
    /// [`UsersError::Io`]; then the old file is still there.
    pub fn write(&self, users: &[User]) -> Result<(), UsersError> {
        let mut text = String::from("# Written by `imss user`.\n");
        for user in users {
            user.write_to(&mut text);
        }
        let aside = self.users.with_extension("new");
        let written =
            write_private(&aside, &text, fs::OpenOptions::new().create(true).truncate(true))
                .and_then(|()| fs::rename(&aside, &self.users));
        written.map_err(|source| UsersError::Io { path: self.users.clone(), source })
    }

    /// The key; `None` if there is no file.
    ///
    /// # Errors
    ///
    /// See [`UsersError`].
    pub fn read_key(&self) -> Result<Option<SealKey>, UsersError> {
        let Some(text) = read(&self.key)? else { return Ok(None) };
        let key = SealKey::parse(&text);
        key.map(Some).ok_or_else(|| UsersError::BadKey { path: self.key.clone() })
    }

    /// The key; a new one in a new file if there is none.
    ///
    /// # Errors
    ///
    /// See [`UsersError`].
    pub fn key(&self) -> Result<SealKey, UsersError> {
        if let Some(key) = self.read_key()? {
            return Ok(key);
        }
        let text = SealKey::generate()?;
        write_private(&self.key, &text, fs::OpenOptions::new().create_new(true))
            .map_err(|source| UsersError::Io { path: self.key.clone(), source })?;
        SealKey::parse(&text).ok_or_else(|| UsersError::BadKey { path: self.key.clone() })
    }
}

impl User {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?.to_owned();
        let verifier = Verifier::parse(words.next()?)?;
        let mut user = Self { name, verifier, cram_md5: None, senders: Vec::new() };
        for word in words {
            match word.split_once('=')? {
                ("cram-md5", sealed) => user.cram_md5 = Some(Sealed::parse(sealed)?),
                ("senders", list) => user.senders = list.split(',').map(str::to_owned).collect(),
                _ => return None,
            }
        }
        Some(user)
    }

    fn write_to(&self, text: &mut String) {
        // Writing to a String does not fail.
        let _ = write!(text, "{} {}", self.name, self.verifier);
        if let Some(sealed) = &self.cram_md5 {
            let _ = write!(text, " cram-md5={sealed}");
        }
        if !self.senders.is_empty() {
            let _ = write!(text, " senders={}", self.senders.join(","));
        }
        text.push('\n');
    }

    /// Whether the user may use this reverse-path. Everybody may use the null one.
    fn may_send_as(&self, reverse_path: &ReversePath) -> bool {
        let Some(mailbox) = reverse_path.mailbox() else { return true };
        let address = fold(&mailbox.to_string());
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        let fits = |sender: &str| match sender.strip_prefix("*@") {
            Some(other) => fold(other) == domain,
            None => fold(sender) == address,
        };
        fits(&self.name) || self.senders.iter().any(|sender| fits(sender))
    }
}

/// The users of the moment.
#[derive(Debug)]
pub struct Users {
    files: UserFiles,
    current: ArcSwap<Table>,
    /// For names that are not there, and for passwords that were right before.
    secret: Key,
    /// Processors for comparing.
    pub(super) places: Arc<Semaphore>,
    /// Who is compared or waits for it.
    pub(super) queue: Arc<Slots>,
    /// Who of them is not known.
    strangers: Arc<Slots>,
    guessers: Guessers,
}

#[derive(Debug, Default)]
struct Table {
    users: HashMap<String, User>,
    key: Option<SealKey>,
    /// A digest of the last right password of each user under a key of this process: a client that
    /// comes again and again does not cost a derivation each time.
    right: Mutex<HashMap<String, Key>>,
}

impl Users {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// See [`UsersError`].
    pub fn open(files: UserFiles) -> Result<Self, UsersError> {
        let current = ArcSwap::from_pointee(Table::load(&files)?);
        let secret = verifier::random_key()?;
        let places = Arc::new(Semaphore::new(COMPARED_AT_ONCE));
        let (queue, strangers, guessers) = (Arc::default(), Arc::default(), Guessers::new());
        Ok(Self { files, current, secret, places, queue, strangers, guessers })
    }

    /// Reads the files again.
    ///
    /// # Errors
    ///
    /// See [`UsersError`]. What was in use stays in use.
    pub fn reload(&self) -> Result<(), UsersError> {
        let table = Table::load(&self.files)?;
        table.remember(&self.current.load());
        self.current.store(Arc::new(table));
        Ok(())
    }

    /// Whether the claim of `client` is true. A password is compared on a thread of its own; one
    /// that was right before costs next to nothing and waits for nobody.
    pub async fn verify(self: &Arc<Self>, claim: Claim, client: IpAddr) -> LoginAnswer {
        let (name, password) = match claim {
            Claim::Password { name, password } => (name, password),
            Claim::Proven { name } => return self.counted(client, LoginAnswer::Right(name)),
            Claim::Wrong { .. } => return self.counted(client, LoginAnswer::Wrong),
        };
        if self.was_right(&name, &password) {
            return self.counted(client, LoginAnswer::Right(name));
        }
        let Some(turn) = self.turn(client) else { return LoginAnswer::Unknown };
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return LoginAnswer::Unknown;
        };
        let this = Arc::clone(self);
        // Whoever stops waiting for it stops no comparison: turn and place are taken until its end, and
        // its end counts.
        let compared = tokio::task::spawn_blocking(move || {
            let is_right = this.is_right(&name, &password);
            drop((turn, place));
            let answer = if is_right { LoginAnswer::Right(name) } else { LoginAnswer::Wrong };
            this.counted(client, answer)
        });
        compared.await.unwrap_or(LoginAnswer::Unknown)
    }

    /// A turn to be compared, if there is one for `client`. Its first right login opens the rest to it.
    fn turn(&self, client: IpAddr) -> Option<Turn> {
        let stranger = match self.guessers.standing(client) {
            Standing::Known => None,
            Standing::Stranger | Standing::Guesser => {
                Some(self.strangers.take(client, false, &limits_of_strangers()).ok()?)
            }
        };
        let any = self.queue.take(client, false, &limits_of_all()).ok()?;
        Some(Turn { _any: any, _stranger: stranger })
    }

    fn counted(&self, client: IpAddr, answer: LoginAnswer) -> LoginAnswer {
        self.guessers.count(client, matches!(answer, LoginAnswer::Right(_)));
        answer
    }

    /// Whether `login` may use this reverse-path.
    #[must_use]
    pub fn may_send_as(&self, login: &str, reverse_path: &ReversePath) -> bool {
        let table = self.current.load();
        table.users.get(&fold(login)).is_some_and(|user| user.may_send_as(reverse_path))
    }

    /// The verifier of `name`, or one that no password fits.
    pub(super) fn verifier(&self, name: &str) -> Verifier {
        let (table, folded) = (self.current.load(), fold(name));
        match table.users.get(&folded) {
            Some(user) => user.verifier.clone(),
            None => Verifier::of_nobody(&self.secret, &folded),
        }
    }

    pub(super) fn cram_password(&self, name: &str) -> Option<Password> {
        let table = self.current.load();
        let user = table.users.get(&fold(name))?;
        table.key.as_ref()?.open(&user.name, user.cram_md5.as_ref()?)
    }

    /// Whether this is the user's password. Slow on purpose; not for the network loop.
    #[must_use]
    pub fn is_right(&self, name: &str, password: &Password) -> bool {
        if self.was_right(name, password) {
            return true;
        }
        let (table, name) = (self.current.load_full(), fold(name));
        let is_right = self.verifier(&name).matches(password) && table.users.contains_key(&name);
        if is_right {
            table.right().insert(name, self.tag(password));
        }
        is_right
    }

    /// Whether it is the last password that was right for the user.
    fn was_right(&self, name: &str, password: &Password) -> bool {
        let (table, tag) = (self.current.load(), self.tag(password));
        table.right().get(&fold(name)).is_some_and(|known| verifier::is_same(known, &tag))
    }

    fn tag(&self, password: &Password) -> Key {
        verifier::hmac_sha256(&self.secret, password.octets())
    }
}

impl Table {
    fn load(files: &UserFiles) -> Result<Self, UsersError> {
        let users = files.read()?.into_iter().map(|user| (fold(&user.name), user)).collect();
        Ok(Self { users, key: files.read_key()?, right: Mutex::default() })
    }

    fn right(&self) -> MutexGuard<'_, HashMap<String, Key>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over which passwords were right, for the users that are as they were.
    fn remember(&self, before: &Self) {
        let verifier = |table: &Self, name: &str| Some(table.users.get(name)?.verifier.clone());
        let mut right = before.right().clone();
        right.retain(|name, _| verifier(self, name) == verifier(before, name));
        *self.right() = right;
    }
}

/// What somebody takes who is compared or waits for it; dropping it makes room.
struct Turn {
    _any: Slot,
    _stranger: Option<Slot>,
}

fn limits_of_all() -> SessionLimits {
    limits(QUEUED, QUEUED_PER_CLIENT, QUEUED_PER_NETWORK)
}

fn limits_of_strangers() -> SessionLimits {
    limits(QUEUED_OF_STRANGERS, QUEUED_PER_STRANGER, QUEUED_PER_STRANGERS_NETWORK)
}

fn limits(all: usize, per_client: usize, per_network: usize) -> SessionLimits {
    SessionLimits {
        // The last tenth is for trusted clients, which there are none of here.
        connections: all.saturating_mul(10) / 9,
        connections_per_client: per_client,
        connections_per_network: per_network,
        ..SessionLimits::default()
    }
}

/// Login names are the same in any case, as the addresses are that they mostly are.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase()
}

fn read(path: &Path) -> Result<Option<String>, UsersError> {
    let io = |source| UsersError::Io { path: path.to_owned(), source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut text = String::new();
    let read = file.take(MAX_FILE_BYTES.saturating_add(1)).read_to_string(&mut text).map_err(io)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_FILE_BYTES) {
        return Err(UsersError::TooLarge { path: path.to_owned() });
    }
    Ok(Some(text))
}

/// Writes a file that only its owner reads, down to the disk.
fn write_private(path: &Path, text: &str, options: &mut fs::OpenOptions) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let mut file = options.write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
