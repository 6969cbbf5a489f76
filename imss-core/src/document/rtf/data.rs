//! The objects and pictures of a rich text document, from their digits to files and facts.
//!
//! In: digits and control words of the groups that hold them. Out: [`Piece`]s, charged.

use bytes::Bytes;

use super::super::{Link, LinkKind, ole1};
use super::{Active, ActiveKind, Digits, Piece, UnpackError, lex};
use crate::archive::Member;
use crate::archive::UnpackError as Error;
use crate::finding::GapReason;
use crate::limits::Budget;

/// Pictures below this are ornaments.
const SMALLEST_PICTURE: usize = 256;

/// Digits of a picture or a data store.
#[derive(Debug, Default)]
pub(super) struct Blob {
    octets: Vec<u8>,
    high: Option<u8>,
    extension: &'static str,
}

impl Blob {
    /// Starts a new one, opened by `word`.
    pub(super) fn start(&mut self, word: &[u8]) {
        *self = Self { extension: if word == b"pict" { "bin" } else { "ole" }, ..Self::default() };
    }

    /// Adds digits.
    pub(super) fn digits(&mut self, text: &[u8]) {
        for digit in text.iter().filter(|octet| octet.is_ascii_hexdigit()) {
            match self.high.take() {
                Some(high) => self.octets.push(high << 4 | lex::nibble(*digit)),
                None => self.high = Some(lex::nibble(*digit)),
            }
        }
    }

    /// Adds octets.
    pub(super) fn binary(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }
}

/// An object being read.
#[derive(Debug, Default)]
struct Object {
    class: String,
    is_linked: bool,
    is_control: bool,
    updates: bool,
    is_reported: bool,
}

/// Where objects and pictures are put together.
pub(super) struct Shelf<'a, 'b> {
    pub(super) budget: &'a mut Budget<'b>,
    pub(super) out: &'a mut dyn FnMut(Piece),
    pub(super) blob: Blob,
    digits: Digits,
    objects: Vec<Object>,
    pictures: usize,
    is_disguised: bool,
}

impl<'a, 'b> Shelf<'a, 'b> {
    pub(super) fn new(budget: &'a mut Budget<'b>, out: &'a mut dyn FnMut(Piece)) -> Self {
        Self {
            budget,
            out,
            blob: Blob::default(),
            digits: Digits::default(),
            objects: Vec::new(),
            pictures: 0,
            is_disguised: false,
        }
    }

    /// The digits of the object that is read.
    pub(super) fn digits(&mut self) -> &mut Digits {
        &mut self.digits
    }

    pub(super) fn active(&mut self, kind: ActiveKind, detail: &str) {
        (self.out)(Piece::Active(Active::new(kind, detail)));
    }

    pub(super) fn property(&mut self, name: &str, value: String) {
        (self.out)(Piece::Property { name: name.to_owned(), value });
    }

    /// A control word that says what an object or picture is.
    pub(super) fn word(&mut self, word: &[u8]) {
        let kind = match word {
            b"pngblip" => "png",
            b"jpegblip" => "jpg",
            b"emfblip" => "emf",
            b"wmetafile" => "wmf",
            b"macpict" => "pict",
            b"dibitmap" | b"wbitmap" => "bmp",
            _ => "",
        };
        if !kind.is_empty() {
            self.blob.extension = kind;
        }
        let Some(object) = self.objects.last_mut() else { return };
        match word {
            b"objlink" | b"objautlink" => object.is_linked = true,
            b"objocx" => object.is_control = true,
            b"objupdate" => object.updates = true,
            _ => {}
        }
    }

    pub(super) fn start_object(&mut self) {
        self.objects.push(Object::default());
    }

    /// What `\objclass` says.
    pub(super) fn class(&mut self, class: String) {
        if let Some(object) = self.objects.last_mut() {
            object.class = class;
        }
    }

    pub(super) fn end_object(&mut self) {
        if let Some(object) = self.objects.pop().filter(|object| !object.is_reported) {
            self.report(&object, "");
        }
    }

    /// The facts of an object whose data says it is of class `own`.
    fn report(&mut self, object: &Object, own: &str) {
        let class = if own.is_empty() { object.class.as_str() } else { own };
        if ole1::is_exploited(class) || ole1::is_exploited(&object.class) {
            self.active(ActiveKind::ExploitedClass, class);
        }
        if object.is_linked {
            self.active(ActiveKind::OleLink, class);
        }
        if object.is_control {
            self.active(ActiveKind::ActiveX, class);
        }
        if object.updates {
            self.active(ActiveKind::AutoRun, &format!("objupdate {class}"));
        }
    }

