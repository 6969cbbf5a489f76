//! ActiveMime: an OLE file, compressed, as Office writes macros into web pages and XML.
//!
//! In: octets that start with `ActiveMime`. Out: the file inside, embedded. The length of the header
//! varies, so the compressed stream is looked for; none at all is malformed.

use std::io::Read;

use flate2::read::ZlibDecoder;

use crate::archive::UnpackError;
use crate::document::sink::Sink;
use crate::limits::Limit;

/// Octets in which the compressed stream starts.
const HEADER: usize = 2 << 10;
/// Octets read at a time.
const CHUNK: usize = 16 << 10;

/// Whether `content` is such a file.
pub(super) fn is_it(content: &[u8]) -> bool {
    content.starts_with(b"ActiveMime")
}

/// Unpacks it.
pub(super) fn read(content: &[u8], name: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let header = content.get(..HEADER.min(content.len())).unwrap_or_default();
    for at in memchr::memchr_iter(0x78, header) {
        let stream = content.get(at..).unwrap_or_default();
        if !matches!(stream, [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..]) {
            continue;
        }
        let (inner, whole) = inflate(stream, sink)?;
        if inner.is_empty() {
            continue;
        }
        sink.embedded(name, inner.into())?;
        if whole {
            return Ok(());
        }
        break;
    }
    let detail = "no whole compressed stream";
    sink.note(Err(UnpackError::Malformed { offset: 0, detail }))
}

/// What a stream gives, and whether it ends as it should. The member's octets are charged when it is
/// handed over; until then its size is held against what is left.
fn inflate(stream: &[u8], sink: &mut Sink<'_, '_>) -> Result<(Vec<u8>, bool), Limit> {
    let mut decoder = ZlibDecoder::new(stream);
    let (mut inner, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    let input = u64::try_from(stream.len()).unwrap_or(u64::MAX);
    loop {
        let read = match decoder.read(&mut chunk) {
            Ok(0) => return Ok((inner, true)),
            Ok(read) => read,
            Err(_) => return Ok((inner, false)),
        };
        sink.budget.charge_work(u64::try_from(read).unwrap_or(u64::MAX))?;
        inner.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let size = u64::try_from(inner.len()).unwrap_or(u64::MAX);
        sink.budget.check_ratio(input, size)?;
        if size > sink.budget.bytes_left() {
            return Err(Limit::TotalBytes);
        }
        if size > sink.budget.limits().max_entity_bytes {
            return Err(Limit::EntityBytes);
        }
    }
}
