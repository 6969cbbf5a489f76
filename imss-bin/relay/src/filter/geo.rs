//! Country and autonomous system of an address, from MaxMind-format files.
//!
//! In: an address. Out: what the files know. A damaged entry is no entry; a damaged file is refused
//! when it is read.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use imss_scan::reputation::lists::Place;
use maxminddb::{PathElement, Reader};

/// The files that are loaded.
#[derive(Debug, Default)]
pub(super) struct Geo {
    country: Option<Reader<Vec<u8>>>,
    asn: Option<Reader<Vec<u8>>>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct GeoError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

impl Geo {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`GeoError`].
    pub(super) fn open(country: Option<&Path>, asn: Option<&Path>) -> Result<Self, GeoError> {
        Ok(Self { country: country.map(read).transpose()?, asn: asn.map(read).transpose()? })
    }

    /// What is known of `ip`.
    #[must_use]
    pub(super) fn place(&self, ip: IpAddr) -> Place<'static> {
        if self.country.is_none() && self.asn.is_none() {
            return Place::default();
        }
        // The reader is a parser of a foreign format: a panic on a damaged entry is no entry.
        catch_unwind(AssertUnwindSafe(|| self.look_up(ip.to_canonical()))).unwrap_or_default()
    }

    fn look_up(&self, ip: IpAddr) -> Place<'static> {
        let country = self.country.as_ref().and_then(|reader| {
            let found = reader.lookup(ip).ok()?;
            let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
            let code: &str = found.decode_path(&path).ok()??;
            <[u8; 2]>::try_from(code.to_ascii_uppercase().as_bytes()).ok()
        });
        let asn = self.asn.as_ref().and_then(|reader| {
            let found = reader.lookup(ip).ok()?;
            found.decode_path(&[PathElement::Key("autonomous_system_number")]).ok()?
        });
        Place { country, asn, name: None }
    }
}

fn read(path: &Path) -> Result<Reader<Vec<u8>>, GeoError> {
    let failed = |reason: String| GeoError { path: path.to_owned(), reason };
    let octets = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let read = catch_unwind(AssertUnwindSafe(|| Reader::from_source(octets)));
    match read {
        Ok(Ok(reader)) => Ok(reader),
        Ok(Err(error)) => Err(failed(format!("not a MaxMind-format file: {error}"))),
        Err(_) => Err(failed("not a MaxMind-format file".to_owned())),
    }
}

#[cfg(test)]
pub(super) mod tests;
