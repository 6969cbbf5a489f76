//! Parameters of `MAIL FROM` and `RCPT TO` (RFC 5321 §4.1.2, RFC 1870, RFC 6152, RFC 6531, RFC 3461).
//!
//! In: what follows the path on the command line. Out: the parameters, or the first reason why
//! they cannot be followed. An unknown keyword is an error, as RFC 5321 §4.1.1.11 wants.

use serde::{Deserialize, Serialize};

/// Parameters of `MAIL FROM`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MailParameters {
    /// `SIZE=`: the client's claim, in octets (RFC 1870 §3).
    pub size: Option<u64>,
    /// `BODY=` (RFC 6152, RFC 3030).
    pub body: Option<BodyType>,
    /// `SMTPUTF8` (RFC 6531 §3.4).
    pub smtputf8: bool,
    /// `RET=` (RFC 3461 §4.3).
    pub ret: Option<DsnReturn>,
    /// `ENVID=`, still in xtext (RFC 3461 §4.4).
    pub envid: Option<String>,
}

/// The value of `BODY=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BodyType {
    /// `7BIT`.
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
    /// `BINARYMIME` (RFC 3030).
    BinaryMime,
}

/// The value of `RET=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DsnReturn {
    /// The whole message comes back.
    Full,
    /// Its header section comes back.
    Headers,
}

/// Parameters of `RCPT TO`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RcptParameters {
    /// `NOTIFY=` (RFC 3461 §4.1); `None` leaves it to us: failure and delay.
    pub notify: Option<Notify>,
    /// `ORCPT=`, as `type;xtext` (RFC 3461 §4.2).
    pub orcpt: Option<String>,
}

/// The value of `NOTIFY=`. All false is `NEVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// `SUCCESS`.
    pub success: bool,
    /// `FAILURE`.
    pub failure: bool,
    /// `DELAY`.
    pub delay: bool,
}

/// Why parameters cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// Not `KEYWORD` or `KEYWORD=value`, or the value is not what the keyword wants; reply 501.
    #[error("bad parameter syntax")]
    Syntax,
    /// The same keyword twice with different values; reply 501.
    #[error("parameter given twice")]
    Repeated,
    /// A keyword no extension of ours defines; reply 555.
    #[error("unknown parameter")]
    Unknown,
    /// A value that only an extension we do not offer defines; reply 504.
    #[error("parameter value not supported")]
    Unsupported,
    /// `SIZE=` beyond the limit; reply 552.
    #[error("message too large")]
    TooLarge,
}

/// Why a `SIZE=` value is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not 1 to 20 digits.
    #[error("SIZE wants 1 to 20 digits")]
    Syntax,
    /// More octets than allowed.
    #[error("more than {max} octets")]
    TooLarge {
        /// What would have been allowed.
        max: u64,
    },
}

impl From<SizeError> for ParameterError {
    fn from(error: SizeError) -> Self {
        match error {
            SizeError::Syntax => Self::Syntax,
            SizeError::TooLarge { .. } => Self::TooLarge,
        }
    }
}

/// Longest `ENVID=`, in octets (RFC 3461 §4.4).
const MAX_ENVID_BYTES: usize = 100;
/// Longest `ORCPT=`, in octets (RFC 3461 §4.2).
const MAX_ORCPT_BYTES: usize = 500;

