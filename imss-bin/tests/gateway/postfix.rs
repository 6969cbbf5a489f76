//! A Postfix of its own for one scenario: takes mail on a free port and hands all of it on.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::wait_until;

const SERVICES: &str = "\
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
";

pub(crate) struct Postfix {
    folder: TempDir,
    address: SocketAddr,
}

impl Postfix {
    /// Starts one that relays to `next_hop`, with more lines for its `main.cf`. Needs root.
    pub(crate) fn start(next_hop: SocketAddr, more: &str) -> Self {
        Self::configured(free_address(), next_hop, more, "")
    }

    /// The same at `address`, with more lines for its `main.cf` and its `master.cf`. The latter may
    /// begin with lines that go on: they are options of the listener.
    pub(crate) fn configured(
        address: SocketAddr,
        next_hop: SocketAddr,
        more: &str,
        services: &str,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_path_buf();
        for name in ["", "conf", "spool", "data", "log"] {
            let path = root.join(name);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let owned = Command::new("chown").arg("postfix").arg(root.join("data")).status().unwrap();
        assert!(owned.success(), "Postfix needs root, and its account");
        let shown = root.display();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {shown}/spool\ndata_directory = {shown}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n\
             shlib_directory = /usr/lib/postfix\nmail_owner = postfix\nsetgid_group = postdrop\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\n\
             myhostname = postfix.example\nmydestination =\nlocal_recipient_maps =\n\
             local_transport = error:none\nalias_maps =\nsmtp_dns_support_level = disabled\n\
             relayhost = [{}]:{}\nmaillog_file = {shown}/log/mail.log\n\
             maillog_file_prefixes = {shown}/log\n{more}\n",
            next_hop.ip(),
            next_hop.port(),
        );
        fs::write(root.join("conf/main.cf"), main).unwrap();
        let listener = format!("{address} inet n - n - - smtpd\n{services}\n");
        fs::write(root.join("conf/master.cf"), listener + SERVICES).unwrap();
        let postfix = Self { folder, address };
        let started = postfix.control("start");
        assert!(started.status.success(), "Postfix does not start: {started:?}\n{}", postfix.log());
        wait_until("Postfix listens", || TcpStream::connect(address).is_ok());
        postfix
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a next hop in the configuration.
    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log/mail.log")).unwrap_or_default()
    }

    /// Whether nothing is in its queue.
    pub(crate) fn is_empty(&self) -> bool {
        let output = Command::new("/usr/sbin/postqueue")
            .arg("-c")
            .arg(self.folder.path().join("conf"))
            .arg("-p")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).contains("Mail queue is empty")
    }

    fn control(&self, order: &str) -> Output {
        let conf = self.folder.path().join("conf");
        Command::new("/usr/sbin/postfix").arg("-c").arg(conf).arg(order).output().unwrap()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = self.control("stop");
    }
}

/// A port that was free a moment ago; Postfix cannot choose one itself.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
