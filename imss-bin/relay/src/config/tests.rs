//! What every key means, and what every mistake says.

use std::path::Path;
use std::time::Duration;

use imss_core::envelope::{ForwardPath, Syntax};

use super::*;
use crate::outbound::NextHop;

fn read(text: &str) -> Result<Config, Mistakes> {
    parse(text, "imss.toml", Path::new("/etc/imss"))
}

#[test]
fn nothing_at_all_is_the_defaults() {
    for config in [Config::default(), read("").unwrap(), load(None).unwrap()] {
        let [listener] = config.listeners.as_slice() else { panic!("one listener") };
        assert_eq!(listener.address.to_string(), "127.0.0.1:2525");
        assert_eq!(listener.mode, Mode::Edge);
        assert_eq!(config.http.unwrap().to_string(), "127.0.0.1:8446");
        assert_eq!(config.policy, None);
        assert!(config.inbound.relaying.trusts("127.0.0.1".parse().unwrap()));
        assert!(!config.inbound.relaying.trusts("192.0.2.1".parse().unwrap()));
        assert!(config.inbound.relaying.domains.is_empty());
        let maildir = NextHop::Maildir { dir: config.data_dir.join("maildir") };
        assert_eq!(config.outbound.routing.default, maildir);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one document with every key")]
fn every_key() {
    let config = read(
        r#"
        hostname = "MX1.example.com"
        data-dir = "data"
        relay-domains = ["example.com", "*.example.com"]
        trusted-networks = ["192.0.2.0/24", "2001:db8::1"]
        next-hop = "smtp://mail.example.com,backup.example.com:2525"

        [next-hops]
        "lists.example.com" = "lmtp://127.0.0.1:24"
        "*.example.net" = "maildir"

        [[listen]]
        address = "0.0.0.0:25"
        [[listen]]
        address = "127.0.0.1:10026"
        mode = "reinject"

        [limits]
        message-size = "20 MiB"
        recipients = 100
        messages-per-connection = 50
        errors = 5
        connections = 200
        connections-per-client = 10
        command-timeout = "2 minutes"
        data-timeout = "1 minute"
        message-timeout = "10 minutes"

        [smtp]
        allow-bad-dots = true
        allow-source-routes = true
        allow-partial = true
        bare-line-ends = "refuse"
        greeting-delay = "500 ms"

        [scan]
        threads = 3
        deadline = "20 s"
        clamd = "unix:/run/clamav/clamd.ctl"
        icap = "icap://127.0.0.1:1344/avscan"

        [dns]
        servers = ["192.0.2.53", "[2001:db8::53]:5353"]
        timeout = "2 s"

        [queue]
        retry = ["1 minute", "1 hour"]
        expire = "2 days"
        delay-notice = "0 s"
        deliveries = 40
        deliveries-per-destination = 4
        stop-timeout = "5 s"

        [http]
        address = "off"
        "#,
    )
    .unwrap();
    let path = |text| ForwardPath::parse(text, Syntax::default()).unwrap();
    let hop = |text| {
        config
            .outbound
            .routing
            .next_hop(&imss_core::envelope::ReversePath::Null, &path(text))
            .to_string()
    };
    let seen = [
        ("hostname", config.inbound.hostname.clone(), "mx1.example.com"),
        ("hostname outbound", config.outbound.hostname.clone(), "mx1.example.com"),
        ("data-dir", config.data_dir.display().to_string(), "/etc/imss/data"),
        ("next-hop", hop("a@example.com"), "smtp://mail.example.com:25,backup.example.com:2525"),
        ("next-hops, exact", hop("a@lists.example.com"), "lmtp://127.0.0.1:24"),
        ("next-hops, below", hop("a@x.example.net"), "maildir:/etc/imss/data/maildir"),
        ("listen", format!("{:?}", config.listeners.last().unwrap().mode), "Reinject"),
        ("limits", format!("{:?}", config.inbound.limits.message_bytes), "20971520"),
        ("smtp", format!("{:?}", config.inbound.line_ends), "Refuse"),
        ("greeting-delay", format!("{:?}", config.inbound.early_talker_wait), "Some(500ms)"),
        ("scan", format!("{:?}", config.scan.deadline), "20s"),
        ("icap", config.scan.icap.as_ref().unwrap().to_string(), "icap://127.0.0.1:1344/avscan"),
        ("clamd", config.scan.clamd.as_ref().unwrap().to_string(), "/run/clamav/clamd.ctl"),
        ("dns", config.dns.servers[0].to_string(), "192.0.2.53:53"),
        ("retry", format!("{:?}", config.queue.retry), "[60s, 3600s]"),
        ("delay-notice", format!("{:?}", config.queue.delay_notice), "None"),
        ("stop-timeout", format!("{:?}", config.queue.grace), "5s"),
        ("http", format!("{:?}", config.http), "None"),
    ];
    for (name, value, expected) in seen {
        assert_eq!(value, expected, "{name}");
    }
    assert!(config.inbound.relaying.trusts("192.0.2.77".parse().unwrap()));
    assert!(!config.inbound.relaying.trusts("127.0.0.1".parse().unwrap()));
    assert_eq!(config.inbound.timeouts.command, Duration::from_secs(120));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn mistakes_have_places_and_remedies() {
    let cases = [
        ("unknown key", "hostnam = \"x\"", (1, 1, "hostnam"), "did you mean `hostname`?"),
        (
            "unknown key in a table",
            "[scan]\nthread = 2",
            (2, 1, "scan.thread"),
            "did you mean `threads`?",
        ),
        (
            "unknown key, nothing near",
            "[dns]\nzone = 1",
            (2, 1, "dns.zone"),
            "known keys are servers, timeout, trust-anchor",
        ),
        ("wrong type", "hostname = 7", (1, 12, "hostname"), "write a string, such as `\"…\"`"),
        (
            "a table for a value",
            "hostname.x = 7",
            (1, 1, "hostname"),
            "write a string, such as `\"…\"`",
        ),
        (
            "a value for a table",
            "limits = 1",
            (1, 10, "limits"),
            "write a table, such as `[…] with keys below it`",
        ),
        (
            "not a host",
            "hostname = \"a b\"",
            (1, 12, "hostname"),
            "write the node's full name, \"mx1.example.com\"",
        ),
        (
            "out of range",
            "[limits]\nrecipients = 0",
            (2, 14, "limits.recipients"),
            "write a number from 1 to 100000",
        ),
        (
            "negative",
            "[limits]\nrecipients = -1",
            (2, 14, "limits.recipients"),
            "write a number from 1 to 100000",
        ),
        (
            "in a list",
            "relay-domains = [\"a.example\", \"a b\"]",
            (1, 31, "relay-domains[1]"),
            "write a domain, or `*.` and a domain for all below it",
        ),
        (
            "in an array of tables",
            "[[listen]]\naddress = \"25\"",
            (2, 11, "listen[0].address"),
            "write \"0.0.0.0:25\", \"[::]:25\" or the like",
        ),
        (
            "missing",
            "[[listen]]\nmode = \"edge\"",
            (1, 1, "listen[0].address"),
            "add `address = \"0.0.0.0:25\"`",
        ),
        (
            "not loopback",
            "[[listen]]\naddress = \"0.0.0.0:10026\"\nmode = \"reinject\"",
            (2, 11, "listen[0].address"),
            "use an address of the loopback interface, such as \"127.0.0.1:10026\"",
        ),
        (
            "a key of a domain",
            "[next-hops]\n\"a b\" = \"mx\"",
            (2, 1, "next-hops.a b"),
            "write a domain, or `*.` and a domain for all below it, in quotes",
        ),
        (
            "no such file",
            "policy = \"none.toml\"",
            (1, 10, "policy"),
            "give the path of a readable file, absolute or from this file's folder",
        ),
        (
            "half of TLS",
            "[tls]",
            (1, 1, "tls.certificate"),
            "add `certificate = \"/etc/imss/tls/chain.pem\"`",
        ),
        (
            "a time without unit",
            "[queue]\nexpire = \"5\"",
            (2, 10, "queue.expire"),
            "write \"30 seconds\", \"5 minutes\", \"2 days\"",
        ),
        (
            "after wide characters",
            "# 設定\nhostname = \"会社\" # 社名",
            (2, 12, "hostname"),
            "write the node's full name, \"mx1.example.com\"",
        ),
    ];
    for (name, text, (line, column, key), remedy) in cases {
        let mistakes = read(text).expect_err(name);
        let first = mistakes.iter().next().unwrap();
        assert_eq!((first.line, first.column, first.key.as_str()), (line, column, key), "{name}");
        assert_eq!(first.remedy.as_deref(), Some(remedy), "{name}");
    }
}

#[test]
fn all_mistakes_come_at_once_in_order() {
    let text = "hostname = 1\nnext-hop = \"ftp://x\"\n[http]\naddress = 5\nport = 1\n= broken\n";
    let mistakes = read(text).unwrap_err();
    let lines: Vec<_> = mistakes.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [1, 2, 4, 5, 6]);
}

#[test]
fn a_mistake_reads_like_a_compilers() {
    let shown = read("[limits]\nrecipients = \"many\"\n").unwrap_err().to_string();
    let expected = "\
error: expected a whole number, found string
 --> imss.toml:2:14 (limits.recipients)
  |
2 | recipients = \"many\"
  |              ^^^^^^
  = help: write a whole number, such as `10`
";
    assert_eq!(shown, expected);
}

#[test]
fn a_file_that_is_not_there() {
    let mistakes = load(Some(Path::new("/nowhere/imss.toml"))).unwrap_err();
    assert!(mistakes.to_string().contains("/nowhere/imss.toml"), "{mistakes}");
}

/// Three listeners, and every key of `[auth]` and `[recipients]`.
const LISTENERS: &str = r#"
        relay-domains = ["example.com"]
        [tls]
        certificate = "cert.pem"
        key = "key.pem"
        [auth]
        users = "people"
        mechanisms = ["plain", "CRAM-MD5"]
        in-clear = true
        own-senders = true
        trace-login = true
        failures = 5
        failure-delay = "1 s"
        [smtp]
        allow-early-data = true
        [limits]
        recipients = 50
        connections-per-network = 70
        [recipients]
        file = "mailboxes"
        call-ahead = true
        exempt-domains = ["lists.example.com"]
        when-unverified = "defer"
        detail-delimiter = ""
        call-ahead-timeout = "5 s"
        known-for = "1 day"
        unknown-for = "1 minute"
        answers-kept = 9
        [[listen]]
        address = "0.0.0.0:25"
        proxy-protocol-from = ["192.0.2.1"]
        xclient-from = ["192.0.2.2"]
        xforward-from = ["192.0.2.0/24"]
        [[listen]]
        address = "0.0.0.0:465"
        mode = "submission"
        tls = "implicit"
        hostname = "smtp.example.com"
        relay-domains = ["example.net"]
        trusted-networks = []
        message-size = "1 MiB"
        recipients = 10
        connections = 20
        connections-per-client = 2
        connections-per-network = 3
        greeting-delay = "1 s"
        [[listen]]
        address = "127.0.0.1:2587"
        mode = "submission"
        tls = "off"
        require-tls = false
        auth = "offered"
    "#;

#[test]
fn listeners_differ() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["cert.pem", "key.pem", "mailboxes"] {
        std::fs::write(folder.path().join(file), "").unwrap();
    }
    let config = parse(LISTENERS, "imss.toml", folder.path()).unwrap();
    let [edge, smtps, local] = config.listeners.as_slice() else { panic!("three") };
    assert_eq!((edge.tls, edge.auth), (ListenTls::StartTls, UseOfAuth::Off));
    assert!(!edge.settings.requires_tls && !edge.settings.auth.is_required);
    assert_eq!(edge.settings.limits.recipients, 50);
    assert!(!edge.settings.close_on_early_data);
    assert_eq!(edge.settings.limits.connections_per_network, 70);
    assert_eq!(edge.settings.proxy_from[0].to_string(), "192.0.2.1/32");
    assert_eq!(edge.settings.xclient_from.len() + edge.settings.xforward_from.len(), 2);
    assert_eq!((smtps.tls, smtps.auth), (ListenTls::Implicit, UseOfAuth::Required));
    assert!(smtps.settings.requires_tls && smtps.settings.auth.is_required);
    assert_eq!(smtps.settings.hostname, "smtp.example.com");
    assert!(!smtps.settings.relaying.trusts("127.0.0.1".parse().unwrap()));
    let path = |text| ForwardPath::parse(text, Syntax::LAX).unwrap();
    assert!(smtps.settings.relaying.is_ours(&path("a@example.net")));
    assert!(!smtps.settings.relaying.is_ours(&path("a@example.com")));
    let limits = smtps.settings.limits;
    assert_eq!((limits.message_bytes, limits.recipients), (1 << 20, 10));
    assert_eq!((limits.connections, limits.connections_per_client), (20, 2));
    assert_eq!(limits.connections_per_network, 3);
    assert_eq!(smtps.settings.early_talker_wait, Some(Duration::from_secs(1)));
    assert_eq!((local.tls, local.auth), (ListenTls::Off, UseOfAuth::Offered));
    assert!(!local.settings.requires_tls && !local.settings.auth.is_required);
    let auth = &local.settings.auth;
    assert!(auth.in_clear && auth.own_senders && auth.is_traced);
    assert_eq!((auth.failures, auth.delay), (5, Duration::from_secs(1)));
    assert_eq!(auth.mechanisms.len(), 2);
    assert_eq!(config.users.users, folder.path().join("people"));
    assert_eq!(config.users.key, config.data_dir.join("users.key"));
    let recipients = &config.recipients;
    assert!(!recipients.accept_unverified && recipients.delimiter.is_none());
    let ahead = recipients.call_ahead.as_ref().unwrap();
    assert_eq!((ahead.timeout, ahead.answers), (Duration::from_secs(5), 9));
    assert_eq!(ahead.known_for, Duration::from_secs(86_400));
    assert_eq!(ahead.unknown_for, Duration::from_secs(60));
}

#[test]
fn mistakes_of_listeners() {
    let cases = [
        ("mode = \"smtp\"", "unknown mode `smtp`"),
        ("mode = \"submission\"", "mail is taken inside TLS only, and this listener has none"),
        ("require-tls = true", "mail is taken inside TLS only, and this listener has none"),
        ("tls = \"implicit\"", "TLS without a certificate"),
        ("tls = \"ssl\"", "not a way to use TLS"),
        ("auth = \"maybe\"", "not a way to use AUTH"),
        ("xclient-from = [\"x\"]", "not a network"),
        ("hostnam = \"a.example\"", "unknown key `hostnam`"),
        ("[auth]\nmechanisms = [\"GSSAPI\"]", "not a mechanism"),
        ("[recipients]\ndetail-delimiter = \"--\"", "more than one character"),
        ("[recipients]\nwhen-unverified = \"reject\"", "not a way to treat them"),
    ];
    for (line, expected) in cases {
        let text = format!("[[listen]]\naddress = \"127.0.0.1:25\"\n{line}\n");
        let mistakes = read(&text).expect_err(line).to_string();
        assert!(mistakes.contains(expected), "{line}: {mistakes}");
    }
}

#[test]
fn how_mail_leaves() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("relay.password");
    std::fs::write(&secret, "correct horse\n").unwrap();
    let allow = |mode| {
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let text = r#"
        [[route]]
        from = ["*.branch.example"]
        to = ["example.com"]
        next-hop = "smtps://a.example*3|b.example,c.example"

        [[credentials]]
        host = "smtp.provider.example:587"
        user = "gateway"
        password-file = "relay.password"

        [[destination]]
        names = ["example.net", "192.0.2.1"]
        deliveries = 2
        per-minute = 30

        [outbound]
        mx-hosts = 3
        mx-port = 2525
        connections-per-server = 7

        [outbound-tls]
        level = "dane"
        names = { "bank.example" = "verify", "*.old.example" = "none" }
        "#;
    allow(0o600);
    let config = parse(text, "imss.toml", folder.path()).unwrap();
    let (out, tls) = (&config.outbound, &config.outbound_tls.policy);
    assert_eq!(
        out.routing.routes[0].describe(),
        "from *.branch.example to example.com: smtps://a.example:465*3|b.example:465,c.example:465"
    );
    assert!(out.credentials_for("smtp.provider.example", 587).is_some());
    assert!(out.credentials_for("smtp.provider.example", 25).is_none());
    assert!(!format!("{config:?}").contains("correct horse"), "the password is never shown");
    let limits = out.limits_of(["example.net"].into_iter());
    assert_eq!((limits.jobs, limits.pause), (Some(2), Some(Duration::from_secs(2))));
    assert_eq!((out.max_mx_hosts, out.mx_port, out.pool.max_per_server), (3, 2525, 7));
    let levels = ["Bank.example", "x.old.example", "old.example"].map(|name| tls.named(name));
    assert_eq!(levels.map(|level| level.map_or("", |one| one.as_str())), ["verify", "none", ""]);
    allow(0o644);
    let Mistakes(mistakes) = parse(text, "imss.toml", folder.path()).unwrap_err();
    assert_eq!(mistakes[0].reason, "others may read or change this password");
    assert!(mistakes[0].remedy.as_deref().unwrap().starts_with("run `chmod 600 "));
}

/// Mistakes in tables about mail of our own, with the files that they name.
#[test]
fn forwarding_notices_and_reports() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write("srs.key", "sixteen or more letters\n", 0o600);
    write("short.key", "short\n", 0o600);
    write("open.key", "sixteen or more letters\n", 0o644);
    write("empty.key", "\n", 0o600);
    write("text", "{recipients}\n", 0o644);
    write("bell", "\u{7}\n", 0o644);
    write("wide", &"x".repeat(901), 0o644);
    let good = "[srs]\ndomain = \"f.example\"\nkey-files = [\"srs.key\"]\n\
        [notices]\nlanguage = \"ja\"\ncharset = \"iso-2022-jp\"\nfailed = \"text\"\nper-hour = 5\n\
        [tls-reports]\nfrom = \"t@example.com\"\n";
    let config = parse(good, "imss.toml", folder.path()).unwrap();
    assert!(config.inbound.relaying.srs.is_some());
    assert_eq!((config.notices.per_hour, config.notices.failed.is_some()), (5, true));
    let reports = config.tls_reports.unwrap();
    assert_eq!(
        (reports.reports.organisation.as_str(), reports.post_to_private),
        ("example.com", false)
    );
    let cases = [
        ("[srs]\ndomain = \"f.example\"", "`key-files` is missing"),
        ("[srs]\nkey-files = [\"srs.key\"]", "`domain` is missing"),
        ("[srs]\ndomain = \"a b\"\nkey-files = [\"srs.key\"]", "not a domain"),
        ("[srs]\ndomain = \"f.example\"\nkey-files = [\"none.key\"]", "cannot be read"),
        ("[srs]\ndomain = \"f.example\"\nkey-files = [\"short.key\"]", "the key is too short"),
        ("[srs]\ndomain = \"f.example\"\nkey-files = [\"open.key\"]", "others may read"),
        ("[srs]\ndomain = \"f.example\"\nkey-files = [\"empty.key\"]", "is no password"),
        ("[srs]\ndomian = \"f.example\"", "did you mean `domain`?"),
        ("[srs]\ndomain = \"f.example\"\nkey-files = [\"srs.key\"]\ndays = 0", "1 to 365"),
        ("[notices]\nlanguage = \"de\"", "unknown language"),
        ("[notices]\ncharset = \"utf-16\"", "unknown charset"),
        ("[notices]\nfailed = \"none\"", "cannot be read"),
        ("[notices]\ndelayed = \"bell\"", "no plain text"),
        ("[notices]\ndelivered = \"wide\"", "no plain text"),
        ("[notices]\nper-hour = 0", "1 to 1000000"),
        ("[notices]\nlangauge = \"en\"", "did you mean `language`?"),
        ("[tls-reports]\norganisation = \"Ours\"", "`from` is missing"),
        ("[tls-reports]\nfrom = \"nobody\"", "not an address"),
        ("[tls-reports]\nfrom = \"t@example.com\"\norganisation = \"\"", "not a name"),
        ("[tls-reports]\nfrom = \"t@example.com\"\npost-to-private = 1", "true or false"),
    ];
    for (text, expected) in cases {
        let text = format!("{text}\n");
        let mistakes = parse(&text, "imss.toml", folder.path()).expect_err(&text).to_string();
        assert!(mistakes.contains(expected), "{text}: {mistakes}");
    }
}
