//! Who is asked for names: the servers of the settings, or those of the system.
//!
//! In: `[dns]`. Out: resolvers, one that believes and one that validates (RFC 4035 §5). Without a server
//! to ask, or with a file that holds no keys, the node does not start.

use std::sync::Arc;

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::{ResolverBuilder, TokioResolver};

use crate::config::Config;
use crate::node::StartError;

/// A resolver as the settings say.
pub(crate) fn resolver(config: &Config) -> Result<TokioResolver, StartError> {
    Ok(resolver_builder(config)?.build()?)
}

fn resolver_builder(config: &Config) -> Result<ResolverBuilder<TokioRuntimeProvider>, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if config.dns.servers.is_empty() {
        TokioResolver::builder(provider)?
    } else {
        let servers = config.dns.servers.iter().map(|server| {
            let mut named = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut named.connections {
                connection.port = server.port();
            }
            named
        });
        let names = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(names, provider)
    };
    builder.options_mut().timeout = config.dns.timeout;
    Ok(builder)
}

/// A resolver that validates what it is told (RFC 4035 §5).
pub(crate) fn validating_resolver(config: &Config) -> Result<TokioResolver, StartError> {
    let mut builder = resolver_builder(config)?;
    builder.options_mut().validate = true;
    builder.options_mut().edns0 = true;
    if let Some(path) = &config.dns.trust_anchor {
        let anchors = TrustAnchors::from_file(path).map_err(|error| StartError::TrustAnchor {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        builder = builder.with_trust_anchor(Arc::new(anchors));
    }
    Ok(builder.build()?)
}