    /// The data of an object ends.
    pub(super) fn end_data(&mut self) -> Result<(), UnpackError> {
        let digits = std::mem::take(&mut self.digits);
        if let Some(disguise) = digits.disguise().filter(|_| !self.is_disguised) {
            self.is_disguised = true;
            self.active(ActiveKind::Obfuscation, disguise);
        }
        let octets = Bytes::from(digits.octets());
        drop(digits);
        self.budget.charge_work((octets.len() as u64).saturating_mul(8))?;
        if octets.is_empty() {
            return Ok(());
        }
        let mut known = self.objects.pop();
        let mut object = known.take().unwrap_or_default();
        let parsed = ole1::object(&octets);
        let class = parsed.as_ref().map(|parsed| parsed.class.clone()).unwrap_or_default();
        object.is_linked |= parsed.as_ref().is_some_and(|parsed| parsed.is_linked);
        self.report(&object, &class);
        object.is_reported = true;
        self.objects.push(object);
        let (targets, is_cut) = ole1::monikers(&octets);
        if is_cut {
            self.budget.left_out("addresses of one object past 1,000");
        }
        for target in targets {
            self.active(ActiveKind::OleLink, &target);
            self.load(target);
        }
        let Some(parsed) = parsed else { return self.without_header(&octets) };
        if parsed.is_linked && !parsed.topic.is_empty() {
            self.load(parsed.topic.clone());
        }
        let content = octets.slice_ref(parsed.content);
        self.content(&class, &octets, content)
    }

    fn load(&mut self, target: String) {
        (self.out)(Piece::Link(Link { kind: LinkKind::Load, target, label: String::new() }));
    }

    /// The content of an object of a class.
    fn content(&mut self, class: &str, octets: &Bytes, content: Bytes) -> Result<(), UnpackError> {
        if class.eq_ignore_ascii_case("package")
            && let Some(package) = ole1::package(&content)
        {
            let name = package.names.first().cloned().unwrap_or_default();
            self.active(ActiveKind::OlePackage, &name);
            let file = octets.slice_ref(package.content);
            let is_whole = package.is_whole;
            return self.member(package.names, file, is_whole);
        }
        if !content.starts_with(ole1::COMPOUND)
            && let Some(at) = memchr::memmem::find(octets, ole1::COMPOUND)
        {
            // Lengths in the header lie; Word finds the file all the same.
            return self.compound(octets.slice(at..));
        }
        if content.starts_with(ole1::COMPOUND) {
            return self.compound(content);
        }
        if content.is_empty() {
            return Ok(());
        }
        self.embed(vec![format!("{class}.bin")], content)
    }

    fn compound(&mut self, file: Bytes) -> Result<(), UnpackError> {
        if ole1::has_equation(&file) {
            self.active(ActiveKind::ExploitedClass, "equation editor");
        }
        self.embed(vec!["object.ole".to_owned()], file)
    }

    /// Data that is no object stream.
    fn without_header(&mut self, octets: &Bytes) -> Result<(), UnpackError> {
        if let Some(at) = memchr::memmem::find(octets, ole1::COMPOUND) {
            self.active(ActiveKind::Obfuscation, "an object with a broken header");
            return self.compound(octets.slice(at..));
        }
        let lower = octets.to_ascii_lowercase();
        if memchr::memmem::find(&lower, b"equation.").is_some() {
            self.active(ActiveKind::ExploitedClass, "Equation behind a broken header");
        }
        self.embed(vec!["object.bin".to_owned()], octets.clone())
    }

    /// A picture or data store ends.
    pub(super) fn end_blob(&mut self) -> Result<(), UnpackError> {
        let blob = std::mem::take(&mut self.blob);
        if blob.extension == "ole" {
            let is_compound = blob.octets.starts_with(ole1::COMPOUND);
            return if is_compound { self.compound(blob.octets.into()) } else { Ok(()) };
        }
        self.pictures = self.pictures.saturating_add(1);
        if blob.octets.len() < SMALLEST_PICTURE {
            return Ok(());
        }
        self.embed(vec![format!("picture{}.{}", self.pictures, blob.extension)], blob.octets.into())
    }

    /// Hands over a file inside.
    pub(super) fn embed(&mut self, names: Vec<String>, content: Bytes) -> Result<(), Error> {
        self.member(names, content, true)
    }

    fn member(&mut self, names: Vec<String>, content: Bytes, is_whole: bool) -> Result<(), Error> {
        self.budget.charge_entity()?;
        self.budget.charge_bytes(content.len() as u64)?;
        let missing = (!is_whole).then(|| crate::archive::Missing {
            reason: GapReason::Malformed,
            detail: "cut".to_owned(),
        });
        let claimed_size = content.len() as u64;
        (self.out)(Piece::Embedded(Member { names, claimed_size, content, missing }));
        Ok(())
    }
}
