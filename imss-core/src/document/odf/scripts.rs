//! Scripts of OpenDocument: Basic modules in packages and flat files, and files of other languages.
//!
//! In: a member and its name, or a flat file. Out: the code of each module, and that there is code.

use bytes::Bytes;

use crate::document::ActiveKind;
use crate::document::sink::Sink;
use crate::document::xml::{self, Token, Xml};
use crate::limits::Limit;

/// Looks at one member of a package.
pub(super) fn member(name: &str, content: &Bytes, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    if let Some(path) = name.strip_prefix("Scripts/") {
        // The file is an entity already.
        if !path.is_empty() && !path.ends_with('/') {
            sink.active(ActiveKind::Script, name);
        }
        return Ok(());
    }
    let in_library =
        name.starts_with("Basic/") || name.contains("/Basic/") || name.starts_with("Dialogs/");
    if !in_library || !xml::is_xml(content) {
        return Ok(());
    }
    let text = xml::decode(content, sink.budget)?;
    modules(&text, sink)
}

/// Looks at a flat file.
pub(super) fn flat(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    modules(text, sink)
}

/// The text of every `module` element, which may have its source in an element of its own.
fn modules(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut xml = Xml::new(text);
    let mut module: Option<(String, String)> = None;
    while let Some(token) = xml.token(sink.budget)? {
        match token {
            Token::Start(tag) if tag.local() == "module" => {
                let name = tag.attr("name").unwrap_or_default().into_owned();
                module = Some((name, String::new()));
            }
            Token::Text(text) => {
                if let Some((_, code)) = &mut module {
                    code.push_str(&text);
                }
            }
            Token::End(end) if end.local() == "module" => {
                let Some((name, code)) = module.take() else { continue };
                if !code.trim().is_empty() {
                    sink.active(ActiveKind::Script, &format!("Basic module {name}"));
                    sink.code(&format!("{name}.bas"), code)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
