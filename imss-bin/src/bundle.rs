//! `imss bundle`: keys and signed bundles, for those who make signature sets.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use imss_relay::signatures::bundle::{self, File, Kind, MANIFEST, Manifest, SIGNATURE};
use imss_relay::signatures::{SigningKey, Version};

use crate::cli;
use crate::mistakes::Failure;

/// Does what the arguments say.
///
/// # Errors
///
/// Why it could not be done.
pub fn bundle(command: &cli::Bundle) -> Result<ExitCode, Failure> {
    match command {
        cli::Bundle::Keygen { file } => keygen(file)?,
        cli::Bundle::Sign { folder, key, name, version } => sign(folder, key, name, version)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn keygen(path: &Path) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
    let key = SigningKey::generate().map_err(|error| failed(&error))?;
    let (text, public) =
        key.to_text().and_then(|text| Ok((text, key.public()?))).map_err(|error| failed(&error))?;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{text}").and_then(|()| file.sync_all()))
        .map_err(|error| failed(&error))?;
    anstream::println!("{public}");
    Ok(())
}

fn sign(folder: &Path, key: &Path, name: &str, version: &Version) -> Result<(), Failure> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| Failure::failed(format!("{path}: {error}"))
    };
    let text = fs::read_to_string(key).map_err(at(key))?;
    let signer = SigningKey::parse(&text)
        .map_err(|error| Failure::failed(format!("{}: {error}", key.display())))?;
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(kind) = Kind::of_name(&file) else { continue };
        let octets = fs::read(&path).map_err(at(&path))?;
        let (bytes, sha256) = (octets.len() as u64, bundle::digest(&octets));
        files.push(File { name: file, kind, bytes, sha256 });
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    let count = files.len();
    let manifest = Manifest { name: name.to_owned(), version: version.clone(), files };
    let octets =
        serde_json::to_vec_pretty(&manifest).map_err(|error| Failure::failed(error.to_string()))?;
    let signature = signer.sign(&octets);
    // What nodes would refuse is refused here.
    let public = signer.public().map_err(|error| Failure::failed(error.to_string()))?;
    bundle::manifest(&octets, signature.as_bytes(), &[public])
        .map_err(|error| Failure::usage(error.to_string()))?;
    for (file, octets) in [(MANIFEST, octets), (SIGNATURE, signature.into_bytes())] {
        let path = folder.join(file);
        fs::write(&path, octets).map_err(at(&path))?;
    }
    anstream::println!("{name} {version}: {count} files signed");
    Ok(())
}