impl MailParameters {
    /// Reads the parameters of `MAIL FROM`. `max_bytes` is the largest message taken.
    ///
    /// `BODY=BINARYMIME` is [`ParameterError::Unsupported`].
    ///
    /// # Errors
    ///
    /// See [`ParameterError`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use imss_core::envelope::{BodyType, MailParameters};
    /// let parameters = MailParameters::parse("SIZE=1024 BODY=8BITMIME", 10_240)?;
    /// assert_eq!(parameters.size, Some(1024));
    /// assert_eq!(parameters.body, Some(BodyType::EightBitMime));
    /// # Ok::<(), imss_core::envelope::params::ParameterError>(())
    /// ```
    pub fn parse(text: &str, max_bytes: u64) -> Result<Self, ParameterError> {
        let mut all = Self::default();
        for word in text.split_ascii_whitespace() {
            let (keyword, value) = split(word)?;
            let is = |name: &str| keyword.eq_ignore_ascii_case(name);
            if is("SIZE") {
                let size = parse_size(value.ok_or(ParameterError::Syntax)?, max_bytes)?;
                set(&mut all.size, size)?;
            } else if is("BODY") {
                set(&mut all.body, parse_body(value)?)?;
            } else if is("SMTPUTF8") {
                if value.is_some() {
                    return Err(ParameterError::Syntax);
                }
                all.smtputf8 = true;
            } else if is("RET") {
                set(&mut all.ret, parse_ret(value)?)?;
            } else if is("ENVID") {
                let value = value.filter(|v| v.len() <= MAX_ENVID_BYTES && is_xtext(v));
                set(&mut all.envid, value.ok_or(ParameterError::Syntax)?.to_owned())?;
            } else {
                return Err(ParameterError::Unknown);
            }
        }
        Ok(all)
    }
}

impl RcptParameters {
    /// Reads the parameters of `RCPT TO`. With `utf8` (the transaction said `SMTPUTF8`), `ORCPT=`
    /// may hold a `utf-8` address (RFC 6533 §3).
    ///
    /// # Errors
    ///
    /// See [`ParameterError`].
    pub fn parse(text: &str, utf8: bool) -> Result<Self, ParameterError> {
        let mut all = Self::default();
        for word in text.split_ascii_whitespace() {
            let (keyword, value) = split(word)?;
            if keyword.eq_ignore_ascii_case("NOTIFY") {
                let notify = parse_notify(value.ok_or(ParameterError::Syntax)?)?;
                set(&mut all.notify, notify)?;
            } else if keyword.eq_ignore_ascii_case("ORCPT") {
                let value = value.filter(|value| is_orcpt(value, utf8));
                set(&mut all.orcpt, value.ok_or(ParameterError::Syntax)?.to_owned())?;
            } else {
                return Err(ParameterError::Unknown);
            }
        }
        Ok(all)
    }
}

/// Reads the `SIZE=` value of `MAIL FROM` (RFC 1870 §3).
///
/// Returns the declared size in octets, counting each line end as two and no
/// dot-stuffing (RFC 1870 §5). It is only the client's claim: use it to refuse
/// early, never to reserve memory.
///
/// # Errors
///
/// - [`SizeError::Syntax`] unless `value` is 1 to 20 digits; reply 501 5.5.4.
/// - [`SizeError::TooLarge`] if it exceeds `max` octets; reply 552 5.3.4.
///
/// # Examples
///
/// ```
/// # use imss_core::envelope::params::parse_size;
/// assert_eq!(parse_size("1024", 10_240), Ok(1024));
/// ```
pub fn parse_size(value: &str, max: u64) -> Result<u64, SizeError> {
    if !(1..=20).contains(&value.len()) || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SizeError::Syntax);
    }
    // Twenty digits can exceed u64::MAX, so a failed parse here means "too large".
    value.parse().ok().filter(|&octets| octets <= max).ok_or(SizeError::TooLarge { max })
}

/// `KEYWORD` or `KEYWORD=value` (RFC 5321 §4.1.2).
fn split(word: &str) -> Result<(&str, Option<&str>), ParameterError> {
    let (keyword, value) = match word.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    };
    let keyword_is_fine = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
        && keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let value_is_fine =
        value.is_none_or(|v| !v.is_empty() && !v.chars().any(|c| c.is_control() || c == '='));
    // Deviation: RFC 3461 forbids "=" in values (xtext writes it +3D), but clients copy ENVID and
    // ORCPT from VERP addresses as they are. Only those two may hold it.
    let holds_text = ["ENVID", "ORCPT"].iter().any(|name| keyword.eq_ignore_ascii_case(name));
    if keyword_is_fine && (value_is_fine || (holds_text && value.is_some_and(|v| !v.is_empty()))) {
        Ok((keyword, value))
    } else {
        Err(ParameterError::Syntax)
    }
}

