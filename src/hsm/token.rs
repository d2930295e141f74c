//! The room's door.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::breaker::Phase;
use super::cache::{Handle, Known, Part};
use super::connection;
use super::crew::Crew;
use super::crypto;
use super::desk::{Blame, Desk, Setback, Tools};
use super::durability::TokenFiles;
use super::errors::{Call, HsmError};
use super::lanes::LaneKind;
use super::lookup;
use super::making;
use super::mechanisms::RsaScheme;
use super::profile::Profile;
use super::room::{HandOff, Room, exit_process};
use super::start_watch::{self, START_LIMIT};
use super::steward::{self, Order, Steward};
use super::watch;
use super::{NewObject, ObjectInfo, ObjectKind, RsaPadding, TokenHealth, TokenSettings};
use crate::domain::ids::ObjectId;
use crate::domain::secret::SecretBytes;

use cryptoki::object::ObjectHandle;

/// How often an operation is tried with a handle that turns out to be stale: with the cached one, with one that was looked
/// up, and with one more, in case the connection was rebuilt in between.
const HANDLE_TRIES: usize = 3;
/// The most bytes of [`Token::random`].
const RANDOM_BYTES_MAX: usize = 64 * 1024;
/// The most orders that wait for the steward; more than there can be.
const ORDERS_MAX: usize = 16;
/// How long the steward drains when every [`Token`] was dropped without [`Token::shut_down`].
const ABANDONED_DRAIN: Duration = Duration::from_secs(5);

/// The token, shared by everything in the process. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Token {
    door: Arc<Door>,
}

/// Takes the room down when nobody holds the token any more.
#[derive(Debug)]
struct Door {
    room: Arc<Room>,
}

impl Drop for Door {
    fn drop(&mut self) {
        if self.room.breaker.shut() {
            let (done, _) = bounded(1);
            drop(self.room.orders.try_send(Order::ShutDown { until: Instant::now() + ABANDONED_DRAIN, done }));
        }
    }
}

/// What an operation with a key is.
#[derive(Clone, Copy)]
pub(super) struct Task {
    pub(super) key: ObjectId,
    pub(super) part: Part,
    pub(super) blame: Blame,
    pub(super) function: &'static str,
}

impl Token {
    /// Loads the module, finds the token, logs in once (the PIN is never retried), enumerates its objects, starts the workers.
    /// Blocking.
    pub fn open(settings: &TokenSettings, pin: &SecretBytes) -> Result<Self, HsmError> {
        Self::open_with(settings, pin, exit_process())
    }

    /// Like [`Token::open`], but calls `hand_off` in place of exiting with [`super::HAND_OFF_EXIT_CODE`] when a call into the
    /// module hangs and the process can't go on.
    pub fn open_with(settings: &TokenSettings, pin: &SecretBytes, hand_off: HandOff) -> Result<Self, HsmError> {
        Self::open_within(START_LIMIT, settings, pin, hand_off)
    }

    /// Like [`Token::open_with`], with another limit on how long opening may take before `hand_off` is called.
    pub fn open_within(limit: Duration, settings: &TokenSettings, pin: &SecretBytes, hand_off: HandOff) -> Result<Self, HsmError> {
        let profile = Arc::new(Profile::load(&settings.profile)?);
        check_settings(settings, &profile)?;
        start_watch::guarded(limit, "opening the token", &HandOff::clone(&hand_off), || Self::open_watched(settings, profile, pin, hand_off))
    }

    fn open_watched(settings: &TokenSettings, profile: Arc<Profile>, pin: &SecretBytes, hand_off: HandOff) -> Result<Self, HsmError> {
        let files = TokenFiles::locate(&profile.durability)?;
        let module = connection::load_module(&profile, settings.module.as_deref())?;
        let (order, orders) = bounded(ORDERS_MAX);
        let (kick, kicked) = bounded(1);
        let room = Arc::new(Room::new(settings.clone(), profile, files, order, kick, hand_off));
        let line = steward::establish(&room, &module, pin, 0).map_err(steward::opening_error)?;
        let crew = Crew::start(&room, &line.connection, &kicked)?;
        *room.crew.lock() = Some(crew);
        let steward = Steward { room: Arc::clone(&room), module, pin: pin.clone(), line: Some(line), orders, kick: kicked };
        spawn("token-steward", move || steward.run())?;
        let watched = Arc::clone(&room);
        spawn("token-watch", move || watch::run(&watched))?;
        Ok(Self { door: Arc::new(Door { room }) })
    }

