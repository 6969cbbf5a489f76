//! RAR archives, 1.5 to 7, one volume at a time, also in a program that unpacks itself.
//!
//! In: octets with a signature at the start, or anywhere in a program. Out: a member for each file;
//! for each link a member without content, its target behind its name. What goes on in another
//! volume is malformed; encrypted names make the whole archive encrypted.
//!
//! Dictionaries, workspace, headers and output have ceilings. The decoder cannot ask the budget, so
//! its output goes to a sink that knows what is left and when to stop.

use std::cell::RefCell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rars::{
    Archive, ArchiveMember, ArchiveMemberDetail, ArchiveReadOptions, ArchiveReader, Error,
    ErrorKind, ExtractionDecision, ExtractionErrorAction,
};

use super::drain::kept;
use super::le::length;
use super::names::{add, spellings};
use super::passwords::may_try;
use super::sfx::{self, Start};
use super::{Member, Missing, Passwords, Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit, RATIO_FROM, StopFlag};

const SIGNATURE: &[u8] = b"Rar!\x1a\x07";
/// Largest dictionary, and room for a decoder with its filters, in octets.
const MAX_DICTIONARY: u64 = 64 << 20;
const MAX_WORKSPACE: u64 = 176 << 20;
/// Octets of all headers.
const MAX_HEADERS: u64 = 16 << 20;
/// Most tries of passwords on one archive.
const MAX_TRIES: usize = 12;
/// What deriving one key costs, in steps: 2^18 rounds of SHA-1 before version 5, and since then
/// per round of its own count.
const STEPS_OF_SHA1: u64 = 12_000_000;
const STEPS_PER_ROUND: u64 = 200;
/// Largest count of rounds, as a power of two, for which a key is derived. Archivers write 15.
const MAX_ROUNDS: u8 = 18;

/// The RAR formats.
pub(super) struct Rar;

impl Unpacker for Rar {
    fn name(&self) -> &'static str {
        "rar"
    }

    fn recognises(&self, content: &Bytes, _detected: &FileType) -> bool {
        start(content).is_some()
    }

    fn unpack(
        &self,
        source: &Source<'_>,
        budget: &mut Budget<'_>,
        out: &mut dyn FnMut(Unpacked),
    ) -> Result<(), UnpackError> {
        let Some(offset) = Start::place(start(source.content), budget) else { return Ok(()) };
        let content = source.content.slice(offset..);
        let (archive, password) = open(&content, source.passwords, budget)?;
        Run { content: &content, archive: &archive, password, budget, out }.all()
    }
}

fn start(content: &[u8]) -> Option<Start> {
    // 0 is version 1.5 to 4, 1 is 5 to 7; a later one is reported as such.
    let is_known = |rest: &[u8]| rest.get(SIGNATURE.len()).is_some_and(|&version| version <= 2);
    if content.starts_with(SIGNATURE) {
        return is_known(content).then_some(Start::At(0));
    }
    sfx::search(content, (SIGNATURE, 0), is_known, |_| true)
}

/// Parses the headers, and finds a password if anything needs one.
fn open(
    content: &Bytes,
    passwords: &Passwords,
    budget: &mut Budget<'_>,
) -> Result<(Archive, Option<String>), UnpackError> {
    let plain = parse(content, None, budget);
    let (archive, cost) = match plain {
        Ok(archive) => {
            let Some(cost) = cost(&archive) else { return Ok((archive, None)) };
            (Some(archive), cost)
        }
        Err(error) if needs_password(&error) => (None, header_cost(content)),
        Err(error) => return Err(refused(&error)),
    };
    for word in passwords.iter().take(MAX_TRIES) {
        if !may_try(budget, cost) {
            break;
        }
        if let Some(archive) = tried(content, archive.as_ref(), word, budget) {
            return Ok((archive, Some(word.to_owned())));
        }
    }
    budget.check_stop()?;
    archive.map(|archive| (archive, None)).ok_or(UnpackError::Encrypted("names and content"))
}

