#![no_main]
//! However a mail server's octets are cut, the same answers and messages come out; and the places of
//! the fields of a message are theirs.

use imss_relay::milter::codec::{self, CodecError};
use imss_relay::milter::session::{Complete, Event, Session};
use libfuzzer_sys::fuzz_target;

/// Answers, messages with their content, and why it ended.
type Told = (Vec<u8>, Vec<(Box<Complete>, Vec<u8>)>, Option<CodecError>);

fuzz_target!(|input: (u8, &[u8])| {
    let (size, octets) = input;
    let whole = run(octets, octets.len().max(1));
    let pieces = run(octets, usize::from(size % 16) + 1);
    assert_eq!(whole, pieces, "it depends on how the input is cut");
    for (complete, content) in &whole.1 {
        let outline = &complete.outline;
        assert_eq!(outline.recipients.len(), complete.envelope.recipients.len());
        let head = usize::try_from(outline.header_bytes).unwrap();
        assert!(content[..head].ends_with(b"\r\n"), "no empty line after the header section");
        let mut end = 0;
        for field in outline.fields.iter().flatten() {
            assert_eq!(field.start, end, "fields follow each other");
            end = field.end;
            let octets = &content[field.start as usize..field.end as usize];
            assert!(octets.starts_with(&field.name) && octets.ends_with(b"\r\n"));
        }
        assert!(outline.fields.is_none() || end + 2 == outline.header_bytes);
    }
});

fn run(octets: &[u8], size: usize) -> Told {
    let mut session = Session::new(4);
    let (mut answers, mut messages, mut content) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = Vec::new();
    for piece in octets.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            let (length, command) = match codec::read(&buffer) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return (answers, messages, Some(error)),
            };
            match session.obey(command) {
                Event::Continue => {}
                Event::Begin => {
                    content.clear();
                    session.begin(Ok(()));
                }
                Event::Content(piece) => content.extend_from_slice(&piece),
                Event::Abandon => content.clear(),
                Event::End(piece, complete) => {
                    content.extend_from_slice(&piece);
                    messages.push((complete, std::mem::take(&mut content)));
                }
                Event::Close => return (answers, messages, None),
            }
            answers.append(session.output());
            buffer.drain(..length);
        }
    }
    (answers, messages, None)
}
