//! AUTH inside a session (RFC 4954): when it is allowed, the lines of an exchange, and its end.
//!
//! In: the command, then lines of base64. Out: challenges, and [`Event::Login`] once the client has
//! said who it is; the driver brings the answer to [`Session::logged_in`].

use std::borrow::Cow;

use base64_simd::STANDARD;
use imss_core::envelope::ReversePath;

use super::super::auth::exchange::{Claim, Context, Exchange, Turn};
use super::super::auth::{LoginAnswer, Mechanism};
use super::super::reply::{self, Reply};
use super::{Event, Hello, Phase, Session};

/// AUTH under way.
#[derive(Debug)]
pub(super) enum Login {
    /// The client owes a response.
    Exchange(Exchange),
    /// We owe an answer.
    Claim(Claim),
}

impl Session {
    /// What [`Event::Login`] asks: whether this is true. `None` if nothing waits.
    #[must_use]
    pub fn claim(&self) -> Option<&Claim> {
        match self.login.as_deref()? {
            Login::Claim(claim) => Some(claim),
            Login::Exchange(_) => None,
        }
    }

    /// Failures to log in so far.
    #[must_use]
    pub fn login_failures(&self) -> u32 {
        self.counts.login_failures
    }

    /// Goes on after [`Event::Login`]. What nobody could find out is no failure of the client's
    /// (RFC 4954 §6: 454), and no guess that was refused.
    pub fn logged_in(&mut self, answer: LoginAnswer) {
        if self.phase != Phase::Login {
            return;
        }
        self.login = None;
        self.phase = Phase::Command;
        match answer {
            LoginAnswer::Right(login) => {
                self.client.login = Some(login);
                self.is_trusted = true;
                self.accept(&reply::logged_in());
            }
            LoginAnswer::Wrong => self.login_failed(),
            LoginAnswer::Unknown => {
                self.reject(&reply::login_unavailable());
            }
        }
    }

    /// Takes what channel binding binds to: the exporter of the TLS connection (RFC 9266).
    pub fn bind_channel(&mut self, exporter: [u8; 32]) {
        self.exporter = Some(exporter);
    }

    /// Whether AUTH is offered now.
    pub(super) fn offers_login(&self) -> bool {
        let rules = &self.settings.auth;
        let is_safe = self.client.tls.is_some() || rules.in_clear;
        rules.users.is_some() && is_safe && self.client.login.is_none()
    }

    /// The line of the reply to EHLO.
    pub(super) fn mechanisms(&self) -> String {
        if !self.offers_login() {
            return String::new();
        }
        let names = self.usable().map(Mechanism::as_str).collect::<Vec<_>>();
        if names.is_empty() { String::new() } else { format!("\nAUTH {}", names.join(" ")) }
    }

