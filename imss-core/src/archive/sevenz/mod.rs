//! 7z archives (7zFormat.txt): solid, encrypted, in a program that unpacks itself.
//!
//! In: octets with the signature at the start, or anywhere in a program. Out: a member for each file.
//! A block that cannot be decoded costs its own files only, and they keep their names. Encrypted
//! names make the whole archive encrypted.
//!
//! The decoder allocates what headers claim, so dictionaries and models are measured before. Each try
//! of a password is charged what its key derivation costs, and counts only if a checksum proves it.

mod header;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use sevenz_rust2::{Archive, BlockDecoder, EncoderMethod, Error, Password};

use super::drain::{Drained, Pace, drain_at};
use super::le::u32_at;
use super::passwords::may_try;
use super::sfx::{self, Start};
use super::{Member, Missing, Passwords, Source, UnpackError, Unpacked, Unpacker};
use crate::filetype::FileType;
use crate::finding::GapReason;
use crate::limits::{Budget, Limit};
use crate::recycle;

const SIGNATURE: &[u8] = b"7z\xbc\xaf\x27\x1c";
/// Largest dictionary or model, in octets.
const MAX_DICTIONARY: u64 = 80 << 20;
/// Most coders of one block: each nests a decoder.
const MAX_CODERS: usize = 8;
/// Most tries of passwords on one archive.
const MAX_TRIES: usize = 12;
/// What one round of the key derivation costs, in steps.
const STEPS_PER_ROUND: u64 = 24;

/// The 7z format.
pub(super) struct SevenZip;

impl Unpacker for SevenZip {
    fn name(&self) -> &'static str {
        "7z"
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
        let (archive, password) = open(&content, source.passwords, budget)
            .map_err(|error| at_offset(error, offset as u64))?;
        let bytes_left = budget.bytes_left();
        let mut run = Run {
            content: &content,
            archive: &archive,
            password,
            passwords: source.passwords,
            budget,
            out,
            chunk: Vec::new(),
            derived: None,
            bytes_left,
        };
        run.all()
    }
}

fn start(content: &[u8]) -> Option<Start> {
    if content.starts_with(SIGNATURE) {
        return Some(Start::At(0));
    }
    sfx::search(content, (SIGNATURE, 0), header::is_start, |_| true)
}

fn at_offset(error: UnpackError, start: u64) -> UnpackError {
    match error {
        UnpackError::Malformed { offset, detail } => {
            UnpackError::Malformed { offset: offset.saturating_add(start), detail }
        }
        other => other,
    }
}

/// Reads the headers, with a password if they need one.
fn open(
    content: &Bytes,
    passwords: &Passwords,
    budget: &mut Budget<'_>,
) -> Result<(Archive, Password), UnpackError> {
    let coders = header::coders(content);
    let key = check(coders.iter().map(|coder| (coder.id, coder.properties)), u64::MAX)
        .map_err(UnpackError::Unsupported)?;
    match parse(content, &Password::empty()) {
        Ok(archive) => return Ok((archive, Password::empty())),
        Err(Error::PasswordRequired) => {}
        Err(error) => return Err(refused(&error)),
    }
    for word in passwords.iter().take(MAX_TRIES) {
        if !may_try(budget, cost(key.as_ref())) {
            break;
        }
        let password = Password::from(word);
        if let Ok(archive) = parse(content, &password) {
            return Ok((archive, password));
        }
    }
    budget.check_stop()?;
    Err(UnpackError::Encrypted("names and content"))
}

fn parse(content: &Bytes, password: &Password) -> Result<Archive, Error> {
    let read = || Archive::read(&mut Cursor::new(content), password);
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(Error::Other(CRASHED.into())))
}

const CRASHED: &str = "the decoder crashed";

fn refused(error: &Error) -> UnpackError {
    match error {
        Error::Other(detail) if *detail == CRASHED => UnpackError::Crashed,
        Error::UnsupportedVersion { .. } => UnpackError::Unsupported("version"),
        Error::ExternalUnsupported => UnpackError::Unsupported("external header"),
        Error::Unsupported(_) | Error::UnsupportedCompressionMethod(_) => {
            UnpackError::Unsupported("method of the header")
        }
        Error::ChecksumVerificationFailed | Error::NextHeaderCrcMismatch => {
            UnpackError::Malformed { offset: 0, detail: "wrong checksum of the header" }
        }
        _ => UnpackError::Malformed { offset: 0, detail: "header" },
    }
}

/// How a key is derived from a password.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    /// Rounds, as a power of two; 0x3f is none at all.
    rounds: u8,
    salt: Vec<u8>,
}

impl Key {
    /// From the properties of the coder: rounds and flags, sizes of salt and vector, both.
    fn read(properties: &[u8]) -> Self {
        let octet = |at: usize| properties.get(at).copied().unwrap_or(0);
        let size = (octet(0) >> 7).saturating_add(octet(1) >> 4);
        let salt = properties.iter().skip(2).take(size.into()).copied().collect();
        Self { rounds: octet(0) & 0x3f, salt }
    }
}

