//! The policy's file and the lists it names → [`Policy`].

use std::path::Path;

use imss_policy::source::Origin;
use imss_policy::{Mistakes, Policy};

use super::unreadable;

/// Reads the policy at `path`, or gives the built-in one if there is none. Lists it names are
/// looked for beside it.
///
/// # Errors
///
/// Every mistake in it, or that it cannot be read.
pub fn load_policy(path: Option<&Path>) -> Result<Policy, Mistakes> {
    let Some(path) = path else { return Ok(Policy::builtin()) };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&name, &error))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let load = |list: &str| {
        std::fs::read_to_string(folder.join(list)).map_err(|error| format!("{list}: {error}"))
    };
    Policy::parse(&text, &Origin { name: &name, load: &load })
}
