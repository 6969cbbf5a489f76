//! Logs in at a server: SCRAM-SHA-256 (RFC 7677), CRAM-MD5 (RFC 2195), PLAIN (RFC 4616), LOGIN.
//!
//! In: our credentials and what the server says, which is not trusted. Out: what to say next. The
//! strongest mechanism that both sides know is taken; those that show the password need TLS. With SCRAM
//! the server must prove that it knows the password too, or nothing is sent over the session.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use md5::{Digest, Md5};

/// Whom we log in with, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The server's name or address, as in the next hop.
    pub host: String,
    /// Its port; `None` for any.
    pub port: Option<u16>,
    /// Our name there.
    pub user: String,
    /// Our password there.
    pub password: Secret,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Its octets, for whoever needs them.
    #[must_use]
    pub(crate) fn octets(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    ScramSha256,
    CramMd5,
    Plain,
    Login,
}

/// Mechanisms that a server offers: one bit for each that we know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Offered(u8);

impl Offered {
    /// Adds one by its name; unknown ones are left out.
    pub(super) fn add(&mut self, name: &str) {
        let known = (0_u8..).zip(&MECHANISMS).find(|(_, one)| one.0.eq_ignore_ascii_case(name));
        if let Some((place, _)) = known {
            self.0 |= 1 << place;
        }
    }
}

/// Name, mechanism, and whether it shows the password; in the order of preference.
const MECHANISMS: [(&str, Mechanism, bool); 4] = [
    ("SCRAM-SHA-256", Mechanism::ScramSha256, false),
    ("PLAIN", Mechanism::Plain, true),
    ("LOGIN", Mechanism::Login, true),
    ("CRAM-MD5", Mechanism::CramMd5, false),
];

/// Rounds of PBKDF2 that a server may ask for: more would only burn our time. Fewer than the least
/// would let a false server guess the password cheaply (RFC 7677 §4).
const ROUNDS: std::ops::RangeInclusive<u32> = 4_096..=1_000_000;
/// Octets of anything a server says.
const MAX_BYTES: usize = 4 << 10;

impl Mechanism {
    /// The best of the mechanisms `offered`. Over TLS the password may be shown: that is better than
    /// CRAM-MD5, for which servers keep it in clear.
    pub(super) fn best(offered: Offered, over_tls: bool) -> Option<Self> {
        let usable = |(place, (_, _, shows)): &(u8, &(&str, Self, bool))| {
            (over_tls || !shows) && offered.0 >> place & 1 == 1
        };
        (0_u8..).zip(&MECHANISMS).find(usable).map(|(_, (_, mechanism, _))| *mechanism)
    }

    pub(super) fn name(self) -> &'static str {
        MECHANISMS.iter().find(|(_, one, _)| *one == self).map_or("", |(name, _, _)| name)
    }
}

/// A login on its way.
pub(super) struct Login<'a> {
    mechanism: Mechanism,
    credentials: &'a Credentials,
    step: u8,
    nonce: String,
    expected: Vec<u8>,
}

/// Why a server's words make no sense, or prove that it does not know the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Nonsense(&'static str);

impl<'a> Login<'a> {
    /// `nonce` must never repeat; printable ASCII without a comma.
    pub(super) fn new(mechanism: Mechanism, credentials: &'a Credentials, nonce: String) -> Self {
        Self { mechanism, credentials, step: 0, nonce, expected: Vec::new() }
    }

    /// What goes with the AUTH command, if anything does.
    pub(super) fn initial(&mut self) -> Option<Vec<u8>> {
        let Credentials { user, password, .. } = self.credentials;
        match self.mechanism {
            Mechanism::Plain => Some(format!("\0{user}\0{}", password.0).into_bytes()),
            Mechanism::ScramSha256 => Some(format!("n,,{}", self.first_bare()).into_bytes()),
            Mechanism::Login | Mechanism::CramMd5 => None,
        }
    }

