//! A page that was read → pieces for engines.
//!
//! In: a [`Page`]. Out: [`Piece`](crate::document::Piece)s: text, addresses from the page's base,
//! scripts as code, what `data:` addresses and encoded literals carry. Decoded content is charged
//! before it is made, and pictures in scripts are left out.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;

use super::address::{self, Data};
use super::page::{Form, Page, Script, ScriptOrigin};
use crate::document::script;
use crate::document::script::source::{self, Builder};
use crate::document::sink::{self, Sink};
use crate::document::{ActiveKind, LinkKind};
use crate::filetype::{self, FileType, TypeGroup};
use crate::limits::Limit;

/// Scripts of a page that are code of their own; the rest is one.
const MAX_SCRIPTS: usize = 200;
/// Files that one page carries.
const MAX_FILES: usize = 1_000;
/// Shorter content is a dot that fills space.
const MIN_FILE: usize = 8;
/// Octets of a script up to which its literals are put together.
const MAX_JOINED: usize = 32 << 20;

/// Hands over what is in `page`, which is read from `holder`, but for the pages inside.
pub(super) fn report(
    page: Page<'_>,
    holder: &Bytes,
    shows: bool,
    sink: &mut Sink<'_, '_>,
) -> Result<Vec<String>, Limit> {
    if page.is_cut {
        sink.budget.left_out("elements, attributes or style rules of a page");
    }
    sink.property("title", &page.title);
    sink.property("base", &page.base);
    if shows {
        for (kind, text, _) in &page.texts {
            sink.text(*kind, text);
        }
    }
    for link in &page.links {
        sink.link(link.kind, &address::resolve(&page.base, &link.target), &link.label);
    }
    for (kind, detail) in &page.facts {
        sink.active(*kind, detail);
    }
    for target in &page.redirects {
        redirect(&page.base, target, sink);
    }
    let mut files = Files { left: MAX_FILES };
    files.addresses(&page.data, sink)?;
    let seen = scripts(&page, holder, &mut files, sink)?;
    forms(&page, seen.asks_password, sink);
    Ok(page.pages)
}

fn redirect(base: &str, target: &str, sink: &mut Sink<'_, '_>) {
    let target = address::resolve(base, target);
    if target.contains("://") && !target.contains(char::is_whitespace) {
        sink.link(LinkKind::Load, &target, "");
    }
    sink.active(ActiveKind::Redirect, &target);
}

fn forms(page: &Page<'_>, asks_password: bool, sink: &mut Sink<'_, '_>) {
    let (base, mut asks_password) = (&page.base, asks_password || page.asks_password);
    for Form { action, asks_password: own } in &page.forms {
        let target = address::resolve(base, action);
        if *own {
            asks_password = false;
        }
        let kind = if *own { ActiveKind::PasswordForm } else { ActiveKind::Form };
        sink.link(LinkKind::Submit, &target, "");
        sink.active(kind, &target);
    }
    if asks_password {
        sink.active(ActiveKind::PasswordForm, "");
    }
}

/// What all scripts of a page do together.
#[derive(Default)]
struct Seen {
    asks_password: bool,
}

fn scripts(
    page: &Page<'_>,
    holder: &Bytes,
    files: &mut Files,
    sink: &mut Sink<'_, '_>,
) -> Result<Seen, Limit> {
    let mut seen = Seen::default();
    let mut told: HashSet<Cow<'_, str>> = HashSet::new();
    let (mut rest, mut builder) = (String::new(), Builder::default());
    let mut members = 0_usize;
    for Script { origin, text } in &page.scripts {
        if let Some(what) = what(origin)
            && !told.contains(&what)
        {
            sink.active(ActiveKind::Script, &what);
            told.insert(what);
        }
        sink.budget.charge_work(u64::try_from(text.len()).unwrap_or(u64::MAX).saturating_mul(4))?;
        let (plain, decodes) = match sink::cut(text, MAX_JOINED) {
            joined if joined.len() == text.len() => {
                let found = source::plain(joined);
                if found.is_cut {
                    sink.budget
                        .left_out("encoded literals of a script past 1,000, or past 256 KiB");
                }
                (Cow::Owned(found.text), found.decodes)
            }
            _ => {
                sink.left_out(Limit::Text);
                (Cow::Borrowed(text.as_ref()), false)
            }
        };
        if *origin != ScriptOrigin::Data {
            seen.asks_password |= source::asks_password(&plain);
            builder.see(&plain);
            if acts_alone(origin) {
                let (found, is_cut) = source::redirects(&plain);
                found.iter().for_each(|to| redirect(&page.base, to, sink));
                if is_cut {
                    sink.budget.left_out("redirects of a script past 10,000");
                }
            }
            script::decoded(text, sink)?;
            let is_element = matches!(origin, ScriptOrigin::Element(_));
            if is_element && members < MAX_SCRIPTS {
                members = members.saturating_add(1);
                sink.code("script", shared(holder, text))?;
            } else {
                rest.push_str(text);
                rest.push('\n');
            }
        }
        files.literals(&plain, sink)?;
        if decodes {
            sink.code("decoded", plain.into_owned())?;
        }
    }
    if !rest.is_empty() {
        sink.code("handlers", rest)?;
    }
    if let Some(words) = builder.words() {
        sink.active(ActiveKind::Smuggling, &words);
    }
    Ok(seen)
}