/// Deviation: RFC 1869 §6 forbids a keyword twice, but callers of Python's smtplib give what it
/// adds itself. The same value twice harms nobody.
fn set<T: PartialEq>(place: &mut Option<T>, value: T) -> Result<(), ParameterError> {
    match place {
        Some(known) if *known != value => Err(ParameterError::Repeated),
        Some(_) => Ok(()),
        None => {
            *place = Some(value);
            Ok(())
        }
    }
}

fn parse_body(value: Option<&str>) -> Result<BodyType, ParameterError> {
    match value.ok_or(ParameterError::Syntax)? {
        v if v.eq_ignore_ascii_case("7BIT") => Ok(BodyType::SevenBit),
        v if v.eq_ignore_ascii_case("8BITMIME") => Ok(BodyType::EightBitMime),
        v if v.eq_ignore_ascii_case("BINARYMIME") => Err(ParameterError::Unsupported),
        _ => Err(ParameterError::Syntax),
    }
}

fn parse_ret(value: Option<&str>) -> Result<DsnReturn, ParameterError> {
    match value.ok_or(ParameterError::Syntax)? {
        v if v.eq_ignore_ascii_case("FULL") => Ok(DsnReturn::Full),
        v if v.eq_ignore_ascii_case("HDRS") => Ok(DsnReturn::Headers),
        _ => Err(ParameterError::Syntax),
    }
}

/// `NEVER`, or a list of the others (RFC 3461 §4.1).
fn parse_notify(value: &str) -> Result<Notify, ParameterError> {
    let mut notify = Notify { success: false, failure: false, delay: false };
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(notify);
    }
    for word in value.split(',') {
        match word {
            w if w.eq_ignore_ascii_case("SUCCESS") => notify.success = true,
            w if w.eq_ignore_ascii_case("FAILURE") => notify.failure = true,
            w if w.eq_ignore_ascii_case("DELAY") => notify.delay = true,
            _ => return Err(ParameterError::Syntax),
        }
    }
    Ok(notify)
}