    pub(super) fn room(&self) -> &Arc<Room> {
        &self.door.room
    }

    /// AES-256-GCM with a fresh IV of the token's RNG: IV, ciphertext, tag (format 0 of the envelope). Fast lane.
    pub async fn encrypt(&self, key: ObjectId, aad: Vec<u8>, plaintext: SecretBytes) -> Result<Vec<u8>, HsmError> {
        let limit = self.room().profile.aes_gcm.max_bytes.unwrap_or(usize::MAX);
        if plaintext.len() > limit {
            return Err(HsmError::Rejected { function: "C_Encrypt", return_value: "CKR_DATA_LEN_RANGE".to_owned() });
        }
        let task = Task { key, part: Part::Secret, blame: Blame::Token, function: "C_Encrypt" };
        self.with_key(task, move |tools, handle| {
            let iv = tools.ivs.next(tools.session)?;
            crypto::encrypt(tools.session, iv, handle, &aad, plaintext.expose())
        })
        .await
    }

    /// Undoes [`Token::encrypt`]; what doesn't authenticate is [`HsmError::Rejected`]. Fast lane.
    pub async fn decrypt(&self, key: ObjectId, aad: Vec<u8>, payload: Vec<u8>) -> Result<SecretBytes, HsmError> {
        let task = Task { key, part: Part::Secret, blame: Blame::Caller, function: "C_Decrypt" };
        self.with_key(task, move |tools, handle| crypto::decrypt(tools.session, handle, &aad, &payload)).await
    }

    /// RSASSA-PKCS1-v1_5 type-1 padding over the raw text (`CKM_RSA_PKCS`), at most 245 bytes for RSA-2048. Fast lane.
    pub async fn sign_raw(&self, key: ObjectId, text: SecretBytes) -> Result<Vec<u8>, HsmError> {
        let task = Task { key, part: Part::Private, blame: Blame::Token, function: "C_Sign" };
        self.with_key(task, move |tools, handle| crypto::sign_raw(tools.session, handle, text.expose())).await
    }

    /// Whether `signature` is what [`Token::sign_raw`] makes of `text`. Fast lane.
    pub async fn verify_raw(&self, key: ObjectId, text: SecretBytes, signature: Vec<u8>) -> Result<bool, HsmError> {
        let task = Task { key, part: Part::Public, blame: Blame::Caller, function: "C_Verify" };
        self.with_key(task, move |tools, handle| crypto::verify_raw(tools.session, handle, text.expose(), &signature)).await
    }

    /// RSA signature with SHA-256 over `message`. Fast lane.
    pub async fn sign_message(&self, key: ObjectId, padding: RsaPadding, message: SecretBytes) -> Result<Vec<u8>, HsmError> {
        let task = Task { key, part: Part::Private, blame: Blame::Token, function: "C_Sign" };
        let profile = Arc::clone(&self.room().profile);
        self.with_key(task, move |tools, handle| crypto::sign_message(tools.session, &RsaScheme::new(padding, &profile.mechanisms), handle, message.expose()))
            .await
    }

    /// Whether `signature` is an RSA signature with SHA-256 over `message`. Fast lane.
    pub async fn verify_message(&self, key: ObjectId, padding: RsaPadding, message: SecretBytes, signature: Vec<u8>) -> Result<bool, HsmError> {
        let task = Task { key, part: Part::Public, blame: Blame::Caller, function: "C_Verify" };
        let profile = Arc::clone(&self.room().profile);
        self.with_key(task, move |tools, handle| {
            crypto::verify_message(tools.session, &RsaScheme::new(padding, &profile.mechanisms), handle, message.expose(), &signature)
        })
        .await
    }

    /// ECDSA P-256 over a SHA-256 digest: r and s, 32 bytes each (`CKM_ECDSA`). Fast lane.
    pub async fn sign_digest(&self, key: ObjectId, digest: [u8; 32]) -> Result<[u8; 64], HsmError> {
        let task = Task { key, part: Part::Private, blame: Blame::Token, function: "C_Sign" };
        self.with_key(task, move |tools, handle| crypto::sign_digest(tools.session, handle, &digest)).await
    }