/// The archive, if `word` proves to open it.
fn tried(
    content: &Bytes,
    plain: Option<&Archive>,
    word: &str,
    budget: &mut Budget<'_>,
) -> Option<Archive> {
    let archive = parse(content, Some(word), budget).ok()?;
    let members: Vec<ArchiveMember> = archive.members().collect();
    let whole = |member: &ArchiveMember| {
        member.meta.is_encrypted && !member.meta.is_split_before && !member.meta.is_split_after
    };
    let encrypted = members.iter().enumerate().filter(|(_, member)| whole(member));
    let smallest = encrypted.min_by_key(|(_, member)| member.meta.unpacked_size);
    let Some((place, member)) = smallest else {
        // Headers that could be read prove it.
        return plain.is_none().then_some(archive);
    };
    let size = member.meta.unpacked_size;
    let charged = budget.charge_work(size.saturating_add(member.meta.packed_size));
    if charged.is_err() || size > budget.bytes_left() {
        return None;
    }
    let options = options(Some(word), budget);
    let run = AssertUnwindSafe(|| archive.read_member_at_with_options(place, options));
    let proven = matches!(catch_unwind(run), Ok(Ok(Some(_))));
    proven.then_some(archive)
}

fn parse(content: &Bytes, password: Option<&str>, budget: &Budget<'_>) -> Result<Archive, Error> {
    let run = || ArchiveReader::read_with_options(content, options(password, budget));
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Error::InvalidHeader(CRASHED)))
}

const CRASHED: &str = "the decoder crashed";

fn options<'a>(password: Option<&'a str>, budget: &Budget<'_>) -> ArchiveReadOptions<'a> {
    let limits = budget.limits();
    let most = budget.bytes_left();
    let headers = (limits.max_entities as u64).saturating_add(64);
    ArchiveReadOptions::with_optional_password(password.map(str::as_bytes))
        .with_max_header_count(headers)
        .with_max_header_bytes(MAX_HEADERS)
        .with_max_reader_workspace_bytes(MAX_WORKSPACE)
        .with_max_member_output_bytes(limits.max_entity_bytes.min(most))
        .with_max_total_output_bytes(most)
        .with_rar50_dictionary_size_limit(MAX_DICTIONARY)
        .with_rar50_buffered_decode_limit(MAX_DICTIONARY)
}

/// What deriving the keys of all members costs; `None` if none is encrypted. Keys of one archive
/// usually share their salt, but need not.
fn cost(archive: &Archive) -> Option<u64> {
    let encrypted = archive.member_refs().filter(|member| member.to_owned().meta.is_encrypted);
    let count = u64::try_from(encrypted.count()).ok().filter(|count| *count > 0)?;
    let Some(blocks) = archive.as_rar50().map(|archive| &archive.blocks) else {
        return Some(STEPS_OF_SHA1.saturating_mul(count));
    };
    let powers = blocks.iter().filter_map(|block| match block {
        rars::rar50::Block::File(file) => file.encryption.as_ref().map(|own| own.kdf_count),
        _ => None,
    });
    Some(rounds_cost(powers.max().unwrap_or(15)).saturating_mul(count))
}

fn rounds_cost(power: u8) -> u64 {
    if power > MAX_ROUNDS {
        return u64::MAX;
    }
    STEPS_PER_ROUND.checked_shl(u32::from(power)).unwrap_or(u64::MAX)
}

/// The same for encrypted headers: since version 5 an encryption header comes first (RAR 5.0
/// technical note, "Archive encryption header").
fn header_cost(content: &[u8]) -> u64 {
    if content.get(SIGNATURE.len()) != Some(&1) {
        return STEPS_OF_SHA1;
    }
    let mut rest = content.get(12..).unwrap_or_default().iter().copied();
    // Header size, type, flags, version of the encryption, its flags.
    for _ in 0..5 {
        while rest.next().is_some_and(|octet| octet & 0x80 != 0) {}
    }
    // Each file behind it derives a key of its own.
    rest.next().map_or(u64::MAX, |power| rounds_cost(power).saturating_mul(2))
}

fn needs_password(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PasswordRequired | ErrorKind::BadPassword)
}

fn refused(error: &Error) -> UnpackError {
    match error.kind() {
        ErrorKind::UnsupportedFormat | ErrorKind::UnsupportedFeature => {
            UnpackError::Unsupported("version or feature")
        }
        ErrorKind::ResourceLimit => UnpackError::Limit(Limit::Entities),
        _ if *error == Error::InvalidHeader(CRASHED) => UnpackError::Crashed,
        _ => UnpackError::Malformed { offset: 0, detail: "header" },
    }
}

