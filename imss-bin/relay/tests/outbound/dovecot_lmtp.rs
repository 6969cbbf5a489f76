//! Dovecot as next hop, over LMTP: the message lies in its Maildir afterwards, dots and all.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use imss_relay::outbound::Deliverer;

use crate::smtp_sink::{Server, free_port, is_root, wait_for};
use crate::support::{MESSAGE, client, job, settings, short};

const PROGRAM: &str = "/usr/sbin/dovecot";

fn output_of(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().expect(program);
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// Dovecot as the current user, or, for root, with mailboxes of `nobody`.
fn configuration(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    let (user, group) = (output_of("id", "-un"), output_of("id", "-gn"));
    let (internal, owner) = match is_root() {
        true => (String::new(), "uid=nobody gid=nogroup".to_owned()),
        false => (
            format!(
                "default_internal_user = {user}\ndefault_login_user = {user}\n\
                 default_internal_group = {group}\n"
            ),
            format!("uid={user} gid={group}"),
        ),
    };
    format!(
        "{internal}base_dir = {dir}/run\nprotocols = lmtp\nlog_path = {dir}/log\nssl = no\n\
         mail_location = maildir:{dir}/mail/%n\nfirst_valid_uid = 1\n\
         passdb {{\n  driver = static\n  args = nopassword=y\n}}\n\
         userdb {{\n  driver = static\n  args = {owner} home={dir}/mail/%n allow_all_users=yes\n}}\n\
         service anvil {{\n  chroot =\n}}\n\
         service lmtp {{\n  inet_listener lmtp {{\n    address = 127.0.0.1\n    port = {port}\n  }}\n}}\n"
    )
}

fn files(dir: PathBuf) -> Vec<String> {
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|_| panic!("{}", dir.display()));
    entries
        .map(|entry| std::fs::read_to_string(entry.expect("entry").path()).expect("text"))
        .collect()
}

#[tokio::test]
async fn mail_arrives_in_dovecot() {
    assert!(Path::new("/usr/lib/dovecot/lmtp").exists(), "install Debian's dovecot-lmtpd");
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let config = dir.path().join("dovecot.conf");
    std::fs::write(&config, configuration(dir.path(), port)).expect("written");
    std::fs::create_dir(dir.path().join("mail")).expect("a folder");
    for open in [dir.path().to_owned(), dir.path().join("mail")] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(open, mode).expect("permissions");
    }
    let child = Command::new(PROGRAM)
        .args([Path::new("-F"), Path::new("-c"), &config])
        .stdin(Stdio::null())
        .spawn()
        .expect("dovecot starts");
    let _server = Server(child);
    wait_for(port).await;
    let client = client(settings(&format!("lmtp://127.0.0.1:{port}")));
    let attempts = client.deliver(job(&["a@x.example", "b@x.example"], MESSAGE)).await;
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    assert!(short(&attempts).iter().all(|one| one.starts_with("ok")), "{attempts:?} {log}");
    let socket = settings(&format!("lmtp+unix:{}/run/lmtp", dir.path().display()));
    let attempts = crate::support::client(socket).deliver(job(&["c@x.example"], MESSAGE)).await;
    assert!(short(&attempts).iter().all(|one| one.starts_with("ok")), "{attempts:?} {log}");
    for user in ["a", "b", "c"] {
        let mails = files(dir.path().join(format!("mail/{user}/new")));
        assert_eq!(mails.len(), 1, "{user}");
        let text = mails[0].replace("\r\n", "\n");
        assert!(text.contains("Return-Path: <sender@example.net>"), "{text}");
        assert!(text.ends_with("Subject: test\n\nHello\n.dot\n"), "{text}");
    }
}
