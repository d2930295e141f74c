//! The token alone: plain sessions on the installation's own objects, in a process of its own.

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use serde::{Deserialize, Serialize};
use skm::hsm::Profile;

use crate::Problem;
use crate::installation::{Installation, directory_of, resident_bytes};
use crate::jobs::{Kind, SIGNED_TEXT, plaintext};
use crate::sample::Sample;

/// How long each thread works before the measurement begins.
const WARM_UP: Duration = Duration::from_millis(100);
/// As the service's: `skm`, prefix, key ID.
const AAD: [u8; 23] = [7; 23];
const TAG_BITS: u64 = 128;

/// What opening the token takes, with all objects it has.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// From loading the module to having the `CKA_ID`, `CKA_CLASS` of every object.
    pub(crate) seconds: f64,
    pub(crate) objects: usize,
    /// Resident bytes that this added to the process.
    pub(crate) bytes: u64,
}

/// Measures the token at one kind of work.
pub(crate) fn measure(installation: &Installation, kind: Kind, threads: usize, duration: Duration) -> Result<Sample, Problem> {
    let key = installation.demo(if matches!(kind, Kind::Encrypt | Kind::Decrypt) { "SYMMETRIC_ID" } else { "ASYMMETRIC_ID" })?;
    ask(installation, &["token", "work", kind.as_str(), key, &threads.to_string(), &duration.as_millis().to_string()])
}

/// Opens the token as a service must, and lists what is there.
pub(crate) fn open(installation: &Installation) -> Result<Opened, Problem> {
    ask(installation, &["token", "open"])
}

fn ask<T: serde::de::DeserializeOwned>(installation: &Installation, arguments: &[&str]) -> Result<T, Problem> {
    let output = installation.inside(arguments)?.output()?;
    if !output.status.success() {
        return Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Inside its process.
pub(crate) fn inside(arguments: &[&str]) -> Result<(), Problem> {
    match arguments {
        ["open", configuration] => println!("{}", serde_json::to_string(&enumerate(configuration)?)?),
        ["work", kind, key, threads, millis, configuration] => {
            let kind = Kind::parse(kind).ok_or("no such work")?;
            let sample = work(configuration, kind, key, threads.parse()?, Duration::from_millis(millis.parse()?))?;
            println!("{}", serde_json::to_string(&sample)?);
        }
        _ => return Err("token open CONFIGURATION | token work KIND KEY THREADS MILLIS CONFIGURATION".into()),
    }
    Ok(())
}

/// The installation's token, logged in for as long as the session lives.
pub(crate) struct OpenToken {
    pub(crate) module: Pkcs11,
    pub(crate) slot: Slot,
    pub(crate) guard: Session,
}

/// Loads the module and logs in.
pub(crate) fn log_in(configuration: &str) -> Result<OpenToken, Problem> {
    let config = skm::config::Config::load(Path::new(configuration)).map_err(|problems| format!("{problems:?}"))?;
    let profile = skm::cli::configuration::token_settings(&config, Path::new(configuration)).map_err(|failure| format!("{failure:?}"))?.profile;
    let profile = Profile::load(&profile)?;
    let module = profile.modules.iter().find(|module| Path::new(module).exists()).ok_or("SoftHSM2's module is in none of the usual places")?;
    let module = Pkcs11::new(module)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slots = module.get_slots_with_token()?;
    let ours = |slot: &Slot| module.get_token_info(*slot).is_ok_and(|info| info.label() == config.token.label);
    let slot = slots.into_iter().find(ours).ok_or("the installation's token is not there")?;
    let guard = module.open_rw_session(slot)?;
    let pin = fs::read_to_string(directory_of(configuration)?.join("pin"))?;
    guard.login(UserType::User, Some(&AuthPin::new(pin.trim().into())))?;
    Ok(OpenToken { module, slot, guard })
}

fn enumerate(configuration: &str) -> Result<Opened, Problem> {
    let before = resident_bytes("self")?;
    let began = Instant::now();
    let token = log_in(configuration)?;
    let objects = token.guard.find_objects(&[])?;
    for object in &objects {
        token.guard.get_attributes(*object, &[AttributeType::Id, AttributeType::Class])?;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Opened { seconds, objects: objects.len(), bytes: resident_bytes("self")?.saturating_sub(before) })
}

fn find(token: &OpenToken, key: &str, class: ObjectClass) -> Result<ObjectHandle, Problem> {
    let label = format!("skm/{key}/v0");
    match token.guard.find_objects(&[Attribute::Class(class), Attribute::Label(label.clone().into_bytes())])?.as_slice() {
        [one] => Ok(*one),
        found => Err(format!("{} objects {label}", found.len()).into()),
    }
}

fn work(configuration: &str, kind: Kind, key: &str, threads: usize, duration: Duration) -> Result<Sample, Problem> {
    let token = log_in(configuration)?;
    let class = match kind {
        Kind::Encrypt | Kind::Decrypt => ObjectClass::SECRET_KEY,
        Kind::Sign => ObjectClass::PRIVATE_KEY,
        Kind::Verify => ObjectClass::PUBLIC_KEY,
    };
    let input = Input::prepare(&token, kind, key, find(&token, key, class)?)?;
    let sessions = (0..threads).map(|_| token.module.open_ro_session(token.slot)).collect::<Result<Vec<_>, _>>()?;
    let barrier = Barrier::new(threads);
    let began = Instant::now();
    let each = std::thread::scope(|scope| {
        let (input, barrier) = (&input, &barrier);
        let start = |(number, session)| scope.spawn(move || one_thread(&session, input, number, barrier, duration).map_err(|problem| problem.to_string()));
        let spawned: Vec<_> = sessions.into_iter().enumerate().map(start).collect();
        spawned.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned()))).collect::<Result<Vec<_>, _>>()
    })?;
    let seconds = began.elapsed().saturating_sub(WARM_UP).as_secs_f64();
    Sample::of(each.concat(), seconds)
}