/// One archive being read.
struct Run<'a, 'b, 'c> {
    content: &'a Bytes,
    archive: &'a Archive,
    password: Option<String>,
    budget: &'a mut Budget<'b>,
    out: &'a mut (dyn FnMut(Unpacked) + 'c),
}

/// What is known while the decoder runs.
struct State<'s, 'a, 'b, 'c> {
    run: &'s mut Run<'a, 'b, 'c>,
    /// Members that were decided on.
    reached: usize,
    /// The member that is being written.
    current: Option<(ArchiveMember, Sink)>,
    ended: Option<UnpackError>,
    bytes_left: u64,
}

impl Run<'_, '_, '_> {
    fn all(mut self) -> Result<(), UnpackError> {
        let (archive, password) = (self.archive, self.password.clone());
        let options = options(password.as_deref(), self.budget);
        let bytes_left = self.budget.bytes_left();
        let state = RefCell::new(State {
            run: &mut self,
            reached: 0,
            current: None,
            ended: None,
            bytes_left,
        });
        let run = AssertUnwindSafe(|| {
            archive.extract_with_control_and_errors(
                options,
                |member| Ok(state.borrow_mut().decide(member)),
                |member, error| Ok(state.borrow_mut().failed(member, error)),
            )
        });
        let result = catch_unwind(run);
        let mut state = state.into_inner();
        let error = match &result {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(missing(error)),
            Err(_) => Some(Missing::new(GapReason::Crash, CRASHED)),
        };
        state.finish(error.clone());
        state.rest(error.unwrap_or_else(|| Missing::new(GapReason::Malformed, "not reached")));
        state.ended.take().map_or(Ok(()), Err)
    }
}

impl State<'_, '_, '_, '_> {
    /// What to do with the next member.
    fn decide(&mut self, member: &ArchiveMember) -> ExtractionDecision {
        self.finish(None);
        if self.ended.is_some() {
            return ExtractionDecision::Stop;
        }
        self.reached = self.reached.saturating_add(1);
        if member.meta.is_directory {
            return ExtractionDecision::Skip;
        }
        if let Some(missing) = self.why_not(member) {
            self.hand_over(member, Bytes::new(), missing);
            return if self.ended.is_some() {
                ExtractionDecision::Stop
            } else {
                ExtractionDecision::Skip
            };
        }
        let budget = &*self.run.budget;
        let plausible = (self.run.content.len() as u64).saturating_mul(budget.limits().max_ratio);
        let most = budget.limits().max_entity_bytes.min(budget.bytes_left());
        let sink = Sink {
            bytes: Arc::default(),
            most: length(most.min(plausible.max(RATIO_FROM))),
            stop: budget.stop_flag(),
        };
        self.current = Some((member.clone(), sink.clone()));
        ExtractionDecision::Extract(Box::new(sink))
    }

    /// Why a member is not decoded; for a link there is nothing to decode, and nothing missing.
    #[expect(clippy::option_option, reason = "outer: not decoded; inner: what is missing then")]
    fn why_not(&self, member: &ArchiveMember) -> Option<Option<Missing>> {
        let meta = &member.meta;
        if meta.is_redirection {
            return Some(None);
        }
        if meta.is_encrypted && self.run.password.is_none() {
            return Some(Some(Missing::new(GapReason::Encrypted, "encrypted")));
        }
        if meta.is_split_before || meta.is_split_after {
            return Some(Some(Missing::new(GapReason::Malformed, "goes on in another volume")));
        }
        None
    }

    fn failed(&mut self, member: &ArchiveMember, error: &Error) -> ExtractionErrorAction {
        let mut why = missing(error);
        // A wrong password shows as garbage.
        if member.meta.is_encrypted && why.reason == GapReason::Malformed {
            why = Missing::new(GapReason::Encrypted, "no password fits");
        }
        self.finish(Some(why));
        if self.ended.is_some() {
            ExtractionErrorAction::Abort
        } else {
            ExtractionErrorAction::Continue
        }
    }