/// `addr-type ";" xtext`; RFC 6533 §3 allows raw UTF-8 and `\x{HEX}` in a `utf-8` address.
fn is_orcpt(value: &str, utf8: bool) -> bool {
    let Some((kind, address)) = value.split_once(';') else { return false };
    let kind_is_atom = !kind.is_empty()
        && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*-/?^_`{|}~.".contains(&b));
    let address_is_fine = if kind.eq_ignore_ascii_case("utf-8") {
        address.chars().all(|c| c.is_ascii_graphic() || (utf8 && !c.is_ascii() && !c.is_control()))
    } else {
        is_xtext(address)
    };
    value.len() <= MAX_ORCPT_BYTES && kind_is_atom && !address.is_empty() && address_is_fine
}

/// Printable ASCII, where `+` begins two upper-case hexadecimal digits (RFC 3461 §4).
fn is_xtext(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |b: Option<u8>| b.is_some_and(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
        let fine = match byte {
            b'+' => hex(bytes.next()) && hex(bytes.next()),
            _ => byte.is_ascii_graphic(),
        };
        if !fine {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_size() {
        let cases = [
            ("the limit itself passes", "10", Ok(10)),
            ("one over is refused", "11", Err(SizeError::TooLarge { max: 10 })),
            ("more than 64 bits", "99999999999999999999", Err(SizeError::TooLarge { max: 10 })),
            ("a sign is not a digit", "+1", Err(SizeError::Syntax)),
            ("empty", "", Err(SizeError::Syntax)),
            ("21 digits", "000000000000000000001", Err(SizeError::Syntax)),
        ];
        for (name, value, expected) in cases {
            assert_eq!(parse_size(value, 10), expected, "{name}");
        }
    }

    #[test]
    fn mail_parameters() {
        let none = MailParameters::default;
        let cases = [
            ("none", "", Ok(none())),
            ("size", " SIZE=5", Ok(MailParameters { size: Some(5), ..none() })),
            ("too large", "SIZE=101", Err(ParameterError::TooLarge)),
            ("size without value", "SIZE", Err(ParameterError::Syntax)),
            ("two sizes", "SIZE=1 size=2", Err(ParameterError::Repeated)),
            ("size twice", "SIZE=1 size=1", Ok(MailParameters { size: Some(1), ..none() })),
            (
                "body, any case",
                "body=8bitmime",
                Ok(MailParameters { body: Some(BodyType::EightBitMime), ..none() }),
            ),
            ("binary is not offered", "BODY=BINARYMIME", Err(ParameterError::Unsupported)),
            ("no such body", "BODY=9BIT", Err(ParameterError::Syntax)),
            ("utf8", "SMTPUTF8", Ok(MailParameters { smtputf8: true, ..none() })),
            ("utf8 takes no value", "SMTPUTF8=1", Err(ParameterError::Syntax)),
            (
                "DSN",
                "RET=HDRS ENVID=QQ+2B1",
                Ok(MailParameters {
                    ret: Some(DsnReturn::Headers),
                    envid: Some("QQ+2B1".to_owned()),
                    ..none()
                }),
            ),
            ("bad RET", "RET=SOME", Err(ParameterError::Syntax)),
            ("broken xtext", "ENVID=a+2", Err(ParameterError::Syntax)),
            ("lower-case hex", "ENVID=a+2b", Err(ParameterError::Syntax)),
            ("unknown", "FOO=BAR", Err(ParameterError::Unknown)),
            ("AUTH is not offered", "AUTH=<>", Err(ParameterError::Unknown)),
            ("no keyword", "=1", Err(ParameterError::Syntax)),
            ("empty value", "SIZE=", Err(ParameterError::Syntax)),
            ("control character", "FOO=\u{1}", Err(ParameterError::Syntax)),
        ];
        for (name, text, expected) in cases {
            assert_eq!(MailParameters::parse(text, 100), expected, "{name}");
        }
        let long = format!("ENVID={}", "a".repeat(101));
        assert_eq!(MailParameters::parse(&long, 100), Err(ParameterError::Syntax));
    }

    #[test]
    fn rcpt_parameters() {
        let notify = |success, failure, delay| {
            Ok(RcptParameters { notify: Some(Notify { success, failure, delay }), orcpt: None })
        };
        let orcpt = |text: &str| Ok(RcptParameters { notify: None, orcpt: Some(text.to_owned()) });
        let cases = [
            ("never", "NOTIFY=NEVER", false, notify(false, false, false)),
            ("list", "notify=success,DELAY", false, notify(true, false, true)),
            ("never is alone", "NOTIFY=NEVER,DELAY", false, Err(ParameterError::Syntax)),
            ("empty element", "NOTIFY=DELAY,", false, Err(ParameterError::Syntax)),
            ("orcpt", "ORCPT=rfc822;a+40b", false, orcpt("rfc822;a+40b")),
            ("equals in orcpt", "ORCPT=rfc822;a=b@c", false, orcpt("rfc822;a=b@c")),
            ("no type", "ORCPT=a@b", false, Err(ParameterError::Syntax)),
            ("utf-8 needs SMTPUTF8", "ORCPT=utf-8;ü@b", false, Err(ParameterError::Syntax)),
            ("utf-8", "ORCPT=utf-8;ü@b", true, orcpt("utf-8;ü@b")),
            ("utf-8 escapes", "ORCPT=utf-8;\\x{FC}@b", false, orcpt("utf-8;\\x{FC}@b")),
            ("unknown", "SIZE=1", false, Err(ParameterError::Unknown)),
        ];
        for (name, text, utf8, expected) in cases {
            assert_eq!(RcptParameters::parse(text, utf8), expected, "{name}");
        }
    }
}
