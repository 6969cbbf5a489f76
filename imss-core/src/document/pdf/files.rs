//! Files inside a PDF file (ISO 32000-2 §7.11.4), and pictures that may show text or codes.
//!
//! In: all objects. Out: embedded files under every spelling of their names, pictures of a readable
//! size: JPEG and JPEG 2000 as they are, those of scanners as TIFF or JBIG2, plain ones as PNG.
//!
//! Plain pictures that are larger than [`MAX_SAMPLES`] or have other colours than grey and RGB are no
//! gap: their samples are no file that any program opens, and no text is read from pictures here.

use super::object::{Dict, Value};
use super::{Reader, fax, text_string};
use crate::archive::Member;
use crate::document::{ActiveKind, Piece};
use crate::limits::Limit;

/// Pictures smaller than this show no text and no codes.
const MIN_PIXELS: i64 = 48;
/// Pixels, or octets, of a plain picture that is handed over.
const MAX_SAMPLES: i64 = 16 << 20;
/// Pictures handed over from one file.
const MAX_PICTURES: usize = 5_000;

impl Reader<'_, '_> {
    /// Hands over all files and pictures.
    pub(super) fn files(&mut self) -> Result<(), Limit> {
        let store = self.store;
        for object in &store.objects {
            self.specifications(&object.value)?;
        }
        let mut pictures = 0_usize;
        for (place, object) in store.objects.iter().enumerate() {
            let Some(dict) = object.dict().filter(|_| object.is_stream()) else { continue };
            if dict.is_type(b"EmbeddedFile") || dict.name(b"Subtype") == Some(b"3D") {
                self.file_at(place, Vec::new())?;
            } else if dict.name(b"Subtype") == Some(b"Image") {
                if pictures >= MAX_PICTURES {
                    self.budget.left_out("pictures past 5,000");
                    continue;
                }
                pictures = pictures.saturating_add(usize::from(self.picture(place, dict)?));
            }
        }
        Ok(())
    }

