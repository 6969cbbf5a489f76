//! A page → its text, addresses, forms and scripts, in one pass without a tree.
//!
//! In: a page as text. Out: a [`Page`]. Open elements are kept on a stack only to know what hides
//! text; tags that do not match end what a browser would end, as far as that matters for it.
//!
//! Text that is not shown (styles, `hidden`, templates) is kept apart; readings of words (`rt`) too.

use std::borrow::Cow;

use super::address;
use super::element::{Attributes, Element, Name};
use super::open::{Stack, State};
use super::page::{Page, ScriptOrigin};
use super::references::{self, Place};
use super::style::{self, Look, Sheet};
use super::token::{Token, Tokens};
use super::writer::Writer;
use crate::document::{ActiveKind, LinkKind, sink};

/// Octets of a label.
const MAX_LABEL: usize = 1 << 10;

/// Whether a page is XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Html,
    Xml,
}

/// A link whose label is being read.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    link: usize,
    from: [usize; 2],
}

/// Reads a page.
pub(super) struct Reader<'a> {
    tokens: Tokens<'a>,
    attributes: Attributes<'a>,
    syntax: Syntax,
    open: Stack<'a>,
    sheet: Sheet,
    shown: Writer,
    hidden: Writer,
    readings: Writer,
    anchor: Option<Anchor>,
    form: Option<usize>,
    page: Page<'a>,
}

impl<'a> Reader<'a> {
    /// A reader that keeps `max_bytes` of text of each kind.
    pub(super) fn new(page: &'a str, syntax: Syntax, max_bytes: usize) -> Self {
        let mut tokens = Tokens::new(page);
        tokens.foreign = syntax == Syntax::Xml;
        Self {
            tokens,
            attributes: Attributes::default(),
            syntax,
            open: Stack::default(),
            sheet: Sheet::default(),
            shown: Writer::new(max_bytes, (page.len() / 4).min(max_bytes)),
            hidden: Writer::new(max_bytes, 0),
            readings: Writer::new(max_bytes, 0),
            anchor: None,
            form: None,
            page: Page::empty(),
        }
    }

    /// Reads one more tag or text; whether there was one.
    pub(super) fn step(&mut self) -> bool {
        let Some(token) = self.tokens.next() else { return false };
        match token {
            Token::Text(text) => self.text(text),
            Token::Literal(text) => self.writer().text(text),
            Token::Start { name, closed } => self.start(name, closed),
            Token::End(name) => self.end(name),
            Token::Comment => {}
        }
        true
    }

    /// Steps of work since this was last asked that the length of the page does not tell.
    pub(super) fn take_work(&mut self) -> usize {
        self.open.take_misses()
    }

