//! Paths → inputs: messages, mboxes, and any other file as if it were attached.
//!
//! In: the paths as typed. Out: [`Input`]s in a fixed order (as typed, folders sorted by name,
//! mboxes message by message). What cannot be read is an input too, with the reason. Special files
//! inside folders (sockets, devices, pipes) are passed over; symbolic links are followed only when
//! typed, so that a folder cannot lead in circles.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::classify::{Class, classify};
use super::mbox::Messages;

/// Octets read to tell what a file is. A file that is no longer needs no second look.
const HEAD_BYTES: u64 = 64 << 10;

/// One thing to scan.
#[derive(Debug)]
pub(crate) struct Input {
    /// Its name in the output.
    pub(crate) name: String,
    /// Where its bytes are.
    pub(crate) source: Result<Source, io::Error>,
}

/// Where an input's bytes are, and what they are.
#[derive(Debug)]
pub(crate) enum Source {
    /// A message in memory.
    Message(Vec<u8>),
    /// Any other content in memory, by the name it would have as an attachment.
    Other(String, Vec<u8>),
    /// A longer file, still to be read.
    File(PathBuf, Class),
}

/// Calls `each` with every input of `paths` until it answers `false`.
pub(crate) fn visit(paths: &[PathBuf], each: &mut dyn FnMut(Input) -> bool) {
    for path in paths {
        let go_on = if path.as_os_str() == "-" {
            stream("-".to_owned(), "stdin", io::stdin().lock(), each)
        } else {
            match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => folder(path, each),
                // A named pipe or device that was typed is meant.
                Ok(metadata) if !metadata.is_file() => match File::open(path) {
                    Ok(open) => stream(display(path), &file_name(path), open, each),
                    Err(error) => each(Input { name: display(path), source: Err(error) }),
                },
                Ok(_) => file(path, each),
                Err(error) => each(Input { name: display(path), source: Err(error) }),
            }
        };
        if !go_on {
            return;
        }
    }
}

fn folder(path: &Path, each: &mut dyn FnMut(Input) -> bool) -> bool {
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return each(Input { name: display(path), source: Err(error) }),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    entries.into_iter().all(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => folder(&entry.path(), each),
        Ok(kind) if kind.is_file() => file(&entry.path(), each),
        Ok(_) => true,
        Err(error) => each(Input { name: display(&entry.path()), source: Err(error) }),
    })
}

fn file(path: &Path, each: &mut dyn FnMut(Input) -> bool) -> bool {
    let name = display(path);
    let mut head = Vec::new();
    let opened = File::open(path)
        .and_then(|file| file.take(HEAD_BYTES.saturating_add(1)).read_to_end(&mut head));
    match opened {
        Err(error) => each(Input { name, source: Err(error) }),
        Ok(length) => match classify(&head, path) {
            Class::Mbox => match File::open(path) {
                Ok(file) => mbox(&name, file, each),
                Err(error) => each(Input { name, source: Err(error) }),
            },
            class if u64::try_from(length).unwrap_or(u64::MAX) > HEAD_BYTES => {
                each(Input { name, source: Ok(Source::File(path.to_owned(), class)) })
            }
            Class::Message => each(Input { name, source: Ok(Source::Message(head)) }),
            Class::Other => each(Input { name, source: Ok(Source::Other(file_name(path), head)) }),
        },
    }
}

/// Something that can be read only once.
fn stream(
    name: String,
    attachment: &str,
    mut reader: impl Read,
    each: &mut dyn FnMut(Input) -> bool,
) -> bool {
    let mut head = Vec::new();
    if let Err(error) = reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head) {
        return each(Input { name, source: Err(error) });
    }
    let class = classify(&head, Path::new(attachment));
    if class == Class::Mbox {
        return mbox(&name, io::Cursor::new(head).chain(reader), each);
    }
    let source = reader.read_to_end(&mut head).map(|_| match class {
        Class::Message | Class::Mbox => Source::Message(head),
        Class::Other => Source::Other(attachment.to_owned(), head),
    });
    each(Input { name, source })
}

fn mbox(name: &str, reader: impl Read, each: &mut dyn FnMut(Input) -> bool) -> bool {
    Messages::new(BufReader::with_capacity(256 << 10, reader)).zip(1_u64..).all(
        |(message, number)| {
            each(Input { name: format!("{name}#{number}"), source: message.map(Source::Message) })
        },
    )
}

fn display(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[PathBuf]) -> Vec<String> {
        let mut names = Vec::new();
        visit(paths, &mut |input| {
            let kind = match input.source {
                Ok(Source::Message(_)) => "message",
                Ok(Source::Other(..)) => "other",
                Ok(Source::File(..)) => "file",
                Err(_) => "unreadable",
            };
            names.push(format!("{kind} {}", input.name.rsplit('/').next().unwrap_or_default()));
            true
        });
        names
    }

    #[test]
    fn folders_come_in_order_and_mboxes_message_by_message() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| fs::write(root.path().join(name), content);
        fs::create_dir(root.path().join("b")).unwrap();
        write("b/2.eml", b"From: a@example.com\nSubject: x\n\nx").unwrap();
        write("c.bin", &[0; 10]).unwrap();
        write("d.bin", &vec![0; 70 << 10]).unwrap();
        let message = "From a@example.com Thu Jan  1 00:00:00 1970\nFrom: a@example.com\n\nx\n\n";
        write("a.mbox", message.repeat(2).as_bytes()).unwrap();
        let found = names(&[root.path().to_owned(), root.path().join("none")]);
        let expected = [
            "message a.mbox#1",
            "message a.mbox#2",
            "message 2.eml",
            "other c.bin",
            "file d.bin",
            "unreadable none",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn links_inside_folders_are_passed_over() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("circle")).unwrap();
        fs::write(root.path().join("x"), "x").unwrap();
        assert_eq!(names(&[root.path().to_owned()]), ["other x"]);
    }
}
