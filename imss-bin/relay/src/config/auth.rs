//! `[auth]`: who may log in, and how.

use std::path::Path;
use std::time::Duration;

use super::lower::{path, set, small, time};
use super::reader::{Table, Value, Wrong};
use crate::inbound::auth::users::UserFiles;
use crate::inbound::auth::{AuthRules, Mechanism};

/// Reads the table. Out: where users and key lie.
pub(super) fn auth(
    table: &Table<'_, '_>,
    rules: &mut AuthRules,
    (folder, data_dir): (&Path, &Path),
) -> UserFiles {
    let users = table.read("users", |value| path(value, folder));
    let key = table.read("key", |value| path(value, folder));
    let mechanisms = table.list("mechanisms", |value| {
        Mechanism::of_name(value.text()?).ok_or_else(|| {
            let names = Mechanism::ALL.map(Mechanism::as_str).join(", ");
            Wrong::new("not a mechanism", format!("known ones are {names}"))
        })
    });
    set(&mut rules.mechanisms, mechanisms);
    set(&mut rules.in_clear, table.read("in-clear", Value::flag));
    set(&mut rules.own_senders, table.read("own-senders", Value::flag));
    set(&mut rules.is_traced, table.read("trace-login", Value::flag));
    set(&mut rules.failures, table.read("failures", |value| small(value, 1..=1_000)));
    let longest = Duration::from_secs(30);
    set(&mut rules.delay, table.read("failure-delay", |v| time(v, Duration::ZERO, longest)));
    UserFiles {
        users: users.unwrap_or_else(|| data_dir.join("users")),
        key: key.unwrap_or_else(|| data_dir.join("users.key")),
    }
}
