//! The doors that are not SMTP: `[[listen]] mode = "milter"`, and scanning over HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::reader::{Table, Value, Wrong};
use crate::http::access::{Access, Token};
use crate::milter::Address;

/// Who may connect to a socket if nobody says: its owner and group.
const SOCKET_MODE: u32 = 0o660;

/// Reads one `[[listen]]` table of a milter.
pub(super) fn milter(table: &Table<'_, '_>, folder: &Path, known: &mut Vec<Address>) {
    let mode = table.read("socket-mode", socket_mode);
    let address = table.read("address", |value| {
        let address = address(value, folder, mode.unwrap_or(SOCKET_MODE))?;
        let same = |other: &&Address| other.to_string() == address.to_string();
        let free = matches!(address, Address::Tcp(address) if address.port() == 0);
        match known.iter().find(same) {
            Some(_) if !free => {
                Err(Wrong::new("a second listener on the same address", "remove one"))
            }
            _ => Ok(address),
        }
    });
    if mode.is_some() && matches!(address, Some(Address::Tcp(_))) {
        table.wrong("socket-mode", "a port has no mode", "remove it, or listen at \"unix:/path\"");
    }
    match address {
        Some(address) => known.push(address),
        None => table.require("address", "\"127.0.0.1:8891\""),
    }
}

/// Reads who may have messages scanned at `address`, where HTTP is served.
pub(super) fn scan_access(http: &Table<'_, '_>, address: Option<SocketAddr>) -> Option<Access> {
    let is_on = http.read("scan", Value::flag).unwrap_or(false);
    let tokens = http.list("scan-tokens", |value| {
        value.text()?.parse::<Token>().map_err(|_| {
            let remedy = "write a name, a colon and the token's SHA-256 in 64 hexadecimal digits";
            Wrong::new("not a token", remedy)
        })
    });
    let is_open = address.is_none_or(|address| address.ip().to_canonical().is_loopback());
    match (is_on, address, tokens) {
        (false, _, None) => None,
        (false, _, Some(_)) => {
            http.wrong("scan-tokens", "tokens for nothing", "write `scan = true`, or remove them");
            None
        }
        (true, None, _) => {
            http.wrong("scan", "there is no address to scan at", "give `address` one");
            None
        }
        (true, _, Some(tokens)) if !tokens.is_empty() => Some(Access::Tokens(tokens)),
        (true, _, _) if is_open => Some(Access::Loopback),
        _ => {
            let remedy = "list `scan-tokens`, or use an `address` of the loopback interface";
            http.wrong("scan", "anybody who reaches this address could use it", remedy);
            None
        }
    }
}

fn address(value: &Value<'_, '_>, folder: &Path, mode: u32) -> Result<Address, Wrong> {
    let text = value.text()?;
    if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(Address::Unix { path: folder.join(PathBuf::from(path)), mode });
    }
    text.parse::<SocketAddr>().map(Address::Tcp).map_err(|_| {
        Wrong::new(
            "not an address and port, nor a socket",
            "write \"127.0.0.1:8891\" or \"unix:/run/imss/milter.sock\"",
        )
    })
}

/// Octal digits, as `chmod` takes them.
fn socket_mode(value: &Value<'_, '_>) -> Result<u32, Wrong> {
    let text = value.text()?;
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| Wrong::new("not a file's mode", "write octal digits, such as \"0660\""))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    #[test]
    fn listeners_of_milters() {
        let text = "[[listen]]\nmode = \"milter\"\naddress = \"127.0.0.1:8891\"\n\
                    [[listen]]\nmode = \"milter\"\naddress = \"unix:run/m.sock\"\n\
                    socket-mode = \"0666\"\n[[listen]]\naddress = \"127.0.0.1:25\"\n";
        let config = parse(text, "imss.toml", Path::new("/etc/imss")).unwrap();
        let shown: Vec<String> = config.milters.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.1:8891", "unix:/etc/imss/run/m.sock"]);
        assert_eq!(config.listeners.len(), 1);
    }

    #[test]
    fn mistakes() {
        let cases = [
            ("no address", "", "address"),
            ("a name", "address = \"localhost:8891\"", "not an address and port, nor a socket"),
            ("no path", "address = \"unix:\"", "not an address and port, nor a socket"),
            (
                "a port's mode",
                "address = \"[::1]:1\"\nsocket-mode = \"0660\"",
                "a port has no mode",
            ),
            ("no mode", "address = \"unix:/m\"\nsocket-mode = \"rw\"", "not a file's mode"),
            ("too much", "address = \"unix:/m\"\nsocket-mode = \"1777\"", "not a file's mode"),
            (
                "twice",
                "address = \"unix:/m\"\n[[listen]]\nmode = \"milter\"\naddress = \"unix:/m\"",
                "a second listener on the same address",
            ),
        ];
        for (name, more, expected) in cases {
            let text = format!("[[listen]]\nmode = \"milter\"\n{more}\n");
            let mistakes = parse(&text, "imss.toml", Path::new("")).unwrap_err();
            let told = format!("{mistakes:?}");
            assert!(told.contains(expected), "{name}: {told}");
        }
    }
}
