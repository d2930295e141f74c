//! What the token does on its own: plain sessions in plain threads, with the same calls as the workers make, and nothing between.
//! The bench compares the service with it.

use std::sync::Barrier;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use super::cache::Part;
use super::connection::{self, Access, Connection};
use super::crypto::{self, IvBatch};
use super::errors::{Call, Fault, HsmError};
use super::object_lock::ObjectLock;
use super::objects;
use super::profile::Profile;
use super::{NewObject, ObjectKind, TokenSettings};
use crate::domain::ids::ObjectId;
use crate::domain::secret::SecretBytes;

/// The additional authenticated data, as long as the service's.
const AAD: [u8; 23] = [7; 23];
/// The text that is signed, in bytes.
const TEXT_BYTES: usize = 32;
/// The most operations of one thread whose time is kept.
const TIMES_MAX: usize = 8_000_000;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawOperation {
    /// AES-256-GCM, as [`super::Token::encrypt`].
    Encrypt,
    /// AES-256-GCM, as [`super::Token::decrypt`].
    Decrypt,
    /// RSA-2048, as [`super::Token::sign_raw`].
    Sign,
    /// RSA-2048, as [`super::Token::verify_raw`].
    Verify,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct RawPlan {
    /// How many threads, each with a session.
    pub threads: usize,
    /// How long each operation is repeated.
    pub duration: Duration,
    /// How many bytes are encrypted.
    pub bytes: usize,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct RawFigures {
    /// Of which operation.
    pub operation: RawOperation,
    /// Operations of all threads.
    pub operations: u64,
    /// Operations a second.
    pub per_second: f64,
    /// The time that half of the operations took at most.
    pub p50: Duration,
    /// The time that 99 of 100 operations took at most.
    pub p99: Duration,
    /// The time of the slowest operation.
    pub longest: Duration,
}

/// The keys that are measured with, and what is fed to them.
struct Samples {
    aes: ObjectHandle,
    private: ObjectHandle,
    public: ObjectHandle,
    plaintext: Vec<u8>,
    payload: Vec<u8>,
    text: [u8; TEXT_BYTES],
    signature: Vec<u8>,
}

/// Measures each of `operations` with keys that it makes in the token and destroys again. Blocking; not while the process has a
/// [`super::Token`] of the same module open.
pub fn measure(settings: &TokenSettings, pin: &SecretBytes, plan: &RawPlan, operations: &[RawOperation]) -> Result<Vec<RawFigures>, HsmError> {
    let profile = Profile::load(&settings.profile)?;
    let module = connection::load_module(&profile, settings.module.as_deref())?;
    connection::initialize(&module).map_err(|fault| fault.failed())?;
    let measured = connection::connect(&module, (&settings.label, settings.serial.as_deref()), &profile, pin, 0).map_err(HsmError::from).and_then(
        |(connection, guard)| {
            let measured = with_keys(&profile, &guard, |aes, private, public| {
                let samples = Samples::new(&guard, plan, aes, private, public)?;
                operations.iter().map(|operation| repeat(*operation, plan, &connection, &samples)).collect()
            });
            drop(guard);
            measured
        },
    );
    connection::finalize(&module);
    measured
}

/// Runs `body` with an AES key and an RSA pair that are destroyed afterwards.
fn with_keys<T>(profile: &Profile, session: &Session, body: impl FnOnce(ObjectHandle, ObjectHandle, ObjectHandle) -> Call<T>) -> Result<T, HsmError> {
    let objects = ObjectLock::default();
    let lock = objects.acquire(Instant::now(), "C_GenerateKey")?;
    let (first, second) = (random_id(session).map_err(|fault| fault.failed())?, random_id(session).map_err(|fault| fault.failed())?);
    let make = |kind, id| {
        let object = NewObject { id, label: "skm/bench".to_owned() };
        objects::create(&lock, session, profile, kind, &object).map_err(|fault| fault.failed())??;
        objects::find(&lock, session, id).map_err(|fault| fault.failed())
    };
    let part = |found: &[(Part, ObjectHandle)], part| found.iter().find(|(of, _)| *of == part).map(|(_, handle)| *handle);
    let outcome = (|| {
        let (aes, pair) = (make(ObjectKind::Aes256, first)?, make(ObjectKind::Rsa2048, second)?);
        match (part(&aes, Part::Secret), part(&pair, Part::Private), part(&pair, Part::Public)) {
            (Some(aes), Some(private), Some(public)) => body(aes, private, public).map_err(|fault| fault.failed()),
            _ => Err(HsmError::Missing(first)),
        }
    })();
    for id in [first, second] {
        objects::destroy(&lock, session, id).map_err(|fault| fault.failed())?;
    }
    outcome
}

fn random_id(session: &Session) -> Call<ObjectId> {
    let mut bytes = [0; 16];
    session.generate_random_slice(&mut bytes)?;
    Ok(ObjectId::from_bytes(bytes))
}

impl Samples {
    fn new(session: &Session, plan: &RawPlan, aes: ObjectHandle, private: ObjectHandle, public: ObjectHandle) -> Call<Self> {
        let (plaintext, text) = (vec![7; plan.bytes], [7; TEXT_BYTES]);
        let payload = crypto::encrypt(session, IvBatch::default().next(session)?, aes, &AAD, &plaintext)?;
        let signature = crypto::sign_raw(session, private, &text)?;
        Ok(Self { aes, private, public, plaintext, payload, text, signature })
    }

    fn run(&self, operation: RawOperation, session: &Session, ivs: &mut IvBatch) -> Call<()> {
        match operation {
            RawOperation::Encrypt => crypto::encrypt(session, ivs.next(session)?, self.aes, &AAD, &self.plaintext).map(drop),
            RawOperation::Decrypt => crypto::decrypt(session, self.aes, &AAD, &self.payload).map(drop),
            RawOperation::Sign => crypto::sign_raw(session, self.private, &self.text).map(drop),
            RawOperation::Verify => crypto::verify_raw(session, self.public, &self.text, &self.signature).map(drop),
        }
    }
}

fn repeat(operation: RawOperation, plan: &RawPlan, connection: &Connection, samples: &Samples) -> Call<RawFigures> {
    let begin = Barrier::new(plan.threads);
    let one_thread = || {
        let opened = connection.open_session(Access::ReadOnly);
        // Whatever happened: the others wait here.
        begin.wait();
        let session = opened?;
        let (mut ivs, mut times, mut count) = (IvBatch::default(), Vec::new(), 0_u64);
        let begun = Instant::now();
        while begun.elapsed() < plan.duration {
            let started = Instant::now();
            samples.run(operation, &session, &mut ivs)?;
            count += 1;
            if times.len() < TIMES_MAX {
                times.push(started.elapsed());
            }
        }
        Ok((count, times, begun.elapsed()))
    };
    let threads = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads).map(|_| scope.spawn(one_thread)).collect();
        threads.into_iter().map(join).collect::<Call<Vec<_>>>()
    })?;
    let operations = threads.iter().map(|(count, ..)| count).sum();
    let per_second = threads.iter().map(|(count, _, lasted)| rate(*count, *lasted)).sum();
    let mut times: Vec<_> = threads.into_iter().flat_map(|(_, times, _)| times).collect();
    times.sort_unstable();
    let at = |part: usize| times.get(times.len().saturating_sub(1) * part / 1000).copied().unwrap_or_default();
    Ok(RawFigures { operation, operations, per_second, p50: at(500), p99: at(990), longest: at(1000) })
}

fn join<T>(thread: ScopedJoinHandle<'_, Call<T>>) -> Call<T> {
    thread.join().unwrap_or_else(|_| Err(Fault::said("PKCS#11", "a measuring thread panicked")))
}

/// Exact up to 2^53 operations.
#[allow(clippy::cast_precision_loss, reason = "no thread counts to 2^53")]
fn rate(count: u64, lasted: Duration) -> f64 {
    count as f64 / lasted.as_secs_f64().max(f64::MIN_POSITIVE)
}
