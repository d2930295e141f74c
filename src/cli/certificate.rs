//! `skm certificate`: the server's certificate and the internal certificate authorities.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::admin::{Admin, Command, Commands, Show, reach};
use super::audit;
use super::exit::{Exit, Failure};
use crate::domain::clock::Timestamp;
use crate::service::{AuthorityInfo, Operator, Refusal};

/// `skm certificate`
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The server's certificate, the certificate authorities, and how many clients' certificates expire soon
    List,
    /// Have the internal authority issue a new server certificate now; connections stay
    RenewServer,
    /// Make a new certificate authority beside the old one, which is trusted until it expires
    RenewCa,
}

pub(super) fn run(named: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    let show = Show { json: arguments.json };
    reach::with(named, |reach| match arguments.what {
        What::List => {
            let found = reach.ask(ListCertificates {})?;
            show.answer(&found, &found.lines())
        }
        What::RenewServer => {
            let renewed = reach.ask(RenewServer {})?;
            show.answer(&renewed, &[format!("the server has a new certificate, valid until {}", renewed.not_after)])
        }
        What::RenewCa => {
            let renewed = reach.ask(RenewAuthority {})?;
            show.answer(&renewed, &renewed.lines())
        }
    })
}

pub(super) fn add(commands: Commands) -> Commands {
    commands.with::<ListCertificates>().with::<RenewServer>().with::<RenewAuthority>()
}

fn time(at: Timestamp) -> String {
    audit::time(at.micros())
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListCertificates {}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Certificates {
    server: Server,
    authorities: Vec<AuthorityRow>,
    clients: Clients,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Server {
    /// Absent where there is none that can be used.
    not_after: Option<String>,
    /// Whether it is the operator's own, rather than of the internal authority.
    configured: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorityRow {
    number: u32,
    name: String,
    not_before: String,
    not_after: String,
    trusted: bool,
    issues_clients: bool,
    issues_servers: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Clients {
    expire_within_30_days: i64,
    next_not_after: Option<String>,
}

impl From<AuthorityInfo> for AuthorityRow {
    fn from(info: AuthorityInfo) -> Self {
        Self {
            number: info.number,
            name: info.name,
            not_before: time(info.validity.not_before),
            not_after: time(info.validity.not_after),
            trusted: info.trusted,
            issues_clients: info.issues_clients,
            issues_servers: info.issues_servers,
        }
    }
}

impl AuthorityRow {
    fn line(&self) -> String {
        let told = [(!self.trusted, "expired"), (self.issues_clients, "issues clients' certificates"), (self.issues_servers, "issues the server's")];
        let told: Vec<_> = told.into_iter().filter_map(|(is_so, what)| is_so.then_some(what)).collect();
        format!("authority {}  until {}  {}  {}", self.number, self.not_after, self.name, told.join(", ")).trim_end().to_owned()
    }
}

impl Certificates {
    fn lines(&self) -> Vec<String> {
        let origin = if self.server.configured { "configured" } else { "of the internal authority" };
        let mut lines = vec![format!("server       until {}  {origin}", self.server.not_after.as_deref().unwrap_or("-"))];
        lines.extend(self.authorities.iter().map(AuthorityRow::line));
        let next = self.clients.next_not_after.as_deref().map_or_else(String::new, |next| format!("; the next one until {next}"));
        lines.push(format!("clients      {} expire within 30 days{next}", self.clients.expire_within_30_days));
        lines
    }
}

impl Command for ListCertificates {
    const PATH: &'static str = "/certificate/list";
    type Answer = Certificates;

    async fn run(self, admin: Admin, _: Operator) -> Result<Certificates, Failure> {
        admin.service.load_authorities().await?;
        admin.service.look_at_expiry().await?;
        let (not_after, configured) = admin.certificate.kept();
        let expiry = admin.service.expiry();
        Ok(Certificates {
            server: Server { not_after: not_after.map(time), configured },
            authorities: admin.service.list_authorities()?.into_iter().map(Into::into).collect(),
            clients: Clients {
                expire_within_30_days: expiry.map_or(0, |expiry| expiry.clients_soon),
                next_not_after: expiry.and_then(|expiry| expiry.next_client).map(time),
            },
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RenewServer {}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenewedServer {
    not_after: String,
}

impl Command for RenewServer {
    const PATH: &'static str = "/certificate/renew-server";
    type Answer = RenewedServer;

    async fn run(self, admin: Admin, operator: Operator) -> Result<RenewedServer, Failure> {
        let not_after: Timestamp = admin.certificate.renew(Some(operator)).await?;
        Ok(RenewedServer { not_after: time(not_after) })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RenewAuthority {}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenewedAuthority {
    number: u32,
}

impl RenewedAuthority {
    fn lines(&self) -> [String; 2] {
        [
            format!("made authority {}: clients' certificates come from it from now on, and those of the old one stay good", self.number),
            "give /pki/ca.pem to clients before the server's own certificate comes from it ([certificates] authority_overlap_days)".to_owned(),
        ]
    }
}

impl Command for RenewAuthority {
    const PATH: &'static str = "/certificate/renew-ca";
    type Answer = RenewedAuthority;

    async fn run(self, admin: Admin, operator: Operator) -> Result<RenewedAuthority, Failure> {
        let number = admin.service.renew_authority(Some(operator)).await.map_err(|refusal| match refusal {
            Refusal::Exists { .. } => Failure::new(Exit::Failed, "another renewal of the certificate authority is under way; see `skm certificate list`"),
            refusal => refusal.into(),
        })?;
        admin.certificate.trust_authorities().await?;
        Ok(RenewedAuthority { number })
    }
}
