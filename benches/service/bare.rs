//! Bare HTTPS: the product's own listener before a handler that reads the request's body and sends a fixed answer.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use skm::domain::clock::SystemClock;
use skm::tls::{CertFiles, ListenerCounters, ListenerSettings, Reloader, Transport, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Problem;
use crate::installation::{Installation, Process, directory_of};
use crate::jobs::Job;

/// The most bytes of a body that it reads.
const BODY_MAX_BYTES: usize = 256 * 1024;

/// The process with the handler that does nothing.
#[derive(Debug)]
pub(crate) struct Bare {
    pub(crate) address: String,
    pub(crate) process: Process,
}

impl Bare {
    /// Starts it, with the answers that the service gave.
    pub(crate) fn start(installation: &Installation, jobs: &[Job]) -> Result<Self, Problem> {
        let answers = installation.directory.join("answers.json");
        fs::write(&answers, serde_json::to_vec(jobs)?)?;
        let mut process = Process(installation.inside(&["bare"])?.stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        Ok(Self { address: line.trim().to_owned(), process })
    }
}

/// Inside its process: serves until it is killed.
pub(crate) fn inside(arguments: &[&str]) -> Result<(), Problem> {
    let [configuration] = arguments else { return Err("bare CONFIGURATION".into()) };
    let directory = directory_of(configuration)?;
    let data = directory.join("data");
    let jobs: Vec<Job> = serde_json::from_slice(&fs::read(directory.join("answers.json"))?)?;
    let answers: Answers = Arc::new(jobs.into_iter().map(|job| (job.path, Bytes::from(job.answer))).collect());
    let files = CertFiles { certificate: data.join("server.pem"), key: data.join("server.key") };
    let ca = CertificateDer::from_pem_file(data.join("ca.pem")).map_err(|error| format!("ca.pem: {error}"))?;
    let tls = Reloader::open(files, vec![ca], Arc::new(SystemClock))?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let app = Router::new().fallback(answer).with_state(answers);
        serve(listener, Transport::Tls(tls.shared()), app, ListenerSettings::default(), Arc::new(ListenerCounters::default()), CancellationToken::new()).await;
        Ok(())
    })
}

type Answers = Arc<HashMap<String, Bytes>>;

/// The same headers, and as many bytes of body, as the service's.
async fn answer(State(answers): State<Answers>, request: Request) -> Result<Response, StatusCode> {
    let answer = answers.get(request.uri().path()).cloned().ok_or(StatusCode::NOT_FOUND)?;
    to_bytes(request.into_body(), BODY_MAX_BYTES).await.map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut response = Response::new(Body::from(answer));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-request-id", HeaderValue::from_static("0123456789abcdef0123456789abcdef"));
    Ok(response)
}
