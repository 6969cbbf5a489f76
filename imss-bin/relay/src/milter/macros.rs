//! What the mail server tells by name: few names, short values, forgotten when their time is over.

use super::codec::Words;

/// The names we know.
const NAMES: [&str; 7] =
    ["j", "i", "client_addr", "daemon_name", "tls_version", "cipher", "auth_authen"];
/// Longest value.
const MAX_VALUE_BYTES: usize = 512;
/// The letters of all steps.
const STEPS: &[u8] = b"CHMRTLNBE";
/// Steps of a connection; all others belong to a message.
const OF_CLIENT: [u8; 2] = [b'C', b'H'];

/// The values of one connection.
#[derive(Debug, Default)]
pub(super) struct Macros {
    values: Vec<(u8, &'static str, String)>,
}

impl Macros {
    /// What was said before for `step` no longer counts.
    pub(super) fn set(&mut self, step: u8, words: Words<'_>) {
        self.values.retain(|(known, ..)| *known != step);
        if !STEPS.contains(&step) {
            return;
        }
        let mut words = words.iter();
        while let Some((name, value)) = words.next().zip(words.next()) {
            let bare = name.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
            let bare = bare.unwrap_or(name);
            let known = NAMES.iter().find(|known| known.as_bytes() == bare);
            let Some(known) = known.filter(|_| value.len() <= MAX_VALUE_BYTES) else { continue };
            let Ok(value) = std::str::from_utf8(value) else { continue };
            if self.values.iter().all(|(of, name, _)| (of, name) != (&step, known)) {
                self.values.push((step, known, value.to_owned()));
            }
        }
    }

    /// The newest value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().rev().find(|(_, known, _)| *known == name).map(|(.., value)| &**value)
    }

    pub(super) fn forget_message(&mut self) {
        self.values.retain(|(step, ..)| OF_CLIENT.contains(step));
    }

    /// A client connects. What is said of a connection is said just before it.
    pub(super) fn connected(&mut self) {
        self.values.retain(|(step, ..)| *step == b'C');
    }

    pub(super) fn forget(&mut self) {
        self.values.clear();
    }
}