    /// What was found.
    pub(super) fn finish(mut self) -> Page<'a> {
        self.end_anchor();
        self.page.is_cut |= self.tokens.is_cut || self.attributes.is_cut || self.sheet.is_cut;
        let writers = [self.shown, self.hidden, self.readings];
        for (text, writer) in self.page.texts.iter_mut().zip(writers) {
            (text.1, text.2) = writer.finish();
        }
        self.page
    }

    fn state(&self) -> State {
        self.open.state()
    }

    fn writer(&mut self) -> &mut Writer {
        let state = self.state();
        if state.is_hidden() {
            &mut self.hidden
        } else if state.reading {
            &mut self.readings
        } else {
            &mut self.shown
        }
    }

    fn is_foreign(&self) -> bool {
        self.syntax == Syntax::Xml || self.open.in_picture()
    }

    /// Text with references.
    fn text(&mut self, text: &str) {
        if self.state().dropped {
            return;
        }
        let writer = self.writer();
        let mut rest = text;
        let mut from = 0_usize;
        while let Some(at) = memchr::memchr(b'&', rest.as_bytes().get(from..).unwrap_or_default()) {
            let at = from.saturating_add(at);
            let next = rest.as_bytes().get(at.saturating_add(1));
            if !next.is_some_and(|octet| octet.is_ascii_alphanumeric() || *octet == b'#') {
                from = at.saturating_add(1);
                continue;
            }
            from = 0;
            let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
            writer.text(before);
            let length = match references::read(after, Place::Text) {
                Some(found) => {
                    for character in std::iter::once(found.first).chain(found.second) {
                        writer.text(character.encode_utf8(&mut [0; 4]));
                    }
                    found.length
                }
                None => {
                    writer.text("&");
                    1
                }
            };
            rest = after.get(length..).unwrap_or_default();
        }
        writer.text(rest);
    }

    /// Text apart from what is around it.
    fn apart(&mut self, value: &str) {
        self.writer().space();
        self.text(&references::decode(value, Place::Attribute).replace('&', "&amp;"));
        self.writer().space();
    }

    fn line(&mut self) {
        self.writer().new_line();
    }

    fn start(&mut self, name: &'a str, closed: bool) {
        let element = Element::of(name);
        self.attributes.set(self.tokens.attributes());
        self.ending(|open| open.end_implied(element));
        if element.breaks_line() {
            self.line();
        } else if element == Element::Cell {
            self.writer().space();
        }
        let state = self.state_inside(name, element);
        let has_content = !(element.is_void() || closed && self.is_foreign());
        if has_content {
            self.open.push(name, element, state);
            self.tokens.foreign = self.is_foreign();
        }
        self.addresses(name, element);
        self.handlers();
        self.special(name, element, has_content);
    }

    /// What an element looks like.
    fn state_inside(&mut self, name: &str, element: Element) -> State {
        let outer = self.state();
        let attributes = &self.attributes;
        let inline =
            attributes.get(Name::Style).map(|style| references::decode(style, Place::Attribute));
        let mut look = inline.map_or_else(Look::default, |style| Look::read(&style));
        let color = |name| attributes.get(name).and_then(style::color);
        look.ink = look.ink.or_else(|| color(Name::Color));
        look.paper = look.paper.or_else(|| color(Name::BgColor));
        let (class, id) = (attributes.text(Name::Class), attributes.text(Name::Id));
        look = look.over(self.sheet.look(name, class, id));
        let hides = attributes.get(Name::Hidden).is_some()
            || matches!(element, Element::Template | Element::Iframe | Element::NoEmbed);
        let blended = match (look.ink, look.paper) {
            (Some(ink), Some(paper)) => ink == paper,
            (None, None) => outer.blended,
            _ => false,
        };
        State {
            gone: outer.gone || hides || look.gone == Some(true),
            unseen: look.unseen.unwrap_or(outer.unseen),
            tiny: look.tiny.unwrap_or(outer.tiny),
            blended,
            reading: outer.reading || element == Element::RubyReading,
            dropped: outer.dropped || matches!(element, Element::Xml | Element::RubyMark),
        }
    }

    /// Elements whose content is read in another way, or that say something besides addresses.
    fn special(&mut self, name: &'a str, element: Element, has_content: bool) {
        let attributes = &self.attributes;
        match element {
            Element::Form => {
                let action = address::clean(attributes.text(Name::Action));
                self.form = Some(self.page.forms.len());
                self.page.form(action);
            }
            Element::Input => self.input(),
            Element::Image | Element::Area => {
                if let Some(alternative) = attributes.get(Name::Alt) {
                    self.apart(alternative);
                }
            }
            Element::Meta => self.meta(),
            Element::Object | Element::Embed | Element::Applet => self.media(element),
            Element::Hta => self.fact(ActiveKind::Script, name.to_owned()),
            Element::Iframe | Element::Frame => self.frame(),
            _ => {}
        }
        if has_content {
            self.content(name, element);
        }
    }

    /// Content without markup.
    fn content(&mut self, name: &'a str, element: Element) {
        match element {
            Element::Script => self.script(),
            Element::Style => {
                let css = self.tokens.raw(name);
                let page = &mut self.page;
                self.sheet.add(css, &mut |address| {
                    page.address(LinkKind::Load, address::clean(address));
                });
            }
            Element::Title if !self.is_foreign() => {
                let text = self.tokens.raw(name);
                let title = references::decode(text, Place::Text);
                if self.page.title.is_empty() {
                    self.page.title = sink::cut(title.trim(), MAX_LABEL).to_owned();
                }
                self.text(text);
            }
            Element::Textarea => {
                let text = self.tokens.raw(name);
                self.text(text);
            }
            Element::Iframe | Element::NoEmbed => {
                let text = self.tokens.raw(name);
                self.text(text);
            }
            Element::Xmp => {
                let text = self.tokens.raw(name);
                self.writer().text(text);
            }
            Element::Plaintext => {
                let text = self.tokens.remainder();
                self.writer().text(text);
            }
            _ => {}
        }
    }

    fn script(&mut self) {
        let text = self.tokens.script();
        let kind = self.attributes.get(Name::Type).or(self.attributes.get(Name::Language));
        let kind = kind.unwrap_or_default().trim();
        let origin = if runs(kind) { ScriptOrigin::Element(kind) } else { ScriptOrigin::Data };
        if text.trim().is_empty() {
            return;
        }
        let text = if !self.is_foreign() {
            Cow::Borrowed(text)
        } else if text.contains("<![CDATA[") {
            Cow::Owned(text.replace("<![CDATA[", "").replace("]]>", ""))
        } else {
            references::decode(text, Place::Text)
        };
        self.page.script(origin, text);
    }

    /// Reads the addresses in a tag.
    fn addresses(&mut self, name: &str, element: Element) {
        if element == Element::Anchor {
            self.end_anchor();
        }
        for (attribute, value) in self.attributes.iter() {
            let page = &mut self.page;
            match attribute {
                Name::Href if element == Element::Base && page.base.is_empty() => {
                    page.base = address::clean(value).into_owned();
                }
                Name::Href if element == Element::Base => {}
                Name::Href => {
                    if let Some(kind) =
                        reference_kind(name, element, self.attributes.text(Name::Rel))
                    {
                        let download = self.attributes.get(Name::Download);
                        let known = page.links.len();
                        if element == Element::Script {
                            let source = sink::cut(value, 400);
                            page.fact(ActiveKind::Script, format!("src {source}"));
                        }
                        page.linked(kind, address::clean(value), download);
                        if element == Element::Anchor
                            && page.links.len() > known
                            && self.anchor.is_none()
                        {
                            let from = [self.shown.position(), self.hidden.position()];
                            self.anchor = Some(Anchor { link: known, from });
                        } else if element == Element::Area
                            && let Some(link) = page.links.get_mut(known)
                        {
                            link.label = self.attributes.text(Name::Alt).to_owned();
                        }
                    }
                }
                Name::Src if element == Element::Script => {
                    let source = address::clean(value);
                    page.fact(ActiveKind::Script, format!("src {}", sink::cut(&source, 400)));
                    page.address(LinkKind::Load, source);
                }
                Name::Src | Name::Background => page.address(LinkKind::Load, address::clean(value)),
                Name::Data if element == Element::Object => {
                    page.address(LinkKind::Load, address::clean(value));
                }
                Name::SrcSet => {
                    source_set(value, &mut |one| page.address(LinkKind::Load, address::clean(one)));
                }
                Name::FormAction => page.address(LinkKind::Submit, address::clean(value)),
                Name::Ping => value
                    .split_ascii_whitespace()
                    .for_each(|one| page.address(LinkKind::Submit, address::clean(one))),
                Name::Style if memchr::memchr(b'(', value.as_bytes()).is_some() => {
                    style::addresses(value, &mut |one| {
                        page.address(LinkKind::Load, address::clean(one.trim_matches('\'')));
                    });
                }
                Name::To if self.open.in_picture() || self.syntax == Syntax::Xml => {
                    for one in value.split(';') {
                        let one = address::clean(one);
                        if address::script(&one).is_some() {
                            page.address(LinkKind::Click, one);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn handlers(&mut self) {
        for (name, value) in self.attributes.handlers() {
            if !value.trim().is_empty() {
                let text = references::decode(value, Place::Attribute);
                self.page.script(ScriptOrigin::Handler(name), text);
            }
        }
    }

    fn input(&mut self) {
        let kind = self.attributes.text(Name::Type);
        let kind = references::decode(kind.trim(), Place::Attribute).to_ascii_lowercase();
        match kind.as_str() {
            "password" => match self.form.and_then(|form| self.page.forms.get_mut(form)) {
                Some(form) => form.asks_password = true,
                None => self.page.asks_password = true,
            },
            "submit" | "button" | "reset" => {
                let value = self.attributes.text(Name::Value);
                self.apart(value);
            }
            _ => {}
        }
        if kind != "hidden"
            && let Some(hint) = self.attributes.get(Name::Placeholder)
        {
            self.apart(hint);
        }
    }

    fn meta(&mut self) {
        let content = references::decode(self.attributes.text(Name::Content), Place::Attribute);
        let kind = self.attributes.text(Name::HttpEquiv).trim();
        if kind.eq_ignore_ascii_case("refresh")
            && let Some(target) = refresh(&content)
        {
            let target = address::clean(target).into_owned();
            self.page.redirect(target);
        }
        let charset = self.attributes.get(Name::Charset);
        let stated = charset.unwrap_or(&content).to_ascii_lowercase();
        if (charset.is_some() || kind.eq_ignore_ascii_case("content-type"))
            && stated.contains("utf-7")
        {
            self.fact(ActiveKind::Obfuscation, "charset utf-7".to_owned());
        }
    }

    fn media(&mut self, element: Element) {
        let attributes = &self.attributes;
        let class = attributes.text(Name::ClassId).trim();
        let kind = attributes.text(Name::Type).trim();
        let source =
            attributes.get(Name::Code).or(attributes.get(Name::Src)).or(attributes.get(Name::Data));
        let source = sink::cut(source.unwrap_or_default(), 400);
        let lower = [class, kind, source].join(" ").to_ascii_lowercase();
        let plugged =
            ["flash", "shockwave", "x-java", "director", "silverlight", ".swf", "x-msmetafile"];
        if class.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("clsid:")) {
            self.fact(ActiveKind::ActiveX, class.to_owned());
        } else if element == Element::Applet || plugged.iter().any(|word| lower.contains(word)) {
            let detail = [class, kind, source].join(" ");
            self.fact(ActiveKind::RichMedia, detail.trim().to_owned());
        }
    }

    fn frame(&mut self) {
        if let Some(inner) = self.attributes.get(Name::SrcDoc) {
            self.page.inner(references::decode(inner, Place::Attribute).into_owned());
        }
        let source = address::clean(self.attributes.text(Name::Src));
        if matches!(address::scheme(&source).as_deref(), Some("http" | "https" | "ftp" | "file")) {
            self.fact(ActiveKind::RemoteContent, format!("frame {source}"));
        }
    }

    fn fact(&mut self, kind: ActiveKind, detail: String) {
        self.page.fact(kind, detail);
    }

    fn end(&mut self, name: &str) {
        let element = Element::of(name);
        match element {
            Element::Anchor => self.end_anchor(),
            Element::Form => self.form = None,
            _ => {}
        }
        if element.breaks_line() {
            self.line();
        } else if element == Element::Cell {
            self.writer().space();
        }
        self.ending(|open| open.end(name));
        if element.breaks_line() {
            self.line();
        }
    }

    /// Ends elements, and the line of hidden text with what hides it.
    fn ending(&mut self, end: impl FnOnce(&mut Stack<'a>)) {
        let was_hidden = self.state().is_hidden();
        end(&mut self.open);
        if was_hidden && !self.state().is_hidden() {
            self.hidden.new_line();
        }
        self.tokens.foreign = self.is_foreign();
    }

    fn end_anchor(&mut self) {
        let Some(Anchor { link, from: [shown, hidden] }) = self.anchor.take() else { return };
        let label = self.shown.since(shown).trim();
        let label = if label.is_empty() { self.hidden.since(hidden).trim() } else { label };
        if let Some(link) = self.page.links.get_mut(link) {
            link.label = sink::cut(label, MAX_LABEL).replace('\n', " ");
        }
    }
}

/// What `href` is for; nothing if browsers do not follow it.
fn reference_kind(name: &str, element: Element, rel: &str) -> Option<LinkKind> {
    match element {
        Element::Link => {
            let loaded = ["stylesheet", "icon", "preload", "import", "prefetch", "connect"];
            let rel = rel.to_ascii_lowercase();
            loaded.iter().any(|word| rel.contains(word)).then_some(LinkKind::Load)
        }
        Element::Image | Element::Script | Element::Embed => Some(LinkKind::Load),
        _ if ["use", "feimage", "svg:use"].iter().any(|one| one.eq_ignore_ascii_case(name)) => {
            Some(LinkKind::Load)
        }
        _ => Some(LinkKind::Click),
    }
}

/// Whether browsers run a script of this type.
fn runs(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let known = ["javascript", "ecmascript", "jscript", "vbs", "livescript", "module", "x-js"];
    kind.is_empty() || known.iter().any(|word| kind.contains(word))
}

/// The address of a `refresh` (HTML §4.2.5.3).
fn refresh(content: &str) -> Option<&str> {
    let rest = content.trim_start().trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let rest = rest.trim_start_matches([';', ',', ' ', '\t', '\n', '\r']);
    let value = match rest.get(..3) {
        Some(word) if word.eq_ignore_ascii_case("url") => {
            let after = rest.get(3..)?.trim_start();
            after.strip_prefix('=').map_or(rest, str::trim_start)
        }
        _ => rest,
    };
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let value = match quote {
        Some(quote) => value.get(1..)?.split(quote).next()?,
        None => value,
    };
    (!value.trim().is_empty()).then(|| value.trim())
}

/// Calls `each` with the addresses of a `srcset`.
fn source_set<'a>(value: &'a str, each: &mut dyn FnMut(&'a str)) {
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        if rest.is_empty() {
            return;
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (one, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        each(one.trim_end_matches(','));
        rest = if one.ends_with(',') {
            tail
        } else {
            tail.find(',').and_then(|comma| tail.get(comma..)).unwrap_or_default()
        };
    }
}