    /// Looks for file specifications in a value.
    fn specifications(&mut self, value: &Value) -> Result<(), Limit> {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.specifications(item)),
            Value::Dict(dict) => {
                if let Some(files) = self.store.dict(dict, b"EF") {
                    self.specification(dict, files)?;
                }
                dict.0.iter().try_for_each(|(_, item)| self.specifications(item))
            }
            _ => Ok(()),
        }
    }

    fn specification(&mut self, dict: &Dict, files: &Dict) -> Result<(), Limit> {
        let mut names: Vec<String> = Vec::new();
        for key in [&b"UF"[..], b"F", b"DOS", b"Unix", b"Mac"] {
            if let Value::Text(raw) = self.store.get(dict, key) {
                for name in text_string::spellings(raw) {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
        }
        let store = self.store;
        for (_, file) in &files.0 {
            let Value::Ref(number) = file else { continue };
            for place in store.versions(*number) {
                self.file_at(place, names.clone())?;
            }
        }
        Ok(())
    }

    fn file_at(&mut self, place: usize, names: Vec<String>) -> Result<(), Limit> {
        let stream = self.store.objects.get(place).is_some_and(super::store::Object::is_stream);
        if !stream || !self.handed.insert(place) {
            return Ok(());
        }
        let name = names.first().map_or("without a name", String::as_str).to_owned();
        self.active(ActiveKind::EmbeddedFile, &name);
        self.budget.charge_entity()?;
        let decoded = self.decode(place)?;
        let claimed_size = decoded.bytes.len() as u64;
        let (content, missing) = (decoded.bytes.into(), decoded.missing);
        (self.out)(Piece::Embedded(Member { names, claimed_size, content, missing }));
        Ok(())
    }

    /// Hands over a picture. Tells whether it did.
    fn picture(&mut self, place: usize, dict: &Dict) -> Result<bool, Limit> {
        let side = |key| self.store.get(dict, key).integer().unwrap_or(0);
        let (width, height) = (side(b"Width"), side(b"Height"));
        if width < MIN_PIXELS || height < MIN_PIXELS || self.store.locked {
            return Ok(false);
        }
        let filters = self.store.filters(dict);
        let coded =
            filters.last().and_then(|(name, parameters)| Some((Coded::of(name)?, parameters)));
        let plain = match coded {
            Some(_) => None,
            None => Plain::read(self, dict, width, height).filter(Plain::is_small),
        };
        // Squeezed too much it is one colour nearly everywhere, and shows nothing.
        let stored = self.store.objects.get(place).map_or(0, super::store::Object::stored) as u64;
        let plain = plain.filter(|plain| {
            let size = plain.row().and_then(|row| row.checked_mul(usize::try_from(height).ok()?));
            size.is_some_and(|size| self.budget.check_ratio(stored, size as u64).is_ok())
        });
        if coded.is_none() && plain.is_none() || !self.handed.insert(place) {
            return Ok(false);
        }
        let decoded = self.decode(place)?;
        let sides = (u32::try_from(width), u32::try_from(height));
        let content = match (plain, coded) {
            (Some(plain), _) => {
                let Some(png) = plain.png(&decoded.bytes) else { return Ok(false) };
                self.budget.charge_bytes(png.len() as u64)?;
                png
            }
            (_, Some((Coded::Fax, parameters))) if let (Ok(width), Ok(height)) = sides => {
                self.budget.charge_bytes(decoded.bytes.len() as u64)?;
                fax::tiff(&decoded.bytes, parameters, (width, height))
            }
            (_, Some((Coded::Jbig2, parameters))) => {
                let shared = match parameters.get(b"JBIG2Globals") {
                    Some(Value::Ref(number)) => self.store.place(*number),
                    _ => None,
                };
                let shared = shared.map(|place| self.decode(place)).transpose()?;
                let shared = shared.map(|decoded| decoded.bytes).unwrap_or_default();
                let size = shared.len().saturating_add(decoded.bytes.len());
                self.budget.charge_bytes(size as u64)?;
                fax::jbig2(&shared, &decoded.bytes)
            }
            _ => decoded.bytes,
        };
        self.budget.charge_entity()?;
        (self.out)(Piece::Embedded(Member {
            names: Vec::new(),
            claimed_size: content.len() as u64,
            content: content.into(),
            missing: decoded.missing,
        }));
        Ok(true)
    }
}

/// Pictures that are handed over as they are stored.
#[derive(Debug, Clone, Copy)]
enum Coded {
    Jpeg,
    Fax,
    Jbig2,
}

impl Coded {
    /// By the name of a filter.
    fn of(filter: &[u8]) -> Option<Self> {
        match filter {
            b"DCTDecode" | b"DCT" | b"JPXDecode" => Some(Self::Jpeg),
            b"CCITTFaxDecode" | b"CCF" => Some(Self::Fax),
            b"JBIG2Decode" => Some(Self::Jbig2),
            _ => None,
        }
    }
}

/// The layout of uncompressed samples.
struct Plain {
    width: u32,
    height: u32,
    bits: u8,
    /// PNG's colour type: 0 grey, 2 RGB, 3 palette.
    colors: u8,
    palette: Vec<u8>,
    inverted: bool,
}

impl Plain {
    fn read(reader: &Reader<'_, '_>, dict: &Dict, width: i64, height: i64) -> Option<Self> {
        let store = reader.store;
        let mask = store.get(dict, b"ImageMask") == &Value::Bool(true);
        let bits = if mask { 1 } else { store.get(dict, b"BitsPerComponent").integer()? };
        let bits = u8::try_from(bits).ok().filter(|bits| [1, 2, 4, 8].contains(bits))?;
        let space = store.get(dict, b"ColorSpace");
        let (mut colors, mut palette) = (0, Vec::new());
        match space {
            Value::Name(name) => match &**name {
                b"DeviceGray" | b"CalGray" | b"G" => {}
                b"DeviceRGB" | b"CalRGB" | b"RGB" if bits == 8 => colors = 2,
                _ => return None,
            },
            Value::Array(items) => match items.first().and_then(Value::name)? {
                b"CalGray" => {}
                b"CalRGB" if bits == 8 => colors = 2,
                b"ICCBased" => {
                    let profile = store.resolve(items.get(1)?).dict()?;
                    colors = match store.get(profile, b"N").integer()? {
                        1 => 0,
                        3 if bits == 8 => 2,
                        _ => return None,
                    };
                }
                b"Indexed" | b"I" => {
                    let Value::Text(table) = store.resolve(items.get(3)?) else { return None };
                    let rgb = !table.is_empty() && table.len().is_multiple_of(3);
                    let small = table.len() <= 768 && store.resolve(items.get(1)?).name().is_some();
                    (colors, palette) = (3, table.to_vec());
                    if !rgb || !small {
                        return None;
                    }
                }
                _ => return None,
            },
            Value::Null if mask => {}
            _ => return None,
        }
        let decode = store.get(dict, b"Decode").array().and_then(<[Value]>::first);
        let inverted = decode.and_then(Value::integer) == Some(1);
        let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        Some(Self { width, height, bits, colors, palette, inverted })
    }

    /// Whether it has no more pixels, or else no more octets, than are handed over.
    fn is_small(&self) -> bool {
        let pixels = i64::from(self.width).saturating_mul(self.height.into());
        let row = self.row().and_then(|row| i64::try_from(row).ok()).unwrap_or(i64::MAX);
        pixels <= MAX_SAMPLES || row.saturating_mul(self.height.into()) <= MAX_SAMPLES
    }

    /// Octets of one row.
    fn row(&self) -> Option<usize> {
        let channels = if self.colors == 2 { 3 } else { 1 };
        let samples = usize::try_from(self.width).ok()?.checked_mul(channels)?;
        Some(samples.checked_mul(usize::from(self.bits))?.div_ceil(8))
    }

    /// The samples as a PNG file (ISO 15948), which is not compressed.
    fn png(&self, samples: &[u8]) -> Option<Vec<u8>> {
        let row = self.row()?;
        let height = usize::try_from(self.height).ok()?;
        if row.checked_mul(height)? > samples.len() {
            return None;
        }
        let mut lines = Vec::with_capacity(samples.len().saturating_add(height));
        for line in samples.chunks(row).take(height) {
            lines.push(0);
            let flip = if self.inverted { 0xff } else { 0 };
            lines.extend(line.iter().map(|octet| octet ^ flip));
        }
        let mut header = Vec::with_capacity(13);
        header.extend_from_slice(&self.width.to_be_bytes());
        header.extend_from_slice(&self.height.to_be_bytes());
        header.extend_from_slice(&[self.bits, self.colors, 0, 0, 0]);
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, &lines).ok()?;
        let packed = packed.finish().ok()?;
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        chunk(&mut png, *b"IHDR", &header);
        if !self.palette.is_empty() {
            chunk(&mut png, *b"PLTE", &self.palette);
        }
        chunk(&mut png, *b"IDAT", &packed);
        chunk(&mut png, *b"IEND", &[]);
        Some(png)
    }
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    png.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    let mut sum = flate2::Crc::new();
    sum.update(&kind);
    sum.update(data);
    png.extend_from_slice(&kind);
    png.extend_from_slice(data);
    png.extend_from_slice(&sum.sum().to_be_bytes());
}