    /// AUTH.
    pub(super) fn auth(&mut self, name: &str, initial: Option<&str>) -> Event<'static> {
        if let Some(refusal) = self.auth_is_unwelcome() {
            return self.reject(&refusal);
        }
        let mechanism = Mechanism::of_name(name);
        let Some(mechanism) = mechanism.filter(|one| self.usable().any(|other| other == *one))
        else {
            return self.reject(&reply::no_mechanism());
        };
        let initial = match initial {
            None => None,
            // An initial response that is empty (RFC 4954 §4).
            Some("=") => Some(Vec::new()),
            Some(text) => match STANDARD.decode_to_vec(text) {
                Ok(octets) => Some(octets),
                Err(_) => return self.reject(&reply::bad_response()),
            },
        };
        let Some(nonce) = (self.settings.auth.nonce)() else {
            return self.reject(&reply::login_unavailable());
        };
        let exchange = Exchange::new(mechanism, nonce, &self.settings.hostname);
        self.turn(exchange, |exchange, context| exchange.begin(initial.as_deref(), context))
    }

    /// A line of an exchange, without its line end.
    pub(super) fn respond(&mut self, line: &[u8]) -> Event<'static> {
        self.phase = Phase::Command;
        let Some(Login::Exchange(exchange)) = self.login.take().map(|login| *login) else {
            return self.reject(&reply::bad_response());
        };
        if line == b"*" {
            return self.reject(&reply::login_cancelled());
        }
        match STANDARD.decode_to_vec(line) {
            Ok(octets) => {
                self.turn(exchange, |exchange, context| exchange.respond(&octets, context))
            }
            Err(_) => self.reject(&reply::bad_response()),
        }
    }

    /// Drops an exchange whose line is too long.
    pub(super) fn drop_login(&mut self) {
        self.login = None;
    }

    /// `parameters` of `MAIL FROM` without `AUTH=` (RFC 4954 §5), which we take where AUTH is known
    /// and believe from nobody. `None`: it is not well-formed.
    pub(super) fn without_auth<'a>(&self, parameters: &'a str) -> Option<Cow<'a, str>> {
        let is_auth =
            |word: &&str| word.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("AUTH="));
        let mut words = parameters.split_ascii_whitespace();
        if self.settings.auth.users.is_none() || !words.any(|word| is_auth(&word)) {
            return Some(Cow::Borrowed(parameters));
        }
        let (auth, others): (Vec<_>, Vec<_>) =
            parameters.split_ascii_whitespace().partition(is_auth);
        let is_fine = |word: &&str| {
            let value = word.get(5..).unwrap_or_default();
            !value.is_empty() && value.len() <= 500 && value.bytes().all(|b| b.is_ascii_graphic())
        };
        (auth.len() == 1 && auth.iter().all(is_fine)).then(|| Cow::Owned(others.join(" ")))
    }

    /// Whether the client may use this reverse-path.
    pub(super) fn may_send_as(&self, reverse_path: &ReversePath) -> bool {
        let rules = &self.settings.auth;
        match (&rules.users, &self.client.login) {
            (Some(users), Some(login)) if rules.own_senders => {
                users.may_send_as(login, reverse_path)
            }
            _ => true,
        }
    }

    fn auth_is_unwelcome(&self) -> Option<Reply> {
        let rules = &self.settings.auth;
        if rules.users.is_none() {
            return Some(reply::no_auth());
        }
        match self.greeting {
            None | Some(Hello::Helo) => return Some(reply::hello_first()),
            Some(Hello::Ehlo) => {}
        }
        if self.client.login.is_some() {
            return Some(reply::logged_in_already());
        }
        if self.transaction.is_some() {
            return Some(reply::nested_mail());
        }
        (self.client.tls.is_none() && !rules.in_clear).then(reply::login_needs_tls)
    }

    /// The mechanisms that work on this connection.
    fn usable(&self) -> impl Iterator<Item = Mechanism> {
        let has_channel = self.exporter.is_some();
        let mechanisms = self.settings.auth.mechanisms.iter().copied();
        mechanisms.filter(move |one| has_channel || *one != Mechanism::ScramSha256Plus)
    }

    fn turn(
        &mut self,
        mut exchange: Exchange,
        step: impl FnOnce(&mut Exchange, &Context<'_>) -> Turn,
    ) -> Event<'static> {
        let Some(users) = &self.settings.auth.users else { return self.reject(&reply::no_auth()) };
        let context = Context {
            users,
            hostname: &self.settings.hostname,
            exporter: self.exporter.as_ref().map(<[u8; 32]>::as_slice),
            offers_plus: self.usable().any(|one| one == Mechanism::ScramSha256Plus),
        };
        match step(&mut exchange, &context) {
            Turn::Challenge(challenge) => {
                let line = format!("334 {}\r\n", STANDARD.encode_to_string(challenge));
                self.output.extend_from_slice(line.as_bytes());
                self.login = Some(Box::new(Login::Exchange(exchange)));
                self.phase = Phase::Auth;
                Event::Continue
            }
            Turn::Claim(claim) => {
                self.login = Some(Box::new(Login::Claim(claim)));
                self.phase = Phase::Login;
                Event::Login
            }
            Turn::Malformed => self.reject(&reply::bad_response()),
        }
    }

    fn login_failed(&mut self) {
        self.counts.login_failures = self.counts.login_failures.saturating_add(1);
        self.reject(&reply::login_failed());
        if self.counts.login_failures >= self.settings.auth.failures && self.phase != Phase::Closed
        {
            self.close_with(&reply::too_many_logins());
        }
    }
}
