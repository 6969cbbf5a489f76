//! `imss user`: who may log in by AUTH.
//!
//! Works on the node's file of users, and has the running gateway read it again. Passwords come
//! from the terminal, which does not show them, or from standard input; never from the arguments,
//! which every user of the machine can see.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;

use imss_relay::control::client::{CallError, call};
use imss_relay::control::{Answer, Request};
use imss_relay::inbound::auth::Password;
use imss_relay::inbound::auth::users::{User, UserFiles, UsersError};
use imss_relay::inbound::auth::verifier::{CryptoError, Verifier};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::cli;
use crate::mistakes::Failure;
use crate::node::{Node, with_source};
use crate::table::table;

/// Octets of a password.
const MAX_PASSWORD_BYTES: u64 = 1_024;

/// Does what the arguments say.
///
/// # Errors
///
/// Nothing was changed, and why.
pub fn user(command: &cli::User) -> Result<ExitCode, Failure> {
    match command {
        cli::User::Add(add) => {
            let node = Node::new(&add.node)?;
            change(&node, |files, users| {
                if position(users, &add.name).is_some() {
                    return Err(Failure::failed(format!(
                        "{} is there already; `imss user passwd` changes the password",
                        add.name
                    )));
                }
                let password = read_password(add.password_stdin)?;
                let (name, senders) = (add.name.clone(), add.sender.clone());
                let mut user = User {
                    name,
                    verifier: Verifier::new(&password).map_err(failed)?,
                    cram_md5: None,
                    senders,
                };
                seal(&mut user, files, &password, add.cram_md5)?;
                users.push(user);
                Ok("added")
            })?;
        }
        cli::User::Passwd(passwd) => {
            let node = Node::new(&passwd.node)?;
            change(&node, |files, users| {
                let Some(user) = find(users, &passwd.name) else {
                    return Err(not_there(&passwd.name));
                };
                let password = read_password(passwd.password_stdin)?;
                user.verifier = Verifier::new(&password).map_err(failed)?;
                let with_md5 = passwd.cram_md5 || user.cram_md5.is_some();
                seal(user, files, &password, with_md5)?;
                Ok("changed")
            })?;
        }
        cli::User::Delete { name, node } => {
            change(&Node::new(node)?, |_, users| match position(users, name) {
                Some(place) => {
                    users.remove(place);
                    Ok("deleted")
                }
                None => Err(not_there(name)),
            })?;
        }
        cli::User::List(arguments) => list(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(arguments: &cli::List) -> Result<(), Failure> {
    let node = Node::new(&arguments.node)?;
    let users = node.config.users.read().map_err(|error| failed_users(&error))?;
    let has_md5 = |user: &User| if user.cram_md5.is_some() { "yes" } else { "no" };
    if arguments.json {
        let all: Vec<_> = users
            .iter()
            .map(|user| {
                serde_json::json!({
                    "name": user.name,
                    "cram_md5": user.cram_md5.is_some(),
                    "senders": user.senders,
                })
            })
            .collect();
        let text =
            serde_json::to_string(&all).map_err(|error| Failure::failed(error.to_string()))?;
        anstream::println!("{text}");
        return Ok(());
    }
    let row = |user: &User| [user.name.clone(), has_md5(user).to_owned(), user.senders.join(" ")];
    let rows = users.iter().map(row).collect();
    anstream::println!("{}", table(["User", "CRAM-MD5", "May also send as"], rows));
    Ok(())
}

/// Changes the file, then has the gateway read it.
fn change(
    node: &Node,
    edit: impl FnOnce(&UserFiles, &mut Vec<User>) -> Result<&'static str, Failure>,
) -> Result<(), Failure> {
    let files = &node.config.users;
    let mut users = files.read().map_err(|error| failed_users(&error))?;
    let done = edit(files, &mut users)?;
    files.write(&users).map_err(|error| failed_users(&error))?;
    let when = match call(&node.config.control_socket(), &Request::Reload) {
        Ok(Answer::Refused(reason)) => {
            return Err(Failure::failed(format!(
                "{done}, but the gateway did not reload: {reason}"
            )));
        }
        Ok(_) => "in use now",
        Err(CallError::NotRunning) => "no gateway is running",
        Err(error) => return Err(Failure::failed(with_source(&error))),
    };
    anstream::println!("{done}; {when}");
    Ok(())
}

fn seal(
    user: &mut User,
    files: &UserFiles,
    password: &Password,
    is_wanted: bool,
) -> Result<(), Failure> {
    if is_wanted {
        let key = files.key().map_err(|error| failed_users(&error))?;
        user.cram_md5 = Some(key.seal(&user.name, password).map_err(failed)?);
    }
    Ok(())
}

fn position(users: &[User], name: &str) -> Option<usize> {
    users.iter().position(|user| user.name.to_lowercase() == name.to_lowercase())
}

fn find<'a>(users: &'a mut [User], name: &str) -> Option<&'a mut User> {
    let place = position(users, name)?;
    users.get_mut(place)
}

/// A password from standard input, or twice from the terminal without showing it.
fn read_password(from_stdin: bool) -> Result<Password, Failure> {
    let failed = |error: io::Error| Failure::failed(format!("the password: {error}"));
    let text = if from_stdin {
        first_line().map_err(failed)?
    } else if io::stdin().is_terminal() {
        let first = prompt("Password: ").map_err(failed)?;
        if prompt("Again: ").map_err(failed)? != first {
            return Err(Failure::failed("the passwords differ"));
        }
        first
    } else {
        return Err(Failure::usage("no terminal to ask for a password; use --password-stdin"));
    };
    let password = Password::new(&text);
    if password.is_empty() {
        return Err(Failure::failed("an empty password"));
    }
    Ok(password)
}

fn first_line() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().lock().take(MAX_PASSWORD_BYTES).read_line(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn prompt(question: &str) -> io::Result<String> {
    let mut terminal = io::stderr();
    terminal.write_all(question.as_bytes())?;
    terminal.flush()?;
    let before = tcgetattr(io::stdin())?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
    let line = first_line();
    tcsetattr(io::stdin(), OptionalActions::Now, &before)?;
    terminal.write_all(b"\n")?;
    line
}

fn not_there(name: &str) -> Failure {
    Failure::failed(format!("no user {name}; `imss user list` shows all"))
}

fn failed(error: CryptoError) -> Failure {
    Failure::failed(error.to_string())
}

fn failed_users(error: &UsersError) -> Failure {
    Failure::failed(error.to_string())
}
