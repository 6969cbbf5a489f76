//! Shows everything inside files: types, members, text, links and what acts on opening.
//!
//! `cargo run -p imss-examples --example entities FILE...`. A name in `.eml` is read as a message,
//! any other as an attachment.

#[path = "../imss-core/tests/suite/listing.rs"]
mod listing;

/// A calendar entry, read if no file is named.
const SAMPLE: &[u8] = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n\
    SUMMARY:Meeting\r\nURL:https://example.com/room\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn main() -> anyhow::Result<()> {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    if paths.is_empty() {
        print!("{}", listing::list("meeting.ics", SAMPLE));
    }
    for path in paths {
        println!("{}", path.display());
        print!("{}", listing::list(&path.to_string_lossy(), &std::fs::read(&path)?));
    }
    Ok(())
}
