//! `skm client`: uses a running service as any of its clients would, through the wire contract alone.

mod connection;
mod credentials;
mod input;
mod mac;
mod reply;

use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Subcommand;
use serde::Serialize;
use zeroize::Zeroizing;

use super::exit::{Exit, Failure};
use super::output;
use crate::domain::ids::KeyId;
use crate::domain::secret::SecretText;
use connection::Connection;
use reply::{Confirmed, Encrypted, LocalKey, Plain, Reply, Secret, Signed, Verified};

/// `skm client`
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    service: credentials::Service,
    /// Print the body of the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    /// Show what the service sees of this client: address, MAC header, certificate
    Confirm,
    /// Print a secret
    Secret {
        /// The secret's key ID
        #[arg(long, env = "SKM_SECRET_ID", value_name = "ID")]
        key: KeyId,
    },
    /// Encrypt a text; print the ciphertext (Base64)
    Encrypt {
        /// The symmetric key's ID
        #[arg(long, env = "SKM_SYMMETRIC_ID", value_name = "ID")]
        key: KeyId,
        #[command(flatten)]
        input: Input,
    },
    /// Decrypt a ciphertext; print the text as it was
    Decrypt {
        /// The symmetric key's ID
        #[arg(long, env = "SKM_SYMMETRIC_ID", value_name = "ID")]
        key: KeyId,
        #[command(flatten)]
        input: Input,
    },
    /// Sign a text; print the signature (Base64)
    Sign {
        /// The asymmetric key's ID
        #[arg(long, env = "SKM_ASYMMETRIC_ID", value_name = "ID")]
        key: KeyId,
        #[command(flatten)]
        input: Input,
        /// Make a standard signature with SHA-256, of any bytes, instead of the raw one of at most 245 bytes of text
        #[arg(long, value_enum)]
        standard: Option<Standard>,
    },
    /// Verify a signature; exit code 3 if it is not valid
    Verify {
        /// The asymmetric key's ID
        #[arg(long, env = "SKM_ASYMMETRIC_ID", value_name = "ID")]
        key: KeyId,
        #[command(flatten)]
        input: Input,
        /// The signature (Base64)
        #[arg(long, value_name = "BASE64", required_unless_present = "signature_file")]
        signature: Option<String>,
        /// A file with the signature (Base64)
        #[arg(long, value_name = "FILE", conflicts_with = "signature")]
        signature_file: Option<PathBuf>,
        /// It is a standard signature with SHA-256
        #[arg(long, value_enum, requires = "key_version")]
        standard: Option<Standard>,
        /// The version of the key that made a standard signature
        #[arg(long, value_name = "NUMBER", requires = "standard")]
        key_version: Option<u32>,
    },
    /// Make a data key; print it (Base64), and on a second line its ciphertext
    LocalKey {
        /// The symmetric key's ID
        #[arg(long, env = "SKM_SYMMETRIC_ID", value_name = "ID")]
        key: KeyId,
    },
}

/// What to work on. Never an argument: arguments are seen by everybody on the machine.
#[derive(Debug, clap::Args)]
struct Input {
    /// Read from this file instead of standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Standard signature schemes (RFC 8017), with SHA-256.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Standard {
    /// RSASSA-PSS
    Pss,
    /// RSASSA-PKCS1-v1_5
    Pkcs1,
}