fn one_thread(session: &Session, input: &Input, number: usize, barrier: &Barrier, duration: Duration) -> Result<Vec<u64>, Problem> {
    // The number is in the IV, so that no two operations share one.
    let mut count = u64::try_from(number)? << 56;
    let mut once = || -> Result<(), Problem> {
        count += 1;
        input.operate(session, count)
    };
    barrier.wait();
    let begin = Instant::now() + WARM_UP;
    while Instant::now() < begin {
        once()?;
    }
    let mut nanos = Vec::new();
    let mut start = Instant::now();
    let end = begin + duration;
    while start < end {
        once()?;
        let now = Instant::now();
        nanos.push(u64::try_from((now - start).as_nanos())?);
        start = now;
    }
    Ok(nanos)
}

/// What an operation takes.
struct Input {
    kind: Kind,
    key: ObjectHandle,
    data: Vec<u8>,
    signature: Vec<u8>,
}

impl Input {
    fn prepare(token: &OpenToken, kind: Kind, key: &str, handle: ObjectHandle) -> Result<Self, Problem> {
        let plain = Self { kind, key: handle, data: plaintext().into_bytes(), signature: Vec::new() };
        Ok(match kind {
            Kind::Encrypt => plain,
            Kind::Decrypt => Self { data: plain.seal(&token.guard, 0)?, ..plain },
            Kind::Sign => Self { data: SIGNED_TEXT.into(), ..plain },
            Kind::Verify => {
                let private = find(token, key, ObjectClass::PRIVATE_KEY)?;
                Self { signature: token.guard.sign(&Mechanism::RsaPkcs, private, SIGNED_TEXT.as_bytes())?, data: SIGNED_TEXT.into(), ..plain }
            }
        })
    }

    fn operate(&self, session: &Session, count: u64) -> Result<(), Problem> {
        match self.kind {
            Kind::Encrypt => drop(self.seal(session, count)?),
            Kind::Decrypt => drop(session.decrypt(&gcm(&mut iv(0))?, self.key, &self.data)?),
            Kind::Sign => drop(session.sign(&Mechanism::RsaPkcs, self.key, &self.data)?),
            Kind::Verify => session.verify(&Mechanism::RsaPkcs, self.key, &self.data, &self.signature)?,
        }
        Ok(())
    }

    fn seal(&self, session: &Session, count: u64) -> Result<Vec<u8>, Problem> {
        Ok(session.encrypt(&gcm(&mut iv(count))?, self.key, &self.data)?)
    }
}

fn iv(count: u64) -> [u8; 12] {
    let mut iv = [0; 12];
    let (head, _) = iv.split_at_mut(8);
    head.copy_from_slice(&count.to_be_bytes());
    iv
}

fn gcm(iv: &mut [u8; 12]) -> Result<Mechanism<'_>, Problem> {
    Ok(Mechanism::AesGcm(GcmParams::new(iv, &AAD, TAG_BITS.into())?))
}