/// `text` as octets, without a copy if it is a piece of `holder`.
fn shared(holder: &Bytes, text: &str) -> Bytes {
    let start = text.as_ptr().addr().checked_sub(holder.as_ptr().addr());
    let range = start.map(|start| start..start.saturating_add(text.len()));
    match range.filter(|range| range.end <= holder.len()) {
        Some(range) => holder.slice(range),
        None => Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// What is told of a script; nothing of data.
fn what<'a>(origin: &ScriptOrigin<'a>) -> Option<Cow<'a, str>> {
    Some(match origin {
        ScriptOrigin::Element("") => Cow::Borrowed("inline"),
        ScriptOrigin::Element(kind) => Cow::Owned(format!("inline {}", sink::cut(kind, 60))),
        ScriptOrigin::Handler(name) => Cow::Owned(sink::cut(name, 60).to_ascii_lowercase()),
        ScriptOrigin::Address => Cow::Borrowed("address"),
        ScriptOrigin::Data => return None,
    })
}

/// Whether a script runs without a click.
fn acts_alone(origin: &ScriptOrigin<'_>) -> bool {
    let events = ["onload", "onerror", "onbegin", "onpageshow", "onfocus", "ontoggle", "onend"];
    match origin {
        ScriptOrigin::Element(_) => true,
        ScriptOrigin::Handler(name) => {
            events.iter().any(|event| event.eq_ignore_ascii_case(name))
                || name.get(..11).is_some_and(|name| name.eq_ignore_ascii_case("onanimation"))
        }
        ScriptOrigin::Data | ScriptOrigin::Address => false,
    }
}

/// Files inside a page.
struct Files {
    left: usize,
}

impl Files {
    /// Content of `data:` addresses.
    fn addresses(
        &mut self,
        data: &[(Cow<'_, str>, Option<String>)],
        sink: &mut Sink<'_, '_>,
    ) -> Result<(), Limit> {
        for (address, name) in data {
            if self.left == 0 {
                return Err(Limit::Entities);
            }
            sink.budget.charge_work(u64::try_from(address.len()).unwrap_or(u64::MAX))?;
            let Some(data) = Data::read(address) else { continue };
            if data.content.len() < MIN_FILE {
                continue;
            }
            self.left = self.left.saturating_sub(1);
            if data.media_type.contains("script") {
                sink.code("address", String::from_utf8_lossy(&data.content).into_owned())?;
            } else {
                sink.embedded(name.as_deref().unwrap_or_default(), data.content.into())?;
            }
        }
        Ok(())
    }

    /// Content of long literals.
    fn literals(&mut self, plain: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
        for content in source::contents(plain) {
            if self.left == 0 {
                return Err(Limit::Entities);
            }
            sink.budget.charge_work(u64::try_from(content.bound()).unwrap_or(u64::MAX))?;
            let Some(octets) = content.decode() else { continue };
            let kind = filetype::detect(&octets);
            match kind.group {
                TypeGroup::Text | TypeGroup::Script if is_text(&octets) => {
                    self.left = self.left.saturating_sub(1);
                    sink.code("literal", String::from_utf8_lossy(&octets).into_owned())?;
                }
                _ if is_file(&kind) => {
                    self.left = self.left.saturating_sub(1);
                    sink.embedded("", octets.into())?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Letters decoded by chance are no text.
fn is_text(octets: &[u8]) -> bool {
    std::str::from_utf8(octets)
        .is_ok_and(|text| !text.contains(|c: char| c.is_control() && !c.is_whitespace()))
}

fn is_file(kind: &FileType) -> bool {
    matches!(
        kind.group,
        TypeGroup::Archive
            | TypeGroup::Document
            | TypeGroup::Executable
            | TypeGroup::Html
            | TypeGroup::Shortcut
    )
}
