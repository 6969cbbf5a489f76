//! The commands as people and scripts meet them: exit codes, standard output, standard error.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

mod check;
mod jail;
mod memory;
mod node;
mod scan;
mod update;
mod yara;

/// `imss` with these arguments, in `folder`: its exit code, standard output, standard error.
fn imss(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("imss")
        .expect("the program is built")
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// The EICAR test file, which is turned round in this source so that it is not one itself.
fn eicar() -> String {
    r"*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\4[PA@%P!O5X".chars().rev().collect()
}

/// One JSON value per line.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    fs::write(folder.join(name), content).expect("a scratch folder");
}