/// Measures what coders would allocate. Out: how their key is derived; `None` without encryption.
fn check<'a>(
    coders: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    size: u64,
) -> Result<Option<Key>, &'static str> {
    let mut key = None;
    for (place, (id, properties)) in coders.enumerate() {
        let field = |at| u32_at(properties, at).map_or(0, u64::from);
        let octet = properties.first().copied().unwrap_or(0);
        let dictionary = match id {
            // This decoder takes no more than the output needs.
            EncoderMethod::ID_LZMA => field(1).min(size),
            EncoderMethod::ID_LZMA2 => lzma2_dictionary(octet),
            EncoderMethod::ID_PPMD => field(1),
            EncoderMethod::ID_AES256_SHA256 => {
                key = Some(Key::read(properties));
                0
            }
            _ => 0,
        };
        if dictionary > MAX_DICTIONARY {
            return Err("dictionary over 80 MiB");
        }
        if place >= MAX_CODERS {
            return Err("more than 8 coders in a block");
        }
    }
    Ok(key)
}

fn lzma2_dictionary(property: u8) -> u64 {
    let mantissa = 2 | u64::from(property & 1);
    mantissa.checked_shl(u32::from(property / 2).saturating_add(11)).unwrap_or(u64::MAX)
}

/// What deriving one key costs, in steps. Rounds beyond reason cost more than any budget has.
fn cost(key: Option<&Key>) -> u64 {
    let rounds = match key.map(|key| key.rounds) {
        Some(0x3f) | None => 1,
        Some(power) => 1_u64.checked_shl(u32::from(power)).unwrap_or(u64::MAX),
    };
    rounds.saturating_mul(STEPS_PER_ROUND).saturating_add(1_000)
}

/// One archive being read.
struct Run<'a, 'b, 'c> {
    content: &'a Bytes,
    archive: &'a Archive,
    /// The one that is known to be right, or empty.
    password: Password,
    passwords: &'a Passwords,
    budget: &'a mut Budget<'b>,
    out: &'a mut (dyn FnMut(Unpacked) + 'c),
    chunk: Vec<u8>,
    derived: Option<Key>,
    /// Octets that could be produced when the archive was opened.
    bytes_left: u64,
}