impl Standard {
    fn algorithm(self) -> &'static str {
        match self {
            Self::Pss => "RSASSA-PSS",
            Self::Pkcs1 => "RSASSA-PKCS1-v1_5",
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Everything that can be said without the service is said first.
    let call = Call::of(&arguments.operation)?;
    let mut connection = Connection::open(&arguments.service)?;
    let answered = connection.call(&call.path, call.body.as_deref().map(Vec::as_slice)).and_then(|reply| {
        if arguments.json {
            output::line(reply.body_json()?)?;
            let failed_verification = matches!(arguments.operation, Operation::Verify { .. }) && !reply.body::<Verified>()?.result;
            return if failed_verification { Err(Failure::silent(Exit::No)) } else { Ok(()) };
        }
        print(&arguments.operation, &reply)
    });
    connection.close();
    answered
}

/// What is asked of the service: a path after the appkey, and the body of a POST.
struct Call {
    path: String,
    body: Option<Zeroizing<Vec<u8>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_version: Option<u32>,
}

const EMPTY: Body<'_> = Body { plaintext: None, ciphertext: None, signature: None, algorithm: None, key_version: None };

impl Call {
    fn of(operation: &Operation) -> Result<Self, Failure> {
        match operation {
            Operation::Confirm => Ok(Self { path: "confirm".to_owned(), body: None }),
            Operation::Secret { key } => Ok(Self { path: format!("secrets/{key}"), body: None }),
            Operation::Encrypt { key, input } => {
                let text = input::text(input.file.as_deref())?;
                Self::post(format!("symmetric-keys/{key}/encrypt"), &Body { plaintext: Some(text.expose()), ..EMPTY })
            }
            Operation::Decrypt { key, input } => {
                let text = input::text(input.file.as_deref())?;
                Self::post(format!("symmetric-keys/{key}/decrypt"), &Body { ciphertext: Some(text.expose().trim()), ..EMPTY })
            }
            Operation::Sign { key, input, standard } => {
                let (operation, text) = signed_input("sign", input, *standard)?;
                let body = Body { plaintext: Some(text.expose()), algorithm: standard.map(Standard::algorithm), ..EMPTY };
                Self::post(format!("asymmetric-keys/{key}/{operation}"), &body)
            }
            Operation::Verify { key, input, signature, signature_file, standard, key_version } => {
                let from_file = signature_file.as_deref().map(|file| input::text(Some(file))).transpose()?;
                let signature = signature.as_deref().or(from_file.as_ref().map(SecretText::expose)).map(str::trim);
                let (operation, text) = signed_input("verify", input, *standard)?;
                let algorithm = standard.map(Standard::algorithm);
                let body = Body { plaintext: Some(text.expose()), signature, algorithm, key_version: *key_version, ..EMPTY };
                Self::post(format!("asymmetric-keys/{key}/{operation}"), &body)
            }
            Operation::LocalKey { key } => Ok(Self { path: format!("symmetric-keys/{key}/create-local-key"), body: Some(Zeroizing::default()) }),
        }
    }

    fn post(path: String, body: &Body<'_>) -> Result<Self, Failure> {
        // JSON escapes make a byte six at most; with room for that the buffer never moves and leaves no copy behind.
        let content: usize = [body.plaintext, body.ciphertext, body.signature].into_iter().flatten().map(str::len).sum();
        let mut json = Zeroizing::new(Vec::with_capacity(6 * content + 256));
        serde_json::to_writer(&mut *json, body).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        Ok(Self { path, body: Some(json) })
    }
}

/// A standard signature is over bytes, sent as Base64; a raw one over text, sent as it is.
fn signed_input(operation: &str, input: &Input, standard: Option<Standard>) -> Result<(String, SecretText), Failure> {
    match standard {
        None => Ok((operation.to_owned(), input::text(input.file.as_deref())?)),
        Some(_) => {
            let bytes = input::bytes(input.file.as_deref())?;
            Ok((format!("{operation}-standard"), SecretText::new(BASE64.encode(bytes.expose()))))
        }
    }
}

fn print(operation: &Operation, reply: &Reply) -> Result<(), Failure> {
    match operation {
        Operation::Confirm => {
            let Confirmed { client_ip, client_mac_header, client_sent_certificate } = reply.body()?;
            output::line(&format!("address      {client_ip}"))?;
            output::line(&format!("MAC header   {}", client_mac_header.as_deref().unwrap_or("none")))?;
            output::line(&format!("certificate  {}", if client_sent_certificate { "sent" } else { "none" }))?;
        }
        Operation::Secret { .. } => output::data(reply.body::<Secret>()?.secret.expose().as_bytes())?,
        Operation::Encrypt { .. } => output::line(&reply.body::<Encrypted>()?.ciphertext)?,
        Operation::Decrypt { .. } => output::data(reply.body::<Plain>()?.plaintext.expose().as_bytes())?,
        Operation::Sign { .. } => output::line(&reply.body::<Signed>()?.signature)?,
        Operation::Verify { .. } => {
            if !reply.body::<Verified>()?.result {
                output::line("not valid")?;
                return Err(Failure::silent(Exit::No));
            }
            output::line("valid")?;
        }
        Operation::LocalKey { .. } => {
            let key: LocalKey = reply.body()?;
            output::line(key.local_key_plaintext.expose())?;
            output::line(&key.local_key_ciphertext)?;
        }
    }
    Ok(())
}

/// The versions of the wire contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ApiVersion {
    V1_0,
    V1_1,
    V1_2,
    V1_3,
}

impl ApiVersion {
    const ALL: [(&'static str, Self); 4] = [("v1.0", Self::V1_0), ("v1.1", Self::V1_1), ("v1.2", Self::V1_2), ("v1.3", Self::V1_3)];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, version)| *version == self).map_or("v1.0", |(name, _)| name)
    }
}

impl FromStr for ApiVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, version)| *version).ok_or("must be v1.0, v1.1, v1.2 or v1.3")
    }
}
