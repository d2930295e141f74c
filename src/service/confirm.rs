//! `confirm`: what the service sees of the caller.

use std::net::IpAddr;

use super::Service;
use super::refusal::Refusal;
use super::request::{Request, Right};
use crate::domain::audit::Operation;
use crate::domain::caller::MacHeader;

/// What the service sees of the caller.
#[derive(Debug, Clone)]
pub struct Confirmed {
    /// The address that client checks compare.
    pub address: IpAddr,
    /// The MAC header, if there was one that can be read.
    pub mac: Option<String>,
    /// Whether the connection showed a certificate of this service.
    pub certificate: bool,
}

impl Service {
    /// What the service sees of the caller.
    pub async fn confirm(&self, request: Request) -> Result<Confirmed, Refusal> {
        self.run(request, Operation::Confirm, Right::Use, |_, scope| {
            Box::pin(async move {
                let mac = match scope.caller.mac {
                    MacHeader::Claimed(mac) => Some(mac.to_string()),
                    MacHeader::Absent | MacHeader::Malformed => None,
                };
                Ok(Confirmed { address: scope.caller.address, mac, certificate: scope.caller.certificate.is_some() })
            })
        })
        .await
    }
}