    /// [`Token::sign_digest`] for callers that can't wait asynchronously (rcgen's trait). Not from an async context, which it
    /// would block.
    pub fn sign_digest_blocking(&self, key: ObjectId, digest: [u8; 32]) -> Result<[u8; 64], HsmError> {
        let not_waited = |what: String| HsmError::Failed { function: "C_Sign", return_value: what, mechanism: None };
        // On a thread of its own, whose runtime can't collide with one that the caller may be in.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|error| not_waited(error.to_string()))?;
                runtime.block_on(self.sign_digest(key, digest))
            });
            waiting.join().unwrap_or_else(|_| Err(not_waited("the waiting thread panicked".to_owned())))
        })
    }

    /// Makes an AES-256 key or a pair, reads its attributes back, and answers the DER SPKI of a
    /// pair. An object that has that ID already is [`HsmError::Exists`] (one that
    /// this process knows of: a search for each new key would take 0.2 s among 10,000 objects on SoftHSM). Slow lane.
    pub async fn create(&self, kind: ObjectKind, object: NewObject) -> Result<Option<Vec<u8>>, HsmError> {
        let function = if kind == ObjectKind::Aes256 { "C_GenerateKey" } else { "C_GenerateKeyPair" };
        let deadline = self.room().slow_deadline();
        self.room().run(LaneKind::Slow, deadline, function, move |desk| making::create(desk, kind, &object, deadline, function)).await
    }

    /// Whether an object (or pair) with that ID is in the token: looked up there, not in the cache. Slow lane.
    pub async fn exists(&self, id: ObjectId) -> Result<bool, HsmError> {
        let deadline = self.room().slow_deadline();
        self.room()
            .run(LaneKind::Slow, deadline, "C_FindObjects", move |desk| {
                lookup::search(desk, id, deadline)?;
                Ok(desk.room.cache.has(id))
            })
            .await
    }

    /// Destroys all objects with that ID and forgets their handles; answers how many there were (0 is no error). Slow lane.
    pub async fn destroy(&self, id: ObjectId) -> Result<usize, HsmError> {
        let deadline = self.room().slow_deadline();
        self.room().run(LaneKind::Slow, deadline, "C_DestroyObject", move |desk| making::destroy(desk, id, deadline)).await
    }

    /// Forgets the cached handles of an object that another node destroyed.
    pub fn forget(&self, id: ObjectId) {
        self.room().cache.forget(id);
    }

    /// `count` bytes of the token's RNG (`C_GenerateRandom`), at most 65,536. Fast lane.
    pub async fn random(&self, count: usize) -> Result<Vec<u8>, HsmError> {
        const FUNCTION: &str = "C_GenerateRandom";
        if count > RANDOM_BYTES_MAX {
            return Err(HsmError::Rejected { function: FUNCTION, return_value: "CKR_ARGUMENTS_BAD".to_owned() });
        }
        let deadline = Instant::now() + self.room().fast.deadline;
        self.room()
            .run(LaneKind::Fast, deadline, FUNCTION, move |desk| {
                desk.call(|tools| {
                    let mut bytes = vec![0; count];
                    tools.session.generate_random_slice(&mut bytes)?;
                    Ok(bytes)
                })
            })
            .await
    }

    /// Every object of the token, with what tells whether it is protected. Slow lane.
    pub async fn objects(&self) -> Result<Vec<ObjectInfo>, HsmError> {
        let deadline = self.room().slow_deadline();
        self.room().run(LaneKind::Slow, deadline, "C_FindObjects", move |desk| making::list(desk, deadline)).await
    }

    /// Names the key that proves the token's health: an AES-256 object that the service made for that.
    pub fn use_canary(&self, key: ObjectId) {
        self.room().canary.set_key(key);
        // One that is full already will wake the canary just as well.
        let _ = self.room().kick.try_send(());
    }

    /// Whether fast operations wait for a worker.
    pub fn is_behind(&self) -> bool {
        self.room().fast.queued() > 0
    }

    /// How the token does, from the last canary; never waits.
    pub fn health(&self) -> TokenHealth {
        let room = self.room();
        TokenHealth {
            ready: room.breaker.phase() == Phase::Serving,
            last_success: room.canary.last_success(),
            problem: room.breaker.problem(),
            identity: room.identity.lock().clone(),
            generation: room.generation.load(Ordering::Acquire),
            cached_objects: room.cache.len(),
            queued: (room.fast.queued(), room.slow.queued()),
            workers_replaced: room.workers_replaced.load(Ordering::Acquire),
        }
    }

    /// Stops intake, drains, joins the workers and finalizes the module; `false` if a worker stayed out, and then the module
    /// is not finalized and the process should exit. Blocking, at most `within`.
    pub fn shut_down(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        if !self.room().breaker.shut() {
            return self.room().finalized.load(Ordering::Acquire);
        }
        let (done, finished) = bounded(1);
        if self.room().orders.try_send(Order::ShutDown { until, done }).is_err() {
            return false;
        }
        finished.recv_deadline(until).unwrap_or(false)
    }

    /// Runs `op` with a handle of the task's key, in the fast lane.
    async fn with_key<T: Send + 'static>(
        &self,
        task: Task,
        op: impl Fn(&mut Tools<'_>, ObjectHandle) -> Call<T> + Send + Sync + 'static,
    ) -> Result<T, HsmError> {
        let deadline = Instant::now() + self.room().fast.deadline;
        self.with_handle(task, LaneKind::Fast, deadline, move |desk, handle| desk.use_key((task.key, handle), task.blame, |tools| op(tools, handle.raw))).await
    }

    /// Runs `work` with a handle of the task's key; one that turns out to be stale is looked up anew.
    pub(super) async fn with_handle<T: Send + 'static>(
        &self,
        task: Task,
        lane: LaneKind,
        deadline: Instant,
        work: impl Fn(&mut Desk, Handle) -> Result<T, Setback> + Send + Sync + 'static,
    ) -> Result<T, HsmError> {
        let work = Arc::new(work);
        for _ in 0..HANDLE_TRIES {
            let handle = self.handle(task, deadline).await?;
            let work = Arc::clone(&work);
            match self.room().run(lane, deadline, task.function, move |desk| work(desk, handle)).await {
                Ok(answer) => return Ok(answer),
                Err(Setback::Stale) => self.room().cache.forget_stale(task.key, task.part, handle),
                Err(Setback::Error(error)) => return Err(error),
            }
        }
        Err(HsmError::Unavailable { reason: format!("the handle of object {} keeps changing", task.key) })
    }

    /// The handle of the task's key: from the cache, or looked up.
    async fn handle(&self, task: Task, deadline: Instant) -> Result<Handle, HsmError> {
        self.room().breaker.admit()?;
        let mut known = self.room().cache.known(task.key, task.part);
        if known == Known::Unknown {
            lookup::look_up(self.room(), task.key, deadline).await?;
            known = self.room().cache.known(task.key, task.part);
        }
        match known {
            Known::Handle(handle) => Ok(handle),
            Known::Ambiguous => Err(HsmError::Ambiguous(task.key)),
            Known::Absent => Err(HsmError::Missing(task.key)),
            Known::Unknown => Err(HsmError::Unavailable { reason: "it is being reconnected".to_owned() }),
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), HsmError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map(drop).map_err(|error| HsmError::Setup(format!("thread {name}: {error}")))
}

/// The guard session and the canary's.
const SESSIONS_BESIDE_WORKERS: usize = 2;

fn check_settings(settings: &TokenSettings, profile: &Profile) -> Result<(), HsmError> {
    let refusals = profile.refusals();
    if !refusals.is_empty() {
        return Err(HsmError::Setup(format!("{} can't be used yet: {}", profile.name, refusals.join("; "))));
    }
    if settings.fast_workers == 0 || settings.slow_workers == 0 || settings.queue_limit == 0 {
        return Err(HsmError::Setup("the token needs a worker in each lane and room in its queues".to_owned()));
    }
    let needed = settings.fast_workers + settings.slow_workers + SESSIONS_BESIDE_WORKERS;
    match profile.max_sessions {
        Some(allowed) if needed > allowed => Err(HsmError::Setup(format!("{needed} sessions are needed, and {} allows {allowed}", profile.name))),
        _ => Ok(()),
    }
}
