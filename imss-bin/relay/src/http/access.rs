//! Who may have messages scanned over HTTP: programs of this machine, or whoever has a token.
//!
//! Tokens are kept as their SHA-256: long random strings, which a digest protects as well as a slow one
//! would. The remedy of `docs/ways/http.md` makes them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use sha2::{Digest, Sha256};

/// Who may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Clients with an address of the loopback interface.
    Loopback,
    /// Clients that show one of these, wherever they are.
    Tokens(Vec<Token>),
}

/// One token, not its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    name: String,
    sha256: [u8; 32],
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// No token, or an unknown one.
    Token,
    /// Not from this machine.
    Elsewhere,
}

impl Access {
    /// The name of the client's token, if it has one and may; `authorization` is the field's value.
    ///
    /// # Errors
    ///
    /// See [`Denied`].
    pub fn check(&self, client: IpAddr, authorization: Option<&str>) -> Result<&str, Denied> {
        match self {
            Self::Loopback if client.to_canonical().is_loopback() => Ok("loopback"),
            Self::Loopback => Err(Denied::Elsewhere),
            Self::Tokens(tokens) => {
                let (scheme, shown) =
                    authorization.and_then(|value| value.split_once(' ')).ok_or(Denied::Token)?;
                if !scheme.eq_ignore_ascii_case("bearer") {
                    return Err(Denied::Token);
                }
                let digest = Sha256::digest(shown.trim().as_bytes());
                let is_it =
                    |token: &&Token| verify_slices_are_equal(&token.sha256, &digest).is_ok();
                tokens.iter().find(is_it).map(|token| token.name.as_str()).ok_or(Denied::Token)
            }
        }
    }
}

/// Not `NAME:HEX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAToken;

impl FromStr for Token {
    type Err = NotAToken;

    /// A name, a colon, and 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let (name, hex) = text.split_once(':').ok_or(NotAToken)?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) || hex.len() != 64 {
            return Err(NotAToken);
        }
        let mut sha256 = [0; 32];
        for (octet, place) in sha256.iter_mut().zip((0_usize..).step_by(2)) {
            let digits = hex.get(place..place.saturating_add(2)).ok_or(NotAToken)?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(NotAToken);
            }
            *octet = u8::from_str_radix(digits, 16).map_err(|_| NotAToken)?;
        }
        Ok(Self { name: name.to_owned(), sha256 })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[test]
    fn who_may() {
        let token: Token = format!("scanner:{SECRET}").parse().unwrap();
        let (tokens, local) = (Access::Tokens(vec![token]), Access::Loopback);
        let cases = [
            ("this machine", &local, "127.0.0.1", None, Ok("loopback")),
            ("this machine, mapped", &local, "::ffff:127.0.0.9", None, Ok("loopback")),
            ("another", &local, "192.0.2.1", Some("Bearer secret"), Err(Denied::Elsewhere)),
            ("the token", &tokens, "192.0.2.1", Some("Bearer secret"), Ok("scanner")),
            ("any case", &tokens, "192.0.2.1", Some("bearer secret"), Ok("scanner")),
            ("another token", &tokens, "127.0.0.1", Some("Bearer secre"), Err(Denied::Token)),
            ("another scheme", &tokens, "127.0.0.1", Some("Basic secret"), Err(Denied::Token)),
            ("nothing", &tokens, "127.0.0.1", None, Err(Denied::Token)),
            ("no scheme", &tokens, "127.0.0.1", Some("secret"), Err(Denied::Token)),
        ];
        for (name, access, client, shown, expected) in cases {
            assert_eq!(access.check(client.parse().unwrap(), shown), expected, "{name}");
        }
    }

    #[test]
    fn what_is_a_token() {
        for (name, text) in [
            ("no name", format!(":{SECRET}")),
            ("no digest", "scanner".to_owned()),
            ("short", format!("scanner:{}", &SECRET[1..])),
            ("signs", format!("scanner:+{}", &SECRET[1..])),
            ("not hexadecimal", format!("scanner:g{}", &SECRET[1..])),
            ("the token itself", "scanner:secret".to_owned()),
        ] {
            assert_eq!(text.parse::<Token>(), Err(NotAToken), "{name}");
        }
    }
}
