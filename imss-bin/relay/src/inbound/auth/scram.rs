//! SCRAM-SHA-256 and -PLUS, the server's side (RFC 5802, RFC 7677, RFC 9266).
//!
//! In: the client's two messages. Out: ours, and whether the client knows the password. A message
//! that is not as the RFC has it fails; nothing in it is repeated but the client's nonce.

use base64_simd::STANDARD;

use super::users::Users;
use super::verifier::{Key, Verifier, decode, hmac_sha256, is_same, sha256};

/// Octets of a name or nonce.
const MAX_BYTES: usize = 512;

/// Between the two messages of the client.
#[derive(Debug)]
pub(super) struct Scram {
    name: String,
    verifier: Verifier,
    /// What `c=` must be.
    binding: Vec<u8>,
    nonce: String,
    /// The client's first message without its header, and ours.
    transcript: String,
}

/// What TLS offers for the channel to be bound to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel<'a> {
    /// The exporter of the connection, if there is one.
    pub(super) exporter: Option<&'a [u8]>,
    /// Whether the client chose the mechanism that binds.
    pub(super) is_plus: bool,
    /// Whether that mechanism was offered.
    pub(super) offers_plus: bool,
}

impl Scram {
    /// Reads the client's first message. Out: our first message.
    pub(super) fn begin(
        message: &[u8],
        channel: Channel<'_>,
        users: &Users,
        nonce: &str,
    ) -> Option<(Self, String)> {
        let message = std::str::from_utf8(message).ok()?;
        let (flag, rest) = message.split_once(',')?;
        let (authorised, bare) = rest.split_once(',')?;
        let mut binding = format!("{flag},{authorised},").into_bytes();
        match (flag, channel.is_plus) {
            ("n", false) => {}
            // The client can bind and believes that we cannot: somebody took the offer away.
            ("y", false) if !channel.offers_plus => {}
            ("p=tls-exporter", true) => binding.extend_from_slice(channel.exporter?),
            _ => return None,
        }
        let mut fields = bare.split(',');
        let name = unescape(fields.next()?.strip_prefix("n=")?)?;
        let theirs = fields.next()?.strip_prefix("r=")?;
        let is_other = match authorised.strip_prefix("a=") {
            Some(other) => unescape(other)? != name,
            None => !authorised.is_empty(),
        };
        let is_printable = theirs.bytes().all(|byte| byte.is_ascii_graphic());
        let fits = name.len() <= MAX_BYTES && (1..=MAX_BYTES).contains(&theirs.len());
        if is_other || !is_printable || !fits {
            return None;
        }
        let verifier = users.verifier(&name);
        let nonce = format!("{theirs}{nonce}");
        let salt = STANDARD.encode_to_string(&verifier.salt);
        let first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let transcript = format!("{bare},{first}");
        Some((Self { name, verifier, binding, nonce, transcript }, first))
    }

    /// Reads the client's final message. Out: the login and our final message.
    pub(super) fn finish(self, message: &[u8]) -> Result<(String, String), String> {
        match self.prove(message) {
            Some(signature) => {
                Ok((self.name, format!("v={}", STANDARD.encode_to_string(signature))))
            }
            None => Err(self.name),
        }
    }

    fn prove(&self, message: &[u8]) -> Option<Key> {
        let message = std::str::from_utf8(message).ok()?;
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut fields = without_proof.split(',');
        let binding = decode(fields.next()?.strip_prefix("c=")?)?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        let proof = Key::try_from(decode(proof)?).ok()?;
        if binding != self.binding || nonce != self.nonce {
            return None;
        }
        let signed = format!("{},{without_proof}", self.transcript);
        let mut client_key = hmac_sha256(&self.verifier.stored_key, signed.as_bytes());
        for (octet, other) in client_key.iter_mut().zip(proof) {
            *octet ^= other;
        }
        is_same(&sha256(&client_key), &self.verifier.stored_key)
            .then(|| hmac_sha256(&self.verifier.server_key, signed.as_bytes()))
    }
}

/// A `saslname`: `=2C` is a comma and `=3D` an equals sign.
fn unescape(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut pieces = text.split('=');
    name.push_str(pieces.next()?);
    for piece in pieces {
        let (escaped, rest) = piece.split_at_checked(2)?;
        name.push(match escaped {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        name.push_str(rest);
    }
    (!name.is_empty() && !name.contains(char::is_control)).then_some(name)
}