impl Run<'_, '_, '_> {
    fn all(&mut self) -> Result<(), UnpackError> {
        let archive = self.archive;
        self.find_password()?;
        for block in 0..archive.blocks.len() {
            self.block(block)?;
        }
        let places = archive.files.iter().zip(&archive.stream_map.file_block_index);
        for (file, _) in places.filter(|(file, block)| block.is_none() && !file.is_directory) {
            let missing = file.has_stream.then(|| Missing::new(GapReason::Malformed, "no content"));
            self.hand_over(&file.name, file.size, Vec::new(), missing)?;
        }
        Ok(())
    }

    fn key(&self, block: usize) -> Result<Option<Key>, &'static str> {
        let Some(block) = self.archive.blocks.get(block) else { return Ok(None) };
        let coders = block.coders.iter();
        check(
            coders.map(|coder| (coder.encoder_method_id(), coder.properties())),
            block.get_unpack_size(),
        )
    }

    /// Tries passwords on the smallest encrypted block, if the names were not encrypted.
    fn find_password(&mut self) -> Result<(), UnpackError> {
        if !self.password.is_empty() {
            return Ok(());
        }
        let encrypted = |&block: &usize| matches!(self.key(block), Ok(Some(_)));
        let blocks = (0..self.archive.blocks.len()).filter(encrypted);
        let size =
            |&block: &usize| self.archive.blocks.get(block).map(|block| block.get_unpack_size());
        let Some(smallest) = blocks.min_by_key(size) else { return Ok(()) };
        let key = self.key(smallest).unwrap_or_default();
        let cost = cost(key.as_ref());
        for word in self.passwords.iter().take(MAX_TRIES) {
            if !may_try(self.budget, cost) {
                break;
            }
            let password = Password::from(word);
            if self.proves(smallest, &password) {
                self.password = password;
                self.derived = key;
                return Ok(());
            }
        }
        Ok(self.budget.check_stop()?)
    }

    /// Whether `password` decodes the first file of `block` to what its checksum says.
    fn proves(&mut self, block: usize, password: &Password) -> bool {
        let mut proven = false;
        let budget = &mut *self.budget;
        let mut input = Cursor::new(self.content);
        let run = || {
            let decoder = BlockDecoder::new(1, block, self.archive, password, &mut input);
            decoder.for_each_entries(&mut |file, source| {
                if !file.has_stream || file.size == 0 {
                    return Ok(true);
                }
                let mut room = [0; 8 << 10];
                let mut total = 0_u64;
                loop {
                    let read = source.read(&mut room)? as u64;
                    total = total.saturating_add(read);
                    if read == 0 || budget.charge_work(read).is_err() {
                        break;
                    }
                }
                proven = file.has_crc && total == file.size;
                Ok(false)
            })
        };
        let result = catch_unwind(AssertUnwindSafe(run));
        proven && matches!(result, Ok(Ok(_)))
    }

    /// Whether the key of one more block may be derived. The decoder keeps the last one.
    fn may_derive(&mut self, key: &Key) -> bool {
        let is_known = self.derived.as_ref() == Some(key);
        let may = is_known || may_try(self.budget, cost(Some(key)));
        self.derived = Some(key.clone());
        may
    }

    fn block(&mut self, block: usize) -> Result<(), UnpackError> {
        let why_not = match self.key(block) {
            Err(detail) => Some(Missing::new(GapReason::Unsupported, detail)),
            Ok(Some(_)) if self.password.is_empty() => {
                Some(Missing::new(GapReason::Encrypted, "encrypted"))
            }
            Ok(Some(key)) if !self.may_derive(&key) => {
                Some(Missing::new(GapReason::Limit(Limit::Work), "deriving its key costs too much"))
            }
            Ok(_) => None,
        };
        let mut reached = 0;
        let missing = match why_not {
            Some(missing) => Some(missing),
            None => self.decode(block, &mut reached)?,
        };
        let Some(missing) = missing else { return Ok(()) };
        let mut input = Cursor::new(&[]);
        let password = Password::empty();
        let rest = BlockDecoder::new(1, block, self.archive, &password, &mut input);
        let rest = rest.entries().get(reached..).unwrap_or_default();
        for file in rest.iter().filter(|file| !file.is_directory && file.has_stream) {
            self.hand_over(&file.name, file.size, Vec::new(), Some(missing.clone()))?;
        }
        Ok(())
    }

    /// Decodes one block. Out: how many of its files were handed over, and why not all of them.
    fn decode(
        &mut self,
        block: usize,
        reached: &mut usize,
    ) -> Result<Option<Missing>, UnpackError> {
        let (archive, password) = (self.archive, self.password.clone());
        let mut input = Cursor::new(self.content);
        let pace = self.pace(block);
        let mut fatal = None;
        let mut broken: Option<Missing> = None;
        let run = AssertUnwindSafe(|| {
            let decoder = BlockDecoder::new(1, block, archive, &password, &mut input);
            decoder.for_each_entries(&mut |file, source| {
                *reached = reached.saturating_add(1);
                if file.is_directory {
                    return Ok(true);
                }
                let input = self.content.len() as u64;
                let drained = drain_at(pace, || Ok(source), input, self.budget, &mut self.chunk);
                let missing = self.complete(file.size, drained.missing.as_ref(), &drained);
                broken.clone_from(&missing);
                let handed = self.hand_over(&file.name, file.size, drained.bytes, missing);
                fatal = handed.err();
                // What follows could only be reached by decoding the rest, unbounded.
                Ok(fatal.is_none() && broken.is_none())
            })
        });
        let result = catch_unwind(run);
        if let Some(error) = fatal {
            return Err(error);
        }
        Ok(match result {
            Ok(Ok(_)) => broken,
            Ok(Err(error)) => Some(missing(&error)),
            Err(_) => Some(Missing::new(GapReason::Crash, CRASHED)),
        })
    }

    /// What the slowest of the block's coders costs.
    fn pace(&self, block: usize) -> Pace {
        let block = self.archive.blocks.get(block);
        let has = |wanted: &[u8]| {
            let mut coders = block.into_iter().flat_map(|block| block.coders.iter());
            coders.any(|coder| coder.encoder_method_id() == wanted)
        };
        if has(EncoderMethod::ID_PPMD) || has(EncoderMethod::ID_BZIP2) {
            Pace::Models
        } else if has(EncoderMethod::ID_LZMA) || has(EncoderMethod::ID_LZMA2) {
            Pace::Bits
        } else {
            Pace::Copies
        }
    }

    fn complete(&self, size: u64, known: Option<&Missing>, drained: &Drained) -> Option<Missing> {
        let short = (drained.bytes.len() as u64) < size;
        known.cloned().or_else(|| short.then(|| Missing::new(GapReason::Malformed, "ends early")))
    }

    fn hand_over(
        &mut self,
        name: &str,
        claimed_size: u64,
        content: Vec<u8>,
        missing: Option<Missing>,
    ) -> Result<(), UnpackError> {
        self.budget.charge_entity()?;
        let limit = missing.as_ref().and_then(Missing::final_limit);
        let names = if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
        let content = recycle::bytes(content);
        (self.out)(Unpacked::Member(Member { names, claimed_size, content, missing }));
        let produced = self.bytes_left.saturating_sub(self.budget.bytes_left());
        self.budget.check_ratio(self.content.len() as u64, produced)?;
        limit.map_or(Ok(()), |limit| Err(limit.into()))
    }
}

fn missing(error: &Error) -> Missing {
    let reason = match error {
        Error::PasswordRequired | Error::MaybeBadPassword(_) => GapReason::Encrypted,
        Error::Unsupported(_)
        | Error::UnsupportedCompressionMethod(_)
        | Error::MaxMemLimited { .. } => GapReason::Unsupported,
        _ => GapReason::Malformed,
    };
    let text: String = error.to_string().chars().take(200).collect();
    Missing::new(reason, text.escape_debug().to_string())
}