    /// The answer to what the server said, decoded.
    ///
    /// # Errors
    ///
    /// [`Nonsense`]; the session must end then.
    pub(super) fn answer(&mut self, said: &[u8]) -> Result<Vec<u8>, Nonsense> {
        if said.len() > MAX_BYTES {
            return Err(Nonsense("the server's challenge is too long"));
        }
        let Credentials { user, password, .. } = self.credentials;
        self.step = self.step.saturating_add(1);
        match (self.mechanism, self.step) {
            // What servers ask for has no fixed words: name first, then password.
            (Mechanism::Login, 1) => Ok(user.clone().into_bytes()),
            (Mechanism::Login, 2) => Ok(password.0.clone().into_bytes()),
            (Mechanism::CramMd5, 1) => {
                let digest = hmac_md5(password.0.as_bytes(), said);
                Ok(format!("{user} {}", hex(&digest)).into_bytes())
            }
            (Mechanism::ScramSha256, 1) => self.prove(said),
            (Mechanism::ScramSha256, 2) => self.check(said).map(|()| Vec::new()),
            // PLAIN without an initial response.
            (Mechanism::Plain, 1) if said.is_empty() => {
                Ok(format!("\0{user}\0{}", password.0).into_bytes())
            }
            _ => Err(Nonsense("the server asks for more than the mechanism has")),
        }
    }

    /// Whether success may be believed. `said` is what came with it, if anything did.
    ///
    /// # Errors
    ///
    /// [`Nonsense`] if the server has not proved that it knows the password.
    pub(super) fn finish(&mut self, said: Option<&[u8]>) -> Result<(), Nonsense> {
        match (self.mechanism, self.step, said) {
            (Mechanism::ScramSha256, 1, Some(said)) => self.check(said),
            (Mechanism::ScramSha256, 2, _) => Ok(()),
            (Mechanism::ScramSha256, ..) => Err(Nonsense("the server has proved nothing")),
            _ => Ok(()),
        }
    }

    fn first_bare(&self) -> String {
        let user = self.credentials.user.replace('=', "=3D").replace(',', "=2C");
        format!("n={user},r={}", self.nonce)
    }

    /// Answers the server's first message of SCRAM (RFC 5802 §3).
    fn prove(&mut self, said: &[u8]) -> Result<Vec<u8>, Nonsense> {
        let wrong = Nonsense("the server's SCRAM message is malformed");
        let said = std::str::from_utf8(said).map_err(|_| wrong)?;
        let mut fields = said.split(',');
        let mut field = |name: &str| fields.next().and_then(|one| one.strip_prefix(name));
        let (nonce, salt, rounds) =
            (field("r=").ok_or(wrong)?, field("s=").ok_or(wrong)?, field("i=").ok_or(wrong)?);
        if !nonce.starts_with(&self.nonce) || nonce.len() <= self.nonce.len() {
            return Err(Nonsense("the server's SCRAM nonce is not made of ours"));
        }
        let salt = decode(salt.as_bytes()).ok_or(wrong)?;
        let rounds: u32 = rounds.parse().map_err(|_| wrong)?;
        let rounds = NonZeroU32::new(rounds)
            .filter(|rounds| ROUNDS.contains(&rounds.get()))
            .ok_or(Nonsense("the server asks for too few or too many SCRAM rounds"))?;
        let mut salted = [0_u8; 32];
        let password = self.credentials.password.0.as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut salted);
        let client_key = hmac_sha256(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let last = format!("c=biws,r={nonce}");
        let signed = format!("{},{said},{last}", self.first_bare());
        let signature = hmac_sha256(stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = hmac_sha256(&salted, b"Server Key");
        self.expected = hmac_sha256(server_key.as_ref(), signed.as_bytes()).as_ref().to_vec();
        Ok(format!("{last},p={}", encode(&proof)).into_bytes())
    }

    fn check(&self, said: &[u8]) -> Result<(), Nonsense> {
        let proof = said.strip_prefix(b"v=").and_then(decode);
        if !self.expected.is_empty() && proof.as_deref() == Some(self.expected.as_slice()) {
            return Ok(());
        }
        Err(Nonsense("the server does not know the password"))
    }
}

/// Base64 as commands carry it.
pub(super) fn encode(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// Reads base64; `None` if it is none.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    base64_simd::STANDARD.decode_to_vec(text).ok()
}

fn hmac_sha256(key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data)
}

