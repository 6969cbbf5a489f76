//! An Exim of its own for one scenario. It runs from a folder: Debian allows one mail server per system.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::wait_until;

/// Where `.ci/test.sh` unpacks the Debian package.
const PROGRAM: &str = "/opt/exim4/usr/sbin/exim4";

pub(crate) struct Exim {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Exim {
    /// Starts one that takes mail for anybody and hands all of it on to `next_hop`.
    pub(crate) fn relaying_to(next_hop: SocketAddr) -> Self {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let (port, next_port) = (address.port(), next_hop.port());
        let configuration = format!(
            "local_interfaces = 127.0.0.1\ndaemon_smtp_ports = {port}\nsmtp_accept_max = 0\n\
             ignore_bounce_errors_after = 0s\nacl_smtp_rcpt = take\nacl_smtp_data = take\n\
             begin acl\ntake:\n  accept\nbegin routers\nonward:\n  driver = manualroute\n  \
             route_list = * 127.0.0.1::{next_port}\n  transport = onward\n  self = send\n\
             begin transports\nonward:\n  driver = smtp\n  hosts_avoid_tls = *\n  allow_localhost\n\
             begin retry\n* * F,1h,1s\n"
        );
        Self::start([address, address], &configuration)
    }

    /// Starts one that listens at `addresses`, the first being its public one, with this configuration.
    pub(crate) fn start(addresses: [SocketAddr; 2], configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["", "spool", "log"] {
            let path = root.join(name);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let owned = Command::new("chown")
            .args(["-R", "Debian-exim:Debian-exim"])
            .args([root.join("spool"), root.join("log")])
            .status()
            .unwrap();
        assert!(owned.success(), "Exim needs root, and its account");
        let shown = root.display();
        let more = format!(
            "exim_path = {PROGRAM}\nspool_directory = {shown}/spool\nlog_file_path = {shown}/log/%slog\n\
             pid_file_path = {shown}/spool/exim.pid\nprimary_hostname = exim.example\n\
             tls_advertise_hosts =\nkeep_environment =\nqueue_run_max = 5\n"
        );
        let file = root.join("exim.conf");
        fs::write(&file, more + configuration).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let child = Command::new(PROGRAM)
            .arg("-C")
            .arg(&file)
            .args(["-bdf", "-q1m"])
            .stdin(Stdio::null())
            .spawn()
            .expect("Exim, unpacked by .ci/test.sh");
        let exim = Self { child, folder, address: addresses[0] };
        for address in addresses {
            wait_until(&format!("Exim listens at {address}: {}", exim.log()), || {
                TcpStream::connect(address).is_ok()
            });
        }
        exim
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a next hop in the configuration.
    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Whether nothing is in its spool.
    pub(crate) fn is_empty(&self) -> bool {
        let input = fs::read_dir(self.folder.path().join("spool/input"));
        input.map_or(true, |mut entries| entries.next().is_none())
    }

    pub(crate) fn log(&self) -> String {
        let log = self.folder.path().join("log");
        ["mainlog", "paniclog"]
            .map(|name| fs::read_to_string(log.join(name)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
