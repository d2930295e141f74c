//! `[webhooks]`: how notifications are posted to URLs.

use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::document::section;

section! {
    /// `[webhooks]`
    pub Webhooks is "webhooks" {
        /// Authorities that receivers' certificates may come from (PEM), beside the machine's own list.
        ca: Option<PathBuf> = None;
        /// Addresses that may be called although they are this machine's own, of its link, or of a cloud's metadata service; to those of
        /// this machine plain HTTP is then allowed, too.
        allowed_networks: Vec<IpNet> = Vec::new();
    }
}

impl Webhooks {
    pub(super) fn resolve(&mut self, directory: &Path) {
        if let Some(file) = &mut self.ca {
            *file = directory.join(&*file);
        }
    }
}
