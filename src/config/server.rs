//! `[server]`: the process as a whole.

use std::path::PathBuf;

use chrono_tz::Tz;

use super::document::section;

section! {
    /// `[server]`
    pub Server is "server" {
        /// The directory for the database, the lock and the internal CA's certificate. One process owns it.
        data_dir: PathBuf = PathBuf::from("data");
        /// This process's name among all that share the database; the host's name if left out.
        node: Option<String> = None, node_name;
        /// The zone of the date-times in answers, and of the console's dates and statistics.
        timezone: Tz = Tz::UTC;
        /// Whether errors of the API, too, have the HTTP status 200: for clients that can't take another.
        always_http_200: bool = false;
    }
}

impl Server {
    /// The node's name: as configured, else the host's.
    pub fn node_name(&self) -> String {
        self.node.clone().unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
    }
}

/// The longest name of a node, in bytes: a host name's limit (RFC 1035, 2.3.4).
const NODE_MAX_BYTES: usize = 255;

fn node_name(node: &Option<String>) -> Result<(), String> {
    let good = |name: &String| name.len() <= NODE_MAX_BYTES && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if node.as_ref().is_none_or(good) { Ok(()) } else { Err(format!("must be at most {NODE_MAX_BYTES} letters, digits, \"-\", \".\" and \"_\"")) }
}