    /// Hands over the member that was written.
    fn finish(&mut self, missing: Option<Missing>) {
        let Some((member, sink)) = self.current.take() else { return };
        let (mut content, limited) = sink.take();
        let mut missing = limited.or(missing);
        if let Err(limit) = self.run.budget.charge_bytes(content.len() as u64) {
            missing = Some(Missing::new(GapReason::Limit(limit), format!("{limit} limit")));
        }
        if let Some(missing) = &missing {
            let is_garbage = missing.reason == GapReason::Encrypted;
            content.truncate(if is_garbage { 0 } else { kept(missing) });
        }
        content.shrink_to_fit();
        self.hand_over(&member, content.into(), missing);
    }

    fn hand_over(&mut self, member: &ArchiveMember, content: Bytes, missing: Option<Missing>) {
        if let Err(limit) = self.run.budget.charge_entity() {
            self.ended.get_or_insert(limit.into());
            return;
        }
        let limit = missing.as_ref().and_then(Missing::final_limit);
        let (names, claimed_size) = (names(member), member.meta.unpacked_size);
        (self.run.out)(Unpacked::Member(Member { names, claimed_size, content, missing }));
        let produced = self.bytes_left.saturating_sub(self.run.budget.bytes_left());
        let ratio = self.run.budget.check_ratio(self.run.content.len() as u64, produced);
        if let Some(limit) = limit.or(ratio.err()) {
            self.ended.get_or_insert(limit.into());
        }
    }

    /// The members that the decoder never came to.
    fn rest(&mut self, missing: Missing) {
        let archive = self.run.archive;
        for member in archive.members().skip(self.reached) {
            if self.ended.is_some() {
                return;
            }
            if !member.meta.is_directory {
                let own = self.why_not(&member).unwrap_or_else(|| Some(missing.clone()));
                self.hand_over(&member, Bytes::new(), own);
            }
        }
    }
}

/// Every spelling of a member's name, and a link's target.
fn names(member: &ArchiveMember) -> Vec<String> {
    let mut names = spellings(&member.meta.name, member.name_is_unicode());
    if let ArchiveMemberDetail::Rar50Plus { redirection: Some(link), .. } = &member.detail {
        add(&mut names, spellings(&link.target_name, true));
    }
    names
}

fn missing(error: &Error) -> Missing {
    let reason = match error.kind() {
        ErrorKind::PasswordRequired | ErrorKind::BadPassword => GapReason::Encrypted,
        ErrorKind::UnsupportedFeature | ErrorKind::UnsupportedFormat => GapReason::Unsupported,
        // Dictionaries and workspace: a form of the format that is too large to open here.
        ErrorKind::ResourceLimit => match error.root_cause() {
            Error::MemberOutputLimitExceeded { .. } => GapReason::Limit(Limit::EntityBytes),
            Error::TotalOutputLimitExceeded { .. } => GapReason::Limit(Limit::TotalBytes),
            _ => GapReason::Unsupported,
        },
        ErrorKind::Cancelled => GapReason::Limit(Limit::Time),
        _ => GapReason::Malformed,
    };
    let text: String = error.root_cause().to_string().chars().take(200).collect();
    Missing::new(reason, text.escape_debug().to_string())
}

/// Takes what the decoder writes, up to a bound.
#[derive(Clone)]
struct Sink {
    bytes: Arc<Mutex<(Vec<u8>, Option<Limit>)>>,
    most: usize,
    stop: StopFlag,
}

impl Sink {
    fn take(self) -> (Vec<u8>, Option<Missing>) {
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, limit) = std::mem::take(&mut *held);
        let missing = |limit| Missing::new(GapReason::Limit(limit), format!("{limit} limit"));
        (bytes, limit.map(missing))
    }
}

impl Write for Sink {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = held.0.len().saturating_add(octets.len()) <= self.most;
        let limit = match (self.stop.is_stopped(), fits) {
            (true, _) => Limit::Time,
            (_, false) => Limit::Ratio,
            _ => {
                held.0.extend_from_slice(octets);
                return Ok(octets.len());
            }
        };
        held.1 = Some(limit);
        Err(std::io::Error::other(limit.as_str()))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
