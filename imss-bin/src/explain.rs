//! `imss explain`: a queue ID → its verdict record.
//!
//! The ID holds the day, the day names the file, and each line of the file begins with its ID.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;

use imss_core::envelope::Envelope;
use imss_core::finding::Findings;
use imss_core::ids::QueueId;
use imss_policy::{Decisions, explain};
use imss_relay::record::EntityRecord;
use imss_scan::{EngineRun, OutcomeWord};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::Explain;
use crate::mistakes::Failure;
use crate::node::{Node, time};
use crate::queue::print_json;
use crate::table::printable;

/// A message may be finished, and recorded, on the day after it began.
const DAYS: [u64; 2] = [0, 1];
const DAY_MILLIS: u64 = 86_400_000;

/// Prints the record of one message.
///
/// # Errors
///
/// There is no record, or it cannot be read.
pub fn explain(arguments: &Explain) -> Result<ExitCode, Failure> {
    let node = Node::new(&arguments.one.node)?;
    let (id, folder) = (arguments.one.id, node.config.log_dir());
    let record = find(&folder, id)
        .map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))?
        .ok_or_else(|| Failure::failed(format!("{} holds no record of {id}", folder.display())))?;
    if arguments.one.json {
        print_json(&record)?;
    } else {
        print!("{}", text(id, record)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// The parts of a record that are told to people.
#[derive(Deserialize)]
struct Record {
    envelope: Envelope,
    findings: Findings,
    decisions: Decisions,
    #[serde(default)]
    entities: Vec<EntityRecord>,
    #[serde(default)]
    engines: Vec<EngineRun>,
}

fn text(id: QueueId, record: Value) -> Result<String, Failure> {
    let Ok(told) = Record::deserialize(&record) else {
        // Written by another version: whole is better than nothing.
        let text = serde_json::to_string_pretty(&record);
        return text.map(|text| text + "\n").map_err(|error| Failure::failed(error.to_string()));
    };
    let head = format!("{id}, received {}\n", time(id.unix_millis()));
    let why = explain::text(&told.decisions, &told.envelope, &told.findings);
    Ok(head + &why + &places(&told) + &engines(&told))
}

/// Where the entities are that findings and gaps name by number, one line each.
fn places(told: &Record) -> String {
    let is_named = |entity: &&EntityRecord| {
        told.findings.found.iter().any(|finding| finding.entity == entity.id)
            || told.findings.gaps.iter().any(|gap| gap.entity == entity.id)
    };
    let line = |entity: &EntityRecord| {
        let EntityRecord { id, path, detected, size, .. } = entity;
        format!("entity {id}: {} ({detected}, {size} octets)\n", printable(path.clone()))
    };
    told.entities.iter().filter(is_named).map(line).collect()
}

/// Which engine in which version said what, one line each.
fn engines(told: &Record) -> String {
    let line = |run: &EngineRun| {
        let said = match run.outcome {
            OutcomeWord::Clean => "clean",
            OutcomeWord::Found => "found",
            OutcomeWord::Unknown => "unknown",
        };
        format!("engine {} ({}): {said}\n", run.name, printable(run.version.clone()))
    };
    told.engines.iter().map(line).collect()
}

/// The last record of `id` in `folder`.
fn find(folder: &Path, id: QueueId) -> io::Result<Option<Value>> {
    let start = format!("{{\"id\":\"{id}\"");
    let mut found = None;
    for days in DAYS {
        let millis = id.unix_millis().saturating_add(days.saturating_mul(DAY_MILLIS));
        let Some(file) = open(folder, millis)? else { continue };
        let mut reader = BufReader::with_capacity(256 << 10, file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            if line.starts_with(start.as_bytes()) {
                found = serde_json::from_slice(&line).ok().or(found);
            }
            line.clear();
        }
    }
    Ok(found)
}

fn open(folder: &Path, unix_millis: u64) -> io::Result<Option<File>> {
    let time = i64::try_from(unix_millis).ok().and_then(|m| Timestamp::from_millisecond(m).ok());
    let Some(time) = time else { return Ok(None) };
    let day = time.to_zoned(TimeZone::UTC).date();
    match File::open(folder.join(format!("records-{day}.jsonl"))) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_of_a_message_is_found() {
        let folder = tempfile::tempdir().unwrap();
        // One millisecond before midnight of 2026-11-22, UTC.
        let id = QueueId::new(1_795_391_999_999, 1, 1);
        let other = QueueId::new(1_795_391_999_999, 1, 2);
        assert_eq!(find(folder.path(), id).unwrap(), None);
        let line = |id: QueueId, n: u8| format!("{{\"id\":\"{id}\",\"n\":{n}}}\n");
        let first = line(other, 1) + &line(id, 2) + "{\"id\":\"torn";
        std::fs::write(folder.path().join("records-2026-11-22.jsonl"), first).unwrap();
        assert_eq!(find(folder.path(), id).unwrap().unwrap()["n"], 2);
        std::fs::write(folder.path().join("records-2026-11-23.jsonl"), line(id, 3)).unwrap();
        assert_eq!(find(folder.path(), id).unwrap().unwrap()["n"], 3);
        assert_eq!(find(folder.path(), other).unwrap().unwrap()["n"], 1);
    }
}
