//! Little-endian numbers at an offset. In: octets and an offset. Out: the number, or `None` beyond
//! the end.

/// Two octets.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(field.try_into().ok()?))
}

/// Four octets.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

/// Eight octets.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

/// Two octets, as a length.
pub(crate) fn len16_at(bytes: &[u8], at: usize) -> Option<usize> {
    u16_at(bytes, at).map(usize::from)
}

/// A claimed size as a length; what does not fit is larger than anything we hold.
pub(crate) fn length(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