/// HMAC-MD5 (RFC 2104).
fn hmac_md5(key: &[u8], data: &[u8]) -> [u8; 16] {
    let mut block = [0_u8; 64];
    let hashed;
    let key = if key.len() > block.len() {
        hashed = Md5::digest(key);
        hashed.as_slice()
    } else {
        key
    };
    block.iter_mut().zip(key).for_each(|(place, byte)| *place = *byte);
    let inner =
        Md5::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(data).finalize();
    let outer = Md5::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner);
    outer.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str, password: &str) -> Credentials {
        let (user, password) = (user.to_owned(), Secret::new(password.to_owned()));
        Credentials { host: "mail.example".to_owned(), port: None, user, password }
    }

    #[test]
    fn choice() {
        let cases = [
            ("the strongest", "PLAIN LOGIN SCRAM-SHA-256", true, Some(Mechanism::ScramSha256)),
            ("over TLS", "CRAM-MD5 PLAIN", true, Some(Mechanism::Plain)),
            (
                "in clear the password is not shown",
                "PLAIN CRAM-MD5",
                false,
                Some(Mechanism::CramMd5),
            ),
            ("nothing fit in clear", "PLAIN LOGIN", false, None),
            ("unknown", "GSSAPI", true, None),
            ("in small letters", "login", true, Some(Mechanism::Login)),
        ];
        for (name, offered, over_tls, expected) in cases {
            let mut all = Offered::default();
            offered.split(' ').for_each(|one| all.add(one));
            assert_eq!(Mechanism::best(all, over_tls), expected, "{name}");
        }
    }

    #[test]
    fn cram_md5_as_in_rfc_2195() {
        let credentials = credentials("tim", "tanstaaftanstaaf");
        let mut login = Login::new(Mechanism::CramMd5, &credentials, String::new());
        let answer =
            login.answer(b"<1896.697170952@postoffice.reston.mci.net>").expect("an answer");
        assert_eq!(answer, b"tim b913a602c7eda7a495b4e6e7334d3890");
    }

    #[test]
    fn scram_as_in_rfc_7677() {
        let credentials = credentials("user", "pencil");
        let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        let mut login = Login::new(Mechanism::ScramSha256, &credentials, nonce);
        assert_eq!(login.initial().as_deref(), Some(&b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"[..]));
        let said = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let answer = login.answer(said).expect("an answer");
        assert_eq!(
            String::from_utf8_lossy(&answer),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(login.finish(None).is_err(), "the server has proved nothing");
        assert!(login.finish(Some(b"v=AAAA")).is_err(), "a false proof");
        let proof = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert!(login.finish(Some(proof)).is_ok());
    }

    #[test]
    fn servers_that_cheat_at_scram() {
        let credentials = credentials("user", "pencil");
        let cases: [(&str, &[u8]); 6] = [
            ("another nonce", b"r=other,s=W22Z,i=4096"),
            ("our nonce alone", b"r=abc,s=W22Z,i=4096"),
            ("too few rounds", b"r=abcd,s=W22Z,i=1"),
            ("too many rounds", b"r=abcd,s=W22Z,i=4000000000"),
            ("no salt", b"r=abcd,i=4096"),
            ("not UTF-8", b"\xff"),
        ];
        for (name, said) in cases {
            let mut login = Login::new(Mechanism::ScramSha256, &credentials, "abc".to_owned());
            assert!(login.answer(said).is_err(), "{name}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", credentials("user", "pencil")).contains("pencil"));
    }
}
