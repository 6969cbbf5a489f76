//! What is found in a page: addresses, forms, scripts and facts.
//!
//! In: what a tag says. Out: a [`Page`], whose lists are bounded. An address that runs is a script, and
//! one that carries its content is content.

use std::borrow::Cow;

use super::address;
use crate::document::{ActiveKind, LinkKind, TextKind, sink};

/// Addresses, forms, scripts and facts of a page, each.
const MAX_FOUND: usize = 10_000;

/// Everything in a page.
#[derive(Debug)]
pub(super) struct Page<'a> {
    /// Text by kind, and whether more was left out.
    pub(super) texts: [(TextKind, String, bool); 3],
    pub(super) title: String,
    /// Where addresses start from.
    pub(super) base: String,
    pub(super) links: Vec<Address<'a>>,
    pub(super) forms: Vec<Form<'a>>,
    pub(super) scripts: Vec<Script<'a>>,
    /// Addresses that carry their content, and the name it is saved by.
    pub(super) data: Vec<(Cow<'a, str>, Option<String>)>,
    /// What acts, besides scripts and forms.
    pub(super) facts: Vec<(ActiveKind, String)>,
    /// Where the page goes by itself.
    pub(super) redirects: Vec<String>,
    /// Pages inside (`srcdoc`).
    pub(super) pages: Vec<String>,
    /// A password field outside of forms.
    pub(super) asks_password: bool,
    /// Something was left out.
    pub(super) is_cut: bool,
}

/// An address with what a reader clicks.
#[derive(Debug)]
pub(super) struct Address<'a> {
    pub(super) kind: LinkKind,
    pub(super) target: Cow<'a, str>,
    pub(super) label: String,
}

/// A form.
#[derive(Debug)]
pub(super) struct Form<'a> {
    pub(super) action: Cow<'a, str>,
    pub(super) asks_password: bool,
}

/// Something that runs.
#[derive(Debug)]
pub(super) struct Script<'a> {
    pub(super) origin: ScriptOrigin<'a>,
    pub(super) text: Cow<'a, str>,
}

/// Where a script stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ScriptOrigin<'a> {
    /// An element with this type.
    Element(&'a str),
    /// An element that browsers do not run.
    Data,
    /// An `on...` attribute.
    Handler(&'a str),
    /// An address.
    Address,
}

impl Page<'_> {
    /// A page in which nothing was found.
    pub(super) fn empty() -> Self {
        Self {
            texts: [TextKind::Shown, TextKind::Hidden, TextKind::Comment]
                .map(|kind| (kind, String::new(), false)),
            title: String::new(),
            base: String::new(),
            links: Vec::new(),
            forms: Vec::new(),
            scripts: Vec::new(),
            data: Vec::new(),
            facts: Vec::new(),
            redirects: Vec::new(),
            pages: Vec::new(),
            asks_password: false,
            is_cut: false,
        }
    }
}

impl<'a> Page<'a> {
    pub(super) fn address(&mut self, kind: LinkKind, target: Cow<'a, str>) {
        self.linked(kind, target, None);
    }

    pub(super) fn linked(&mut self, kind: LinkKind, target: Cow<'a, str>, download: Option<&str>) {
        let start: &str = target.get(..5).unwrap_or_default();
        if address::is_data(&target) {
            if kind == LinkKind::Click
                && target.get(5..14).is_some_and(|media| media.eq_ignore_ascii_case("text/html"))
            {
                self.fact(ActiveKind::Script, "data:text/html".to_owned());
            }
            if download.is_some() {
                let head = target.split(',').next().unwrap_or_default();
                self.fact(ActiveKind::Smuggling, format!("download {}", sink::cut(head, 200)));
            }
            let found = (target, download.map(str::to_owned));
            self.is_cut |= !push(&mut self.data, found);
            return;
        }
        if start.eq_ignore_ascii_case("blob:") && download.is_some() {
            self.fact(ActiveKind::Smuggling, "download blob:".to_owned());
        }
        if target.is_empty()
            || target.starts_with('#')
            || start.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("cid:"))
        {
            return;
        }
        if let Some(code) = address::script(&target) {
            self.script(ScriptOrigin::Address, Cow::Owned(code));
        }
        let found = Address { kind, target, label: String::new() };
        self.is_cut |= !push(&mut self.links, found);
    }

    pub(super) fn script(&mut self, origin: ScriptOrigin<'a>, text: Cow<'a, str>) {
        self.is_cut |= !push(&mut self.scripts, Script { origin, text });
    }

    pub(super) fn fact(&mut self, kind: ActiveKind, detail: String) {
        self.is_cut |= !push(&mut self.facts, (kind, detail));
    }

    pub(super) fn redirect(&mut self, target: String) {
        self.is_cut |= !push(&mut self.redirects, target);
    }

    /// A form; the fields after it are its own.
    pub(super) fn form(&mut self, action: Cow<'a, str>) {
        self.is_cut |= !push(&mut self.forms, Form { action, asks_password: false });
    }

    /// A page inside.
    pub(super) fn inner(&mut self, page: String) {
        self.is_cut |= !push(&mut self.pages, page);
    }
}

/// Adds to a list; tells whether there was room.
fn push<T>(list: &mut Vec<T>, item: T) -> bool {
    let fits = list.len() < MAX_FOUND;
    if fits {
        list.push(item);
    }
    fits
}
