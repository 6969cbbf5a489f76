//! The pages of a file (ISO 32000-2 §7.7.3) → their text, one piece a page.
//!
//! In: all objects. Out: the text of the pages in the order of the page tree; then, as
//! [`TextKind::Revision`], that of pages that are in no tree and of replaced content streams.
//!
//! A tree that loops or is broken ends where it repeats; its pages are found among the objects
//! anyway. Pages of the same content and resources are read once.

use std::collections::HashSet;

use super::Reader;
use super::content::{Canvas, IDENTITY, Matrix, draw, matrix, multiply};
use super::layout;
use super::object::{Dict, Value};
use super::store::Object;
use crate::anomaly::AnomalyKind;
use crate::archive::UnpackError;
use crate::document::{Piece, TextKind};
use crate::limits::Limit;

/// Parents that are asked for an inherited value.
const MAX_PARENTS: usize = 50;
/// Content streams of one page.
const MAX_STREAMS: usize = 10_000;
/// Steps of one page besides its content.
const PAGE: u64 = 500;
/// Steps of one version of a content stream, and octets of remembering it: twice a place.
const VERSION: u64 = 20;
const VERSION_BYTES: u64 = 16;

impl<'a> Reader<'a, '_> {
    /// Reports the text of all pages.
    pub(super) fn pages(&mut self) -> Result<(), Limit> {
        let mut canvas = Canvas::new();
        let mut reached = HashSet::new();
        let mut drawn = HashSet::new();
        canvas.off = self.switched_off();
        for place in self.tree(&mut reached)? {
            self.page(&mut canvas, place, true, &mut drawn)?;
        }
        let store = self.store;
        for (place, object) in store.objects.iter().enumerate() {
            self.budget.charge_work(5)?;
            let is_page = object.dict().is_some_and(|dict| dict.is_type(b"Page"));
            if is_page && !reached.contains(&place) {
                self.page(&mut canvas, place, false, &mut drawn)?;
            }
        }
        if canvas.blind {
            let (kind, detail) = (AnomalyKind::UndecodableText, "a font without a map to text");
            (self.out)(Piece::Anomaly { kind, offset: 0, detail: detail.to_owned() });
        }
        Ok(())
    }

    /// The places of the pages in the latest tree, in order.
    fn tree(&mut self, reached: &mut HashSet<usize>) -> Result<Vec<usize>, Limit> {
        let store = self.store;
        let roots = store.trailers.iter().rev().filter_map(|trailer| store.dict(trailer, b"Root"));
        let catalogs = store.objects.iter().rev().filter_map(Object::dict);
        let catalogs = catalogs.filter(|dict| dict.is_type(b"Catalog"));
        let mut roots = roots.chain(catalogs).filter_map(|root| match root.get(b"Pages") {
            Some(Value::Ref(number)) => store.place(*number),
            _ => None,
        });
        let mut stack: Vec<usize> = roots.next().into_iter().collect();
        let mut pages = Vec::new();
        while let Some(place) = stack.pop() {
            self.budget.charge_work(20)?;
            let Some(dict) = store.objects.get(place).and_then(Object::dict) else { continue };
            if !reached.insert(place) {
                continue;
            }
            match store.get(dict, b"Kids").array() {
                Some(kids) if !dict.is_type(b"Page") => {
                    self.budget.charge_work((kids.len() as u64).saturating_mul(10))?;
                    stack.extend(kids.iter().rev().filter_map(|kid| match kid {
                        Value::Ref(number) => store.place(*number),
                        _ => None,
                    }));
                }
                _ => pages.push(place),
            }
        }
        Ok(pages)
    }

    fn page(
        &mut self,
        canvas: &mut Canvas,
        place: usize,
        latest: bool,
        drawn: &mut HashSet<Vec<usize>>,
    ) -> Result<(), Limit> {
        self.budget.charge_work(PAGE)?;
        let store = self.store;
        let Some(dict) = store.objects.get(place).and_then(Object::dict) else { return Ok(()) };
        let area = rectangle(self, self.inherited(dict, b"CropBox"))
            .or_else(|| rectangle(self, self.inherited(dict, b"MediaBox")))
            .unwrap_or([0.0, 0.0, 612.0, 792.0]);
        let (start, area) = turned(self.inherited(dict, b"Rotate").integer().unwrap_or(0), area);
        let resources = self.inherited(dict, b"Resources").dict();
        let (current, replaced) = self.contents(dict)?;
        if self.is_deep(dict) {
            self.budget.left_out("what a page inherits from more than 50 nodes above it");
        }
        let own = std::ptr::from_ref(resources.unwrap_or(dict)).addr();
        for (streams, latest) in [(current, latest), (replaced, false)] {
            let key: Vec<usize> = streams.iter().copied().chain([own]).collect();
            if streams.is_empty() || !drawn.insert(key) {
                continue;
            }
            canvas.turn(area);
            let (mut data, mut known) = (Vec::new(), HashSet::new());
            for place in streams {
                let bytes = self.decode(place)?.bytes;
                if !known.insert(place) {
                    // What stands once in the file may be here ten thousand times.
                    self.budget.charge_bytes(bytes.len() as u64)?;
                }
                data.extend_from_slice(&bytes);
                data.push(b'\n');
            }
            draw(self, canvas, &data, resources, &start)?;
            if latest {
                self.label(canvas, dict, &start)?;
                self.appearances(canvas, dict, &start)?;
            }
            self.report(canvas, latest);
        }
        Ok(())
    }

    fn report(&mut self, canvas: &Canvas, latest: bool) {
        let shown = layout::text(canvas.chunks.iter().filter(|chunk| !chunk.hidden));
        let hidden = layout::text(canvas.chunks.iter().filter(|chunk| chunk.hidden));
        if latest {
            self.text(TextKind::Shown, shown);
            self.text(TextKind::Hidden, hidden);
        } else {
            self.text(TextKind::Revision, shown);
            self.text(TextKind::Revision, hidden);
        }
    }

    /// The places of a page's content streams: the latest, and what they replaced.
    fn contents(&mut self, page: &Dict) -> Result<(Vec<usize>, Vec<usize>), Limit> {
        let store = self.store;
        let Some(value) = page.get(b"Contents") else { return Ok((Vec::new(), Vec::new())) };
        let list = match store.resolve(value) {
            Value::Array(list) => list.as_slice(),
            _ => std::slice::from_ref(value),
        };
        if list.len() > MAX_STREAMS {
            self.trouble.get_or_insert(UnpackError::Limit(Limit::EntityBytes));
        }
        let (mut current, mut replaced) = (Vec::new(), Vec::new());
        let mut known = HashSet::new();
        for item in list.iter().take(MAX_STREAMS) {
            let Value::Ref(number) = item else { continue };
            self.budget.charge_work(VERSION)?;
            // A stream that is drawn twice, such as one that only restores the state, counts twice; what
            // it replaced does not.
            current.extend(store.place(*number));
            if !known.insert(*number) {
                continue;
            }
            for place in store.versions(*number).filter(|own| current.last() != Some(own)) {
                self.budget.charge_work(VERSION)?;
                self.budget.charge_bytes(VERSION_BYTES)?;
                replaced.push(place);
            }
        }
        Ok((current, replaced))
    }

    /// Whether a page is in more nodes than are asked for what it inherits.
    fn is_deep(&self, page: &Dict) -> bool {
        let mut node = page;
        for _ in 0..MAX_PARENTS {
            let Some(parent) = self.store.dict(node, b"Parent") else { return false };
            node = parent;
        }
        true
    }

    /// A value of a page or of the nodes above it.
    fn inherited(&self, page: &'a Dict, key: &[u8]) -> &'a Value {
        let store = self.store;
        let mut node = page;
        for _ in 0..MAX_PARENTS {
            let value = store.get(node, key);
            if *value != Value::Null {
                return value;
            }
            let Some(parent) = store.dict(node, b"Parent") else { break };
            node = parent;
        }
        &Value::Null
    }

    /// Draws what the annotations look like (§12.5.5).
    fn appearances(
        &mut self,
        canvas: &mut Canvas,
        page: &'a Dict,
        start: &Matrix,
    ) -> Result<(), Limit> {
        let store = self.store;
        let annotations = store.get(page, b"Annots").array().unwrap_or_default();
        self.budget.charge_work((annotations.len() as u64).saturating_mul(50))?;
        for annotation in annotations.iter().filter_map(|item| store.resolve(item).dict()) {
            let Some(looks) = store.dict(annotation, b"AP") else { continue };
            let mut normal = looks.get(b"N");
            if let Some(Value::Dict(states)) = normal.map(|value| store.resolve(value))
                && states.get(b"BBox").is_none()
            {
                let state = annotation.name(b"AS");
                normal = state.and_then(|state| states.get(state));
            }
            let Some(Value::Ref(number)) = normal else { continue };
            let Some(place) = store.place(*number) else { continue };
            let Some(dict) = store.objects.get(place).and_then(Object::dict) else { continue };
            let Some([left, bottom, right, top]) = rectangle(self, store.get(annotation, b"Rect"))
            else {
                continue;
            };
            let own = matrix(self, store.get(dict, b"Matrix")).unwrap_or(IDENTITY);
            let [x, y, ..] = rectangle(self, store.get(dict, b"BBox")).unwrap_or([0.0; 4]);
            let moved = [1.0, 0.0, 0.0, 1.0, left - x, bottom - y];
            let data = self.decode(place)?.bytes;
            let before = canvas.chunks.len();
            let place = multiply(&multiply(&own, &moved), start);
            draw(self, canvas, &data, store.dict(dict, b"Resources"), &place)?;
            let flags = store.get(annotation, b"F").integer().unwrap_or(0);
            let empty = right - left < 1.0 || top - bottom < 1.0;
            if flags & 0b10_0010 != 0 || empty {
                canvas.chunks.iter_mut().skip(before).for_each(|chunk| chunk.hidden = true);
            }
        }
        Ok(())
    }

    /// Remembers what is written under the links of a page.
    fn label(&mut self, canvas: &Canvas, page: &Dict, start: &Matrix) -> Result<(), Limit> {
        let store = self.store;
        let annotations = store.get(page, b"Annots").array().unwrap_or_default();
        for annotation in annotations.iter().filter_map(|item| store.resolve(item).dict()) {
            let Some(action) = store.dict(annotation, b"A") else { continue };
            let Value::Text(target) = store.get(action, b"URI") else { continue };
            let Some([left, bottom, right, top]) = rectangle(self, store.get(annotation, b"Rect"))
            else {
                continue;
            };
            // Each piece of text of the page is held against the place of the link.
            self.budget.charge_work(canvas.chunks.len() as u64)?;
            let [.., ax, ay] = multiply(&[1.0, 0.0, 0.0, 1.0, left, bottom], start);
            let [.., bx, by] = multiply(&[1.0, 0.0, 0.0, 1.0, right, top], start);
            let over = canvas.chunks.iter().filter(|chunk| {
                let x = (chunk.start.0 + chunk.end.0) / 2.0;
                let y = (chunk.start.1 + chunk.end.1) / 2.0 + chunk.size * 0.3;
                x >= ax.min(bx) && x <= ax.max(bx) && y >= ay.min(by) && y <= ay.max(by)
            });
            let label: String = layout::text(over).split_whitespace().collect::<Vec<_>>().join(" ");
            let label: String = label.chars().take(500).collect();
            let known = self.labels.entry(target.clone()).or_default();
            if known.is_empty() {
                *known = label;
            }
        }
        Ok(())
    }

    /// The layers that are off when the file is opened (§8.11.4.3).
    fn switched_off(&self) -> HashSet<u32> {
        let store = self.store;
        let roots = store.trailers.iter().rev().filter_map(|trailer| store.dict(trailer, b"Root"));
        let layers = roots.filter_map(|root| store.dict(root, b"OCProperties")).next();
        let default = layers.and_then(|layers| store.dict(layers, b"D"));
        let off = default.and_then(|default| store.get(default, b"OFF").array());
        let numbers = off.unwrap_or_default().iter().filter_map(|layer| match layer {
            Value::Ref(number) => Some(*number),
            _ => None,
        });
        numbers.collect()
    }
}

/// Left, bottom, right, top.
fn rectangle(reader: &Reader<'_, '_>, value: &Value) -> Option<[f64; 4]> {
    let items = value.array()?;
    let mut numbers = items.iter().filter_map(|item| reader.store.resolve(item).number());
    let (a, b) = (numbers.next()?, numbers.next()?);
    let (c, d) = (numbers.next()?, numbers.next()?);
    Some([a.min(c), b.min(d), a.max(c), b.max(d)])
}

/// The turn that makes a page upright, and its visible area after that.
fn turned(degrees: i64, [left, bottom, right, top]: [f64; 4]) -> (Matrix, [f64; 4]) {
    match degrees.rem_euclid(360) {
        90 => ([0.0, -1.0, 1.0, 0.0, 0.0, 0.0], [bottom, -right, top, -left]),
        180 => ([-1.0, 0.0, 0.0, -1.0, 0.0, 0.0], [-right, -top, -left, -bottom]),
        270 => ([0.0, 1.0, -1.0, 0.0, 0.0, 0.0], [-top, left, -bottom, right]),
        _ => (IDENTITY, [left, bottom, right, top]),
    }
}
