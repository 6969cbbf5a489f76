//! XCLIENT and XFORWARD: a client that may say so speaks for another.
//!
//! XCLIENT makes the session one of the other client, from the greeting on. XFORWARD changes only
//! what the next message's envelope says of its client, and nobody's rights.

use imss_core::envelope::Client;

use super::super::reply::{self, Reply};
use super::super::xclient::{Attributes, Kind, XCLIENT_OFFER, XFORWARD_OFFER};
use super::check::Pending;
use super::{Event, Session};

impl Session {
    /// The session's client is at another address than the connection: the PROXY protocol said so.
    pub fn speaks_for(&mut self, client: Client) {
        // Whoever is behind the connection has no rights of whom it goes through.
        self.peer = client.ip;
        self.is_trusted = self.settings.relaying.trusts(client.ip);
        self.client = client;
    }

    /// The lines of the reply to EHLO.
    pub(super) fn other_offers(&self) -> String {
        let mut lines = String::new();
        for (kind, offer) in [(Kind::Client, XCLIENT_OFFER), (Kind::Forward, XFORWARD_OFFER)] {
            if self.may_speak_for_others(kind) {
                lines.push('\n');
                lines.push_str(offer);
            }
        }
        lines
    }

    /// XCLIENT and XFORWARD.
    pub(super) fn other(&mut self, kind: Kind, arguments: &str) -> Event<'static> {
        if !self.may_speak_for_others(kind) {
            return self.reject(&reply::no_others());
        }
        if self.transaction.is_some() || self.transfer.is_some() {
            return self.reject(&reply::nested_mail());
        }
        let Some(attributes) = Attributes::parse(kind, arguments) else {
            return self.reject(&reply::bad_attributes());
        };
        match kind {
            Kind::Client => self.become_other(attributes),
            Kind::Forward => self.forward(attributes),
        }
    }

    fn may_speak_for_others(&self, kind: Kind) -> bool {
        let networks = match kind {
            Kind::Client => &self.settings.xclient_from,
            Kind::Forward => &self.settings.xforward_from,
        };
        networks.iter().any(|network| network.contains(&self.peer))
    }

    fn become_other(&mut self, attributes: Attributes) -> Event<'static> {
        // What is not said stays as it is; what is unavailable is unknown.
        if let Some(Some(ip)) = attributes.address {
            self.client.ip = ip;
            self.client.name = None;
        }
        if let Some(name) = attributes.name {
            self.client.name = name;
        }
        if let Some(login) = attributes.login {
            self.client.login = login;
        }
        let is_known = self.client.login.is_some();
        self.is_trusted = is_known || self.settings.relaying.trusts(self.client.ip);
        self.greeting = None;
        self.forwarded = None;
        self.client.helo = attributes.helo.flatten().unwrap_or_default();
        self.ask(Pending::Connect)
    }

    /// Who hands over the message that is complete now.
    pub(super) fn author(&mut self) -> Client {
        let is_ours = match &self.forwarded {
            Some(client) => client.login.is_some() || self.settings.relaying.trusts(client.ip),
            None => self.is_trusted,
        };
        let client = self.forwarded.take().unwrap_or_else(|| self.client.clone());
        Client { is_ours, ..client }
    }

    fn forward(&mut self, attributes: Attributes) -> Event<'static> {
        let mut client = self.forwarded.take().unwrap_or_else(|| self.client.clone());
        if let Some(address) = attributes.address {
            client.ip = address.unwrap_or(self.client.ip);
            client.name = None;
            client.tls = None;
            client.login = None;
        }
        if let Some(name) = attributes.name {
            client.name = name;
        }
        if let Some(helo) = attributes.helo {
            client.helo = helo.unwrap_or_default();
        }
        self.forwarded = Some(client);
        self.idle(&Reply::new(250, (2, 0, 0), "Ok"))
    }
}
